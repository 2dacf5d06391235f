"""Threads per task. Floating-point sums depend on how many there are, so they belong to a campaign's configuration."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["limited_threads", "thread_environment"]

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_environment(count: int) -> dict[str, str]:
    """The environment of a process whose numerical libraries use `count` threads each."""
    return dict.fromkeys(_VARIABLES, str(count))


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Run the block with `count` intra-op threads.

    torch is told directly when it is loaded; when the block is what loads it, it reads the environment, so that a process
    that never needs torch does not pay for it. That holds for one thread only: more than one, torch cuts down to the number
    of cores unless it is told.
    """
    environment = {name: os.environ.get(name) for name in _VARIABLES}
    torch = sys.modules.get("torch")
    if torch is None and count > 1:
        torch = importlib.import_module("torch")
    before = torch.get_num_threads() if torch is not None else count
    os.environ.update(thread_environment(count))
    if torch is not None and before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch is not None and torch.get_num_threads() != before:
            torch.set_num_threads(before)
