"""The modules of the labelling page, loaded in a real browser from a server of files."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe import compose, config
from alframe.testing.data import write_histology, write_volumes

from .serving import Campaign, Desk, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

STATIC = Path(__file__).resolve().parents[3] / "alframe" / "annotator" / "static"

OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]

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


CAMPAIGN = """\
name: glands
seed: 1
workdir: work
data: {root: data, manifest: manifest.csv, classes: [background, gland], instances: true}
learner: {type: mc_dropout}
strategy: {type: uncertainty, measure: bald, window: 40, stride: 8}
initial: {queries: 2}
batch: 3
oracle: {type: human}
budget: {rounds: 2}
"""


VOLUMES = """\
name: bodies
seed: 1
workdir: work
data: {root: data, images: images/*.nii.gz, masks: labels/*.nii.gz, classes: [background, body, cap]}
learner: {type: mc_dropout}
strategy: {type: uncertainty, measure: bald, window: [8, 24, 24], stride: 8}
initial: {queries: 2}
batch: 3
oracle: {type: human}
budget: {rounds: 2}
"""


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """As `served`, with volumes of three classes."""
    folder = tmp_path_factory.mktemp("volumes")
    write_volumes(folder / "data", count=12, shape=(14, 32, 32), seed=1)
    (folder / "c.yaml").write_text(VOLUMES)
    compose.ingest(config.load(folder / "c.yaml"))
    campaign = Campaign(folder / "c.yaml")
    campaign.serve()
    yield campaign
    campaign.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """A served campaign of generated histology, without tasks yet; each test asks its own."""
    folder = tmp_path_factory.mktemp("served")
    write_histology(folder / "data", count=16, size=48, seed=3)
    (folder / "c.yaml").write_text(CAMPAIGN)
    compose.ingest(config.load(folder / "c.yaml"))
    campaign = Campaign(folder / "c.yaml")
    campaign.serve()
    yield campaign
    campaign.stop()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Desk]]:
    """Opens a link in a browser context of its own; every page is watched for errors."""
    with ExitStack() as stack:

        def open_(link: str, *, expected: Sequence[str] = (), **options: Any) -> Desk:
            context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
            stack.callback(context.close)
            stack.enter_context(watched(context, expected))
            page = context.new_page()
            page.goto(link)
            return Desk(page)

        yield open_


@pytest.fixture
def profile(browser: Browser, chromium: str, tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    """Opens a link in a browser of its own that keeps its profile in the test's folder: it can be killed, and comes back."""
    opened: list[BrowserContext] = []

    def open_(link: str) -> Desk:
        context = browser.browser_type.launch_persistent_context(
            tmp_path, executable_path=chromium, args=OPTIONS, viewport={"width": 1280, "height": 800}
        )
        opened.append(context)
        context.pages[0].goto(link)
        return Desk(context.pages[0])

    yield open_
    opened[-1].close()
