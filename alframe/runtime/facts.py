"""What a node says of itself. Sent to the node as code, so that one where alframe is missing can answer too: nothing but the
standard library is imported here."""

from __future__ import annotations

import platform
import shutil
import socket
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Witness"]


class Witness:
    """An actor on a node."""

    def facts(self, packages: Sequence[str]) -> dict[str, str]:
        """Its host, Python, and packages (an empty text for what is not installed)."""
        found = {"host": socket.gethostname(), "python": platform.python_version()}
        for name in packages:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = ""
        return found

    def shared_memory(self) -> int | None:
        """Bytes free in /dev/shm; None where there is none."""
        place = Path("/dev/shm")
        return shutil.disk_usage(place).free if place.is_dir() else None

    def clock(self) -> float:
        """Seconds since 1970 by its clock."""
        return time.time()
