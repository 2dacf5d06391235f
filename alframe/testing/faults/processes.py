"""Drivers in processes of their own: forked from a warm parent that has no threads, so that a trial costs no imports."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alframe.errors import AlframeError

__all__ = ["Child", "Ended", "Say", "spawn"]

Say = Callable[..., None]
"""What a child tells its parent, as keyword arguments that JSON can carry; told at once, so a kill loses none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended: its exit code (negative: the signal that killed it) and all that it said, in order."""

    code: int
    said: tuple[dict[str, Any], ...]

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    def last(self, key: str) -> str:
        """The last value that was said under `key`, "" when there is none."""
        return str(next((line[key] for line in reversed(self.said) if key in line), ""))

    def all(self, key: str) -> list[Any]:
        """Every value that was said under `key`."""
        return [line[key] for line in self.said if key in line]

    def __str__(self) -> str:
        return f"code {self.code} {self.last('error')} {self.last('text')[-300:]}".strip()


class Child:
    """A running process and the pipe through which it speaks."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self._pipe = pid, pipe

    def wait(self) -> Ended:
        """All that it said, once it has ended."""
        with os.fdopen(self._pipe, "rb") as stream:
            said = tuple(json.loads(line) for line in stream.read().splitlines())
        return Ended(code=os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), said=said)

    def stopped(self) -> bool:
        """Wait until it stops (SIGSTOP) or ends; whether it stopped. When it ended, :meth:`wait` must not be called."""
        return os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1])

    def wake(self) -> None:
        """Let a stopped child go on."""
        os.kill(self.pid, signal.SIGCONT)


def spawn(work: Callable[[Say], None]) -> Child:
    """Run `work` in a forked process. An AlframeError is said as ``error`` and ``text``, with exit code 1; any other, 70."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader)
    code = 70
    try:
        os.close(reader)
        code = _work(work, writer)
    finally:
        if code == 70:
            _speaker(writer)(error="Unexpected", text=traceback.format_exc())
        sys.stderr.flush()
        os._exit(code)


def _work(work: Callable[[Say], None], writer: int) -> int:
    say = _speaker(writer)
    try:
        work(say)
    except AlframeError as error:
        say(error=type(error).__name__, text=str(error))
        return 1
    return 0


def _speaker(pipe: int) -> Say:
    def say(**values: Any) -> None:
        os.write(pipe, json.dumps(values).encode() + b"\n")

    return say
