"""The executor without workers: every task runs here, one after another. It needs no Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from alframe.errors import InvalidValue
from alframe.ports import RunKind
from alframe.runtime.failures import TaskNames, naming
from alframe.runtime.threads import limited_threads

__all__ = ["InlineExecutor"]

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")


class InlineExecutor:
    """Runs tasks in the calling thread with `threads` intra-op threads, in the order given."""

    def __init__(self, threads: int = 1) -> None:
        """Raises: InvalidValue: when `threads` is below 1."""
        if threads < 1:
            raise InvalidValue(f"an executor needs at least 1 thread, got {threads}")
        self._threads = threads
        self._closed = False

    @property
    def workers(self) -> int:
        """Always 1."""
        return 1

    def run(
        self,
        name: str,
        function: Callable[[Context, Task], Result],
        context: Context,
        tasks: Sequence[Task],
        *,
        kind: RunKind = "score",
    ) -> Iterator[tuple[int, Result]]:
        """Yield ``(position, result)`` in order; each task runs when its result is asked for.

        Raises:
            InvalidValue: when the executor is closed.
            TaskFailed: when `function` raises anything but an AlframeError, which passes unchanged.
        """
        if self._closed:
            raise InvalidValue(f"{name}: the executor is closed")
        return self._results(name, function, context, tuple(tasks))

    def _results(
        self, name: str, function: Callable[[Context, Task], Result], context: Context, tasks: tuple[Task, ...]
    ) -> Iterator[tuple[int, Result]]:
        names = TaskNames(name, tasks)
        for position, task in enumerate(tasks):
            if self._closed:
                raise InvalidValue(f"{name}: the executor was closed during the run")
            with naming(names, position), limited_threads(self._threads):
                result = function(context, task)
            yield position, result

    def own(self, factory: Callable[[], Any]) -> Any:
        """The object itself: this process is the only writer.

        Raises:
            InvalidValue: when the executor is closed.
        """
        if self._closed:
            raise InvalidValue("the executor is closed")
        return factory()

    def close(self) -> None:
        """Refuse further work. Idempotent."""
        self._closed = True
