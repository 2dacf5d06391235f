"""Named places in the write order at which a test may kill, fail or pause the process.

A failpoint costs one context-variable read. Production code only calls :func:`reach`; a harness installs a hook with
:func:`installed` (or, in a fresh process, through the environment: ``ALFRAME_FAILPOINT="name:count"`` kills the process
with SIGKILL the `count`-th time `name` is reached).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["installed", "kill_at", "reach"]

Hook = Callable[[str], None]


def kill_at(name: str, count: int = 1) -> Hook:
    """A hook that sends SIGKILL to this process the `count`-th time `name` is reached."""
    left = [count]

    def hook(reached: str) -> None:
        if reached == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _from_environment() -> Hook | None:
    setting = os.environ.get("ALFRAME_FAILPOINT")
    if not setting:
        return None
    name, _, count = setting.partition(":")
    return kill_at(name, int(count or 1))


_hook: ContextVar[Hook | None] = ContextVar("alframe_failpoint")
_default = _from_environment()


def reach(name: str) -> None:
    """Say that the failpoint `name` is reached; does nothing unless a hook is installed."""
    hook = _hook.get(_default)
    if hook is not None:
        hook(name)


@contextmanager
def installed(hook: Hook) -> Iterator[None]:
    """Install `hook` for the block, in this context only."""
    token = _hook.set(hook)
    try:
        yield
    finally:
        _hook.reset(token)
