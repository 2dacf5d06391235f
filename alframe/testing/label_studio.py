"""A throw-away Label Studio for tests and benchmarks, where it is installed: in an environment of its own, as it needs an older
NumPy."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from alframe.errors import NotFound, StoreUnavailable

__all__ = ["LabelStudioServer", "label_studio_server", "program", "sdk_brush"]

TOKEN = "0123456789abcdef0123456789abcdef01234567"
_PATIENCE = 240.0
"""Seconds until a server must answer; the first start of one migrates its database."""


def program() -> Path:
    """``label-studio``: the one that LABEL_STUDIO names, of ``.venv-label-studio`` (`make label-studio`), or on the PATH.

    Raises:
        NotFound: when there is none.
    """
    named = os.environ.get("LABEL_STUDIO", "")
    beside = Path(__file__).resolve().parents[2] / ".venv-label-studio" / "bin" / "label-studio"
    for found in (named, str(beside) if beside.exists() else "", shutil.which("label-studio") or ""):
        if found:
            return Path(found)
    raise NotFound("no Label Studio is installed: run `make label-studio`, or name its program in LABEL_STUDIO")


def sdk_brush() -> Path:
    """The file of the SDK's brush codec, in the environment of :func:`program`. Raises NotFound."""
    environment = program().resolve().parent.parent
    found = sorted(environment.glob("lib/python*/site-packages/label_studio_sdk/converter/brush.py"))
    if not found:
        raise NotFound(f"no label_studio_sdk beside {program()}")
    return found[0]


class LabelStudioServer:
    """A server on a free port of this machine, its SQLite database and uploads in `folder`. Its only user has `token`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token, self.email = folder, TOKEN, "anna@example.org"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._program = program()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers. Raises StoreUnavailable, with the end of its log."""
        said = {
            "LABEL_STUDIO_USERNAME": self.email,
            "LABEL_STUDIO_PASSWORD": "a password nobody types",
            "LABEL_STUDIO_USER_TOKEN": self.token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LATEST_VERSION_CHECK": "false",
            "DEBUG": "false",
        }
        command = [str(self._program), "start", "--no-browser", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--internal-host", "127.0.0.1"],
                env=_clean(os.environ) | said,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            time.sleep(0.25)
        self.kill()
        raise StoreUnavailable(f"Label Studio did not start: …{(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """End it and its children at once, as a power cut would (kill −9)."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def _clean(variables: os._Environ[str]) -> dict[str, str]:
    """The environment without what would leak from this Python into the other one."""
    return {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "PYTHONHOME", "DJANGO_DB")}


@contextmanager
def label_studio_server() -> Iterator[LabelStudioServer]:
    """A running server, killed and removed afterwards. Raises NotFound where none is installed."""
    program()
    folder = Path(tempfile.mkdtemp(prefix="alframe-ls-"))
    try:
        server = LabelStudioServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)
