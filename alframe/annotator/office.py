"""What the server's routes share: the desk, the pool, what may be seen by whom, and answers kept for a moment."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from alframe.annotator import pictures, views
from alframe.annotator.door import Door
from alframe.errors import NotFound
from alframe.labelling import Assignment, Credential, Forbidden, LabellingDesk, Lease, Progress, Roster, Scope, Task
from alframe.ports import Pool
from alframe.types import ArtifactRef

__all__ = ["Office", "Watch"]

T = TypeVar("T")
_KEPT_SECONDS = 1.0
"""How old a count of the batch's tasks may be, when nothing is known to have changed."""
_KNOWN = 256
"""Leases and tasks whose unchanging part is remembered: a rater's next request is about the same one, so that a few a rater do."""
_MANY = 5000
"""Tasks in a batch beyond which a count is kept that long whatever happens: it takes too long to be made for each submission."""


class Watch(Protocol):
    """The campaign, seen from outside. Read-only and safe in threads."""

    def status(self) -> str:
        """``running``, ``waiting``, ``done``, ``stopped``, ``failed``, or ``new`` before the first run."""

    def overview(self) -> Mapping[str, Any]:
        """``name``, ``status``, ``reason``, ``round``, ``phase``, ``rounds`` and ``costs``, as JSON has them."""


class Office:
    """One campaign's desk, opened to the network. Decides nothing about labels; safe in threads.

    `measure` names what the uncertainty maps show.
    """

    def __init__(
        self, desk: LabellingDesk, pool: Pool, campaign: str, watch: Watch, *, door: Door, measure: str | None = None
    ) -> None:
        self.desk, self.pool, self.campaign, self.watch, self.door = desk, pool, campaign, watch, door
        self.roster = Roster(desk.ledger)
        self.measure = measure
        self._lease = functools.lru_cache(maxsize=_KNOWN)(desk.ledger.lease)
        self._task = functools.lru_cache(maxsize=_KNOWN)(self.task)
        self._given = functools.lru_cache(maxsize=_KNOWN)(self._was_given)
        self.thumbnail = functools.lru_cache(maxsize=64)(self._thumbnail)
        self.shown_arrays = functools.lru_cache(maxsize=8)(self._shown_arrays)
        self._progress: Brief[tuple[Progress, str]] = Brief(
            lambda: (desk.ledger.progress(campaign), watch.status()), seconds=_KEPT_SECONDS, clock=time.monotonic
        )

    # -- who may see what

    def lease(self, who: Credential, lease: str) -> Lease:
        """What never changes of a lease of `who` in this campaign: rater and task. Raises NotFound, Forbidden."""
        found = self._lease(lease)
        if found.campaign != self.campaign:
            raise NotFound(f"no lease {lease!r} in campaign {self.campaign}")
        if found.rater != who.rater:
            raise Forbidden(f"lease {lease} is not {who.rater}'s")
        return found

    def task(self, task: str) -> Task:
        """A task of this campaign. Raises NotFound."""
        found = self.desk.ledger.task(task)
        if found.campaign != self.campaign:
            raise NotFound(f"no task {task!r} in campaign {self.campaign}")
        return found

    def asked(self, task: str) -> Task:
        """What never changes of a task of this campaign: region, classes, what is shown. Raises NotFound."""
        return self._task(task)

    def visible(self, who: Credential, task: str) -> Task:
        """What never changes of a task that `who` was given, or may review. Raises NotFound, Forbidden."""
        found = self.asked(task)
        if not {Scope.REVIEW, Scope.ADMIN} & who.scopes:
            who.require(Scope.ANNOTATE)
            self._given(task, who.rater)
        return found

    # -- as JSON

    def shown(self, task: Task) -> dict[str, Any]:
        """A task as the page gets it. Raises NotFound when the pool has no such item."""
        return views.task(task, self.pool.info(task.item), self.window(task.item), self.measure)

    def window(self, item: str) -> pictures.Window:
        """How the values of an item are shown. Raises NotFound."""
        return pictures.window_of(self.pool.info(item), self.pool.intensities(item))

    def assignment(self, given: Assignment) -> dict[str, Any]:
        """An assignment as the page gets it."""
        return views.assignment(given, self.shown(given.task))

    def progress(self, who: Credential) -> dict[str, Any]:
        """How far the batch is, as `who` may know it; a moment old when counting takes long."""
        found, status = self._progress()
        return views.progress(found, who, status)

    def progress_now(self) -> Progress:
        """How far the batch is, as the ledger has it. Raises StoreUnavailable."""
        return self._progress()[0]

    def close(self) -> None:
        """Release the ledger's connections. Idempotent."""
        self.desk.ledger.close()

    def changed(self) -> None:
        """A task was given out, given back or handed in: count again, unless there are too many."""
        known = self._progress.last()
        if known is not None and sum(known[0].tasks.values()) <= _MANY:
            self._progress.forget()

    # -- remembered

    def _was_given(self, task: str, rater: str) -> None:
        """Raises Forbidden, which is not remembered."""
        if not self.desk.ledger.leases(task, rater):
            raise Forbidden(f"task {task} was not given to {rater}")

    def _thumbnail(self, item: str, task: str, number: int) -> bytes:
        info = self.pool.info(item)
        return pictures.thumbnail(self.pool, info, self.task(task).box, number, self.window(item))

    def _shown_arrays(self, ref: ArtifactRef) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = self.desk.artifacts.get_arrays(ref)
        return found["classes"], found["uncertainty"].astype(np.float32)

    def prefill(self, task: Task) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """What the model would draw, and where it is unsure. Raises NotFound when the task is blind or there is no model yet."""
        if task.blind or task.prefill is None:
            raise NotFound(f"task {task.id} shows nothing of the model: it is blind, or there was none")
        return self.shown_arrays(task.prefill)


class Brief(Generic[T]):
    """A value that is computed anew once it is `seconds` old, or when it was said to be wrong. Safe in threads.

    One thread computes. Meanwhile the others are given a value that is only old; for a wrong one they wait.
    """

    def __init__(self, compute: Callable[[], T], *, seconds: float, clock: Callable[[], float]) -> None:
        self._compute, self._seconds, self._clock = compute, seconds, clock
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until = 0.0
        self._change, self._seen = object(), object()
        """The last change, and the one that the value has seen."""

    def __call__(self) -> T:
        value = self._value
        if value is not None and self._seen is self._change:
            if self._clock() < self._until or not self._lock.acquire(blocking=False):
                return value
        else:
            self._lock.acquire()
        try:
            change = self._change
            if self._value is None or self._seen is not change or self._clock() >= self._until:
                self._value = self._compute()
                self._until, self._seen = self._clock() + self._seconds, change
            return self._value
        finally:
            self._lock.release()

    def last(self) -> T | None:
        """The value as it is, however old; None before the first call."""
        return self._value

    def forget(self) -> None:
        """Compute anew at the next call."""
        self._change = object()
