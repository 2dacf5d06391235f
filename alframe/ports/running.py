"""Where functions run, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

from alframe.types import Phase

__all__ = ["Executor", "RunKind", "Observer"]

RunKind = Literal["fit", "score"]
"""What a run needs of its workers: to train, or to predict."""

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Where functions run. The inline executor and Ray give the same results."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""

    def run(
        self,
        name: str,
        function: Callable[[Context, Task], Result],
        context: Context,
        tasks: Sequence[Task],
        *,
        kind: RunKind = "score",
    ) -> Iterator[tuple[int, Result]]:
        """Yield ``(position, result)`` as tasks finish, in any order; each position exactly once.

        `function` is a module-level function; `context` goes once to each worker; `kind` says which share of a node the
        workers need, and never changes a result. A lost worker's task is tried again a
        bounded number of times. Closing the iterator early cancels what has not started.
        Raises TaskFailed (naming `name` and the task) or the AlframeError that the function raised.
        """

    def own(self, factory: Callable[[], Any]) -> Any:
        """Build an object that only one writer may use (on Ray: an actor); its method calls run one at a time, in order."""

    def close(self) -> None:
        """Release workers. Idempotent."""


class Observer(Protocol):
    """Someone who watches a campaign: a progress bar, a log, a test. Must not raise; never changes results."""

    def phase_started(self, round: int, phase: Phase, total: int) -> None:
        """The work towards `phase` begins; it has `total` parts."""

    def advanced(self, done: int) -> None:
        """`done` parts of the running phase are finished."""

    def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
        """`phase` is durable."""
