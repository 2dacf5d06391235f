"""How the failure of a task is told: the same words inline and on Ray."""

from __future__ import annotations

from types import TracebackType

from alframe.errors import AlframeError, TaskFailed
from alframe.runtime.peaks import out_of_memory, told

__all__ = ["TaskNames", "naming"]

_SHOWN = 60
_LONGEST = 1000


class TaskNames:
    """Names the tasks of one run for people: the run, the position, and the task itself where that is short."""

    def __init__(self, run: str, tasks: tuple[object, ...]) -> None:
        self._run = run
        self._tasks = tasks

    def failed(self, position: int, attempts: int, cause: str) -> TaskFailed:
        """The error for the task at `position` after `attempts` attempts."""
        times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        shown = _short(self._tasks[position])
        return TaskFailed(f"{self._run}: task {position} of {len(self._tasks)}{shown} failed after {times}: {cause}")


def _short(task: object) -> str:
    """The task in brackets when it is made of numbers and words; arrays and weights are never printed."""
    parts = task if isinstance(task, tuple) else (task,)
    if not all(isinstance(part, str | int | float) for part in parts):
        return f" ({type(task).__name__})"
    text = repr(task)
    return f" ({text})" if len(text) <= _SHOWN else f" ({text[:_SHOWN]}…)"


class naming:  # noqa: N801  (used as a block: ``with naming(names, position): ...``)
    """Lets an AlframeError pass and turns every other error of the block into a TaskFailed that names the task."""

    def __init__(self, names: TaskNames, position: int) -> None:
        self._names = names
        self._position = position

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, AlframeError):
            if out_of_memory(error):
                error.add_note(told())
            raise self._names.failed(self._position, 1, describe(error)) from error


def describe(error: BaseException) -> str:
    """An error in one line: its type and what it says, its notes too (the end of it is cut when it is very long)."""
    said = [str(error), *getattr(error, "__notes__", ())]
    text = "; ".join(" ".join(part.split()) for part in said if part.strip())[:_LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
