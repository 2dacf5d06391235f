"""How much memory a process took: told with the error when it ran out, and found again after the process is gone."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Recorder", "gib", "out_of_memory", "peak", "read", "told"]

_EVERY = 0.1
"""Seconds between two looks."""


def peak() -> int:
    """The most bytes that were resident in this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def gib(count: int) -> str:
    """Bytes for a person."""
    return f"{count / 2**30:.2f} GiB"


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the machine, or of a GPU, is what lacked."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def told() -> str:
    """What this process took at most, on its machine and on a GPU if it used one."""
    text = f"the peak of its process was {gib(peak())}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        text += f", and {gib(torch.cuda.max_memory_allocated())} on the GPU"
    return text


class Recorder:
    """Keeps a process's peak in a file, for those who ask when it was killed and can answer no more."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look all the while that the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, ended: threading.Event) -> None:
        while True:
            now = peak()
            if now > self._written:
                self._written = now
                try:
                    self._file.write_bytes(b"%20d" % now)  # the same length always: a reader sees one or the other
                except OSError:  # a full disk costs the record, not the task
                    return
            if ended.wait(_EVERY):
                return


def read(file: Path) -> int | None:
    """The bytes that a :class:`Recorder` kept, or None."""
    try:
        return int(file.read_bytes())
    except (OSError, ValueError):
        return None
