"""A real labelling server in a process of its own, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alframe.errors import StoreUnavailable

__all__ = ["LabelServer", "label_server"]

_CODE = "import sys; from alframe.cli import main; sys.exit(main())"
_START_SECONDS = 60.0


class LabelServer:
    """``alframe label serve`` on the loopback. `url` is known once :meth:`start` returns; the same port is used after a restart."""

    def __init__(self, campaign: Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._campaign, self._folder = campaign, folder
        self._environment = dict(environment or {})
        self._port = 0
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Start it and wait until it answers. Raises StoreUnavailable with what it said when it does not."""
        command = [sys.executable, "-c", _CODE, "label", "serve", str(self._campaign), "--port", str(self._port)]
        variables = os.environ | {"OMP_NUM_THREADS": "1"} | self._environment | environment
        log = self._folder / "label-server.log"
        with log.open("ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=variables)
        announced = self._folder / "label-server.json"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                found = json.loads(announced.read_text() or "{}")
            except (FileNotFoundError, ValueError):
                found = {}
            if found.get("pid") == self.process.pid and found["url"]:
                self.url = str(found["url"]).rstrip("/")
                self._port = int(self.url.rpartition(":")[2])
                return
            time.sleep(0.05)
        self.kill()
        raise StoreUnavailable(f"the labelling server did not start: {log.read_text()[-2000:]}")

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code, once it ended; negative for a signal."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """End it as a service manager would; its exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a power failure would. Idempotent."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def label_server(campaign: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[LabelServer]:
    """A server of the campaign described by the YAML `campaign`, whose working folder is `folder`; ended with the block."""
    server = LabelServer(campaign, folder, environment)
    server.start()
    try:
        yield server
    finally:
        server.kill()
