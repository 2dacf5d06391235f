"""One run on Ray workers: a bounded loop over ``ray.wait`` with our own count of attempts.

Ray Data and automatic retries are left out on purpose: the former hangs when actors hold every CPU, the latter may
repeat a task killed for memory far past its limit.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from alframe.errors import AlframeError, ClusterUnavailable, InvalidValue, TaskFailed
from alframe.runtime.actors import Crew
from alframe.runtime.cluster import Head
from alframe.runtime.failures import TaskNames, describe
from alframe.runtime.peaks import gib
from alframe.runtime.schedule import Schedule
from alframe.runtime.witness import Berth, Loss, inquire, lost_with_node

__all__ = ["Limits", "Run"]

_TICK = 2.0
"""Seconds after which the loop looks at its clocks although nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`attempts` a task (or the start of a worker) may cost; seconds a task may run, and `workers` may take to start."""

    attempts: int
    task_seconds: float | None
    start_seconds: float
    workers: int = 1


@dataclass(slots=True, eq=False)
class _Seat:
    """A worker's place in a run. `number` is new for each replacement, `place` stays; `fresh`: its process is as new as the run."""

    number: int
    place: int
    actor: Any
    loading: Any
    fresh: bool
    berth: Berth | None = None
    busy_since: float = 0.0
    calls: dict[int, Any] = field(default_factory=dict)


