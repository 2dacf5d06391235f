"""The modules of the labelling page, loaded in a real browser from a server of files."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STATIC = Path(__file__).resolve().parents[3] / "alframe" / "annotator" / "static"

PRELUDE = """
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const text = (bytes) => { let out = ""; for (const byte of bytes) out += String.fromCharCode(byte); return btoa(out); };
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def files() -> Iterator[str]:
    """The address of the page's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def blank(browser: Browser, files: str) -> Iterator[Page]:
    """An empty page that may import the modules."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{files}/icon.svg")
    yield page
    context.close()


Run = Callable[..., Any]


@pytest.fixture(scope="session")
def run(blank: Page) -> Run:
    """Run an async function body with ``load("core/x.js")`` and the named arguments; Uint8Arrays are base64 both ways."""

    def call(body: str, **arguments: Any) -> Any:
        names = ", ".join(arguments)
        script = f"async ({{{names}}}) => {{ {PRELUDE} const load = (name) => import(new URL(name, location.origin)); {body} }}"
        return blank.evaluate(script, arguments)

    return call


def packed(array: NDArray[np.uint8]) -> str:
    """An array of bytes for the browser."""
    return base64.b64encode(np.ascontiguousarray(array, np.uint8).tobytes()).decode()


def unpacked(text: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array of bytes from the browser."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)
