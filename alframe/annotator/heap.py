"""The memory of a server that runs for weeks, where the C library is glibc; elsewhere nothing happens.

Each thread of a program gets a heap of its own there, and in each stays free what others could use. Pictures, answers and
rows come and go in sizes of a few kilobytes to a few megabytes, so the gaps grow for hours; in one heap they are filled.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back", "share"]

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # mallopt(3)
_LARGE = 32 * 2**10  # bytes


def share() -> None:
    """Let all threads that begin from now on use one heap; Python lets one of them run at a time anyway.

    What is large and fits no gap gets a map of its own, which goes back to the system as soon as it is free. Left to itself,
    the C library raises the size that counts as large each time something larger is freed, and pictures end up between small
    things.
    """
    _call("mallopt", _ARENA_MAX, 1)
    _call("mallopt", _MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return to the system what is free, such as what was needed to load the program."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return
    function(*arguments)
