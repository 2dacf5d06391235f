"""Which worker does which task: plain bookkeeping without Ray, clocks or processes.

Every task is waiting, on one worker, or finished. A lost worker's tasks go back to the front of the queue. Which of
them ended the worker cannot be known, for the last reply of a process that dies is often lost too: all are charged an
attempt, and from then on each runs alone on its worker, so that an innocent one is not charged twice. A task whose
whole node went is not charged, for nodes are taken away and fail for reasons of their own; but a task that outlives no node
is given up too.
"""

from __future__ import annotations

from collections import deque

from alframe.runtime.failures import TaskNames

__all__ = ["NODES", "Schedule"]

NODES = 10
"""How many nodes may be lost under one task."""


class Schedule:
    """Hands the tasks 0 … `count` − 1 to workers, at most `depth` at a time to each, and `attempts` times each."""

    def __init__(self, names: TaskNames, count: int, *, workers: int, attempts: int, depth: int = 2) -> None:
        self._names = names
        self._waiting = deque(range(count))
        self._unfinished = count
        self._workers = workers
        self._attempts = attempts
        self._depth = 1 if attempts == 1 else depth  # no second chance to find out which task it was
        self._spent: dict[int, int] = {}
        self._nodes: dict[int, int] = {}
        self._held: dict[int, list[int]] = {}

    @property
    def done(self) -> bool:
        """Whether every task is finished."""
        return self._unfinished == 0

    def held(self, worker: int) -> tuple[int, ...]:
        """The tasks of `worker`, the one it is busy with first."""
        return tuple(self._held.get(worker, ()))

    def take(self, worker: int) -> int | None:
        """The next task for `worker`, or None when it has enough.

        A second task is queued behind the first only while plenty are left, so that near the end no task waits behind
        a long one while another worker is idle.
        """
        held = self._held.setdefault(worker, [])
        if not self._waiting or (held and not self._may_queue(held)):
            return None
        position = self._waiting.popleft()
        held.append(position)
        return position

    def _may_queue(self, held: list[int]) -> bool:
        suspect = self._waiting[0] in self._spent or any(position in self._spent for position in held)
        return not suspect and len(held) < self._depth and len(self._waiting) > self._workers

    def finish(self, worker: int, position: int) -> None:
        """`worker` delivered the result of `position`."""
        self._held[worker].remove(position)
        self._unfinished -= 1

    def lose(self, worker: int, cause: str, *, blamed: int | None = None) -> None:
        """`worker` is gone: queue all it held again, in order, and charge `blamed`, or all when that is not known.

        Raises:
            TaskFailed: when a charged task has used up its attempts.
        """
        held = self._held.pop(worker, [])
        for position in held if blamed is None else [blamed]:
            self._spent[position] = self._spent.get(position, 0) + 1
            if self._spent[position] >= self._attempts:
                raise self._names.failed(position, self._spent[position], cause)
        self._waiting.extendleft(reversed(held))

    def strand(self, worker: int) -> None:
        """`worker` is gone with its node: queue all it held again, in order.

        Raises:
            TaskFailed: when this was the last of :data:`NODES` under one of its tasks.
        """
        held = self._held.pop(worker, [])
        for position in held:
            self._nodes[position] = self._nodes.get(position, 0) + 1
            if self._nodes[position] >= NODES:
                spent = self._spent.get(position, 0) + 1
                raise self._names.failed(position, spent, f"{NODES} nodes were lost while it ran on them")
        self._waiting.extendleft(reversed(held))