class Run:
    """Brings `tasks` to the workers of `crew`, replaces those that are lost, and yields results."""

    def __init__(self, name: str, parcel: Any, tasks: Sequence[Any], *, crew: Crew, limits: Limits, head: Head) -> None:
        self._name = name
        self._id = uuid.uuid4().hex
        self._parcel = parcel
        self._tasks = tasks
        self._crew = crew
        self._limits = limits
        self._names = TaskNames(name, tuple(tasks))
        self._schedule = Schedule(self._names, len(tasks), workers=len(crew), attempts=limits.attempts)
        self._failed_starts = [0] * len(crew)
        self._seats: list[_Seat] = []
        self._seated = 0
        self._waiting_since = time.monotonic()
        self._head = head

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield ``(position, result)`` as they come. Ends the run on the workers when closed early or failed.

        Raises:
            TaskFailed: a task or the start of a worker failed too often.
            InvalidValue: the executor was closed meanwhile.
            ClusterUnavailable: the head of the cluster is gone.
            AlframeError: the function raised it.
        """
        self._crew.runs += 1
        try:
            self._seats = [self._seat(place) for place in range(len(self._crew))]
            while not self._schedule.done:
                if self._crew.closed:
                    raise InvalidValue(f"{self._name}: the executor was closed during the run")
                self._head.watch()
                for seat in self._seats:
                    self._feed(seat)
                yield from self._next()
                yield from self._stop_overdue()
        except ClusterUnavailable:
            self._crew.closed = True  # nobody is left to tell that the workers are free
            raise
        finally:
            self._leave()

    def _seat(self, place: int) -> _Seat:
        fresh = not self._crew.filled(place)
        actor = self._crew.at(place)
        self._seated += 1
        # the parcel is an argument of its own, so that Ray resolves it and unpacks it once in the worker
        loading = actor.load.remote(self._id, self._parcel)
        return _Seat(number=self._seated, place=place, actor=actor, loading=loading, fresh=fresh)

    def _feed(self, seat: _Seat) -> None:
        if seat.loading is not None:
            return
        while (position := self._schedule.take(seat.number)) is not None:
            if not seat.calls:
                seat.busy_since = time.monotonic()
            try:
                seat.calls[position] = seat.actor.work.remote(self._id, self._tasks[position])
            except TypeError as error:
                raise self._names.failed(position, 1, f"the task cannot be pickled: {error}") from error

    def _next(self) -> Iterator[tuple[int, Any]]:
        waiting: dict[Any, tuple[_Seat, int | None]] = {}
        for seat in self._seats:
            if seat.loading is not None:
                waiting[seat.loading] = (seat, None)
            waiting |= {ref: (seat, position) for position, ref in seat.calls.items()}
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=self._patience())
        if not ready:
            self._check_start()
            return
        seat, position = waiting[ready[0]]
        if position is None:
            self._loaded(seat)
            return
        try:
            value = self._received(seat, position)
        except _Lost as lost:
            yield from self._replace(seat, lost.error)
        else:
            yield position, value

    def _received(self, seat: _Seat, position: int) -> Any:
        try:
            value = ray.get(seat.calls[position])
        except RayTaskError as error:
            if isinstance(error.cause, AlframeError):
                raise error.cause from error
            raise self._names.failed(position, 1, _why(error)) from error
        except RayError as error:
            raise _Lost(error) from error
        del seat.calls[position]
        seat.busy_since = time.monotonic()
        self._schedule.finish(seat.number, position)
        return value

    def _loaded(self, seat: _Seat) -> None:
        try:
            seat.berth = ray.get(seat.loading)
        except RayTaskError as error:
            raise TaskFailed(f"{self._name}: a worker cannot unpack function and context: {_why(error)}") from error
        except RayError as error:
            # one that was lost as it idled, or with its node, says nothing about the next
            self._failed_starts[seat.place] += seat.fresh and not lost_with_node(seat.actor)
            if self._failed_starts[seat.place] >= self._limits.attempts:
                times = self._failed_starts[seat.place]
                raise TaskFailed(
                    f"{self._name}: a worker was lost {times} times as it started: {describe(error)}"
                ) from error
            self._reseat(seat)
        else:
            seat.loading = None

    def _replace(self, seat: _Seat, error: RayError) -> Iterator[tuple[int, Any]]:
        """Put a new worker on a lost one's seat. What it had finished before its end still counts."""
        assert seat.berth is not None, "a worker that has tasks was loaded"
        loss = inquire(seat.berth)
        yield from self._finished(seat)
        if loss.node_gone:
            self._schedule.strand(seat.number)
        else:
            self._schedule.lose(seat.number, _how(error, seat.berth, loss))
        self._reseat(seat)

    def _finished(self, seat: _Seat) -> Iterator[tuple[int, Any]]:
        """End a worker; the results that it left."""
        ray.kill(seat.actor)
        for position in list(seat.calls):
            try:
                value = self._received(seat, position)
            except _Lost:
                continue
            yield position, value

    def _reseat(self, seat: _Seat) -> None:
        self._crew.dismiss(seat.place, seat.actor)
        self._seats[self._seats.index(seat)] = self._seat(seat.place)
        self._waiting_since = time.monotonic()

    def _patience(self) -> float:
        """Seconds until some clock has to be looked at."""
        longest = self._limits.task_seconds
        if longest is None:
            return min(_TICK, self._limits.start_seconds)
        now = time.monotonic()
        left = [max(seat.busy_since + longest - now, 0.01) for seat in self._seats if seat.calls]
        return min([_TICK, self._limits.start_seconds, *left])

    def _stop_overdue(self) -> Iterator[tuple[int, Any]]:
        """Replace workers whose task ran too long. A result that merely waits to be fetched (the caller paused) is in time."""
        longest = self._limits.task_seconds
        if longest is None:
            return
        now = time.monotonic()
        for seat in list(self._seats):
            if seat.calls and now - seat.busy_since > longest:
                position, running = next(iter(seat.calls.items()))
                if not ray.wait([running], timeout=0)[0]:
                    yield from self._finished(seat)
                    cause = f"it ran for more than {longest:g} s and was stopped"
                    self._schedule.lose(seat.number, cause, blamed=position)
                    self._reseat(seat)

    def _check_start(self) -> None:
        started = sum(seat.loading is None for seat in self._seats)
        if started >= self._limits.workers:
            return
        if time.monotonic() - self._waiting_since > self._limits.start_seconds:
            free = {name: amount for name, amount in ray.available_resources().items() if ":" not in name}
            raise TaskFailed(
                f"{self._name}: {started} of {len(self._crew)} workers with {self._crew.terms.share} each started within "
                f"{self._limits.start_seconds:g} s, at least {self._limits.workers} must; free now: {free}"
            )

    def _leave(self) -> None:
        """Free the workers. One that still computes is replaced: nobody waits for its result, and a fit may take hours."""
        if self._crew.closed:
            return
        self._crew.runs -= 1
        for seat in self._seats:
            if seat.calls:
                self._crew.dismiss(seat.place, seat.actor)
            else:
                seat.actor.drop.remote(self._id)


class _Lost(Exception):
    """The worker of a call is gone; `error` is what Ray says of it."""

    def __init__(self, error: RayError) -> None:
        super().__init__(str(error))
        self.error = error


def _how(error: RayError, place: Berth, loss: Loss) -> str:
    """How a worker was lost, for a person: killed for memory or otherwise, and its peak."""
    killed = isinstance(error, OutOfMemoryError)
    text = f"OutOfMemoryError: its node {place.address} ran out of memory" if killed else describe(error)
    return text if loss.peak is None else f"{text}; the peak of its process was {gib(loss.peak)}"


def _why(error: RayTaskError) -> str:
    """What went wrong on the worker, in one line; Ray's own error, which is kept as the cause, has the remote traceback."""
    return describe(error.cause if isinstance(error.cause, Exception) else error)
