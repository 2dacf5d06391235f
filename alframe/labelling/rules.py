"""What a submission, a freed place or a comparison does to a task: pure decisions, taken inside the ledger's transaction.

A task has `replicas` places. An active lease takes one, a counted submission fills one: counted ≤ taken ≤ replicas, always.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from alframe.errors import ConflictError, InvalidValue
from alframe.labelling.values import LeaseState, Standing, TaskState
from alframe.types import Outcome

__all__ = [
    "Counts",
    "Seat",
    "Verdict",
    "adjudicated",
    "closed_if_full",
    "freed",
    "given_up",
    "promoted",
    "received",
    "reinstated",
    "settled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The moving part of a task."""

    state: TaskState
    replicas: int
    taken: int
    counted: int
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The moving part of a lease; an overdue one is `expired`. A front end without leases has none: `state` is None."""

    state: LeaseState | None = None
    counts: bool = False
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a submission does: how it stands, the seat and the task afterwards, and whether the item is retired.

    ``unusable`` retires whether or not there was a place for it, unless the task was closed by other labels before.
    """

    standing: Standing
    seat: Seat
    task: Counts
    retires: bool = False


def received(
    task: Counts, seat: Seat, outcome: Outcome, *, corrects: Standing | None = None, decided: bool = False
) -> Verdict:
    """A rater's submission. `corrects` is the standing of the submission it supersedes, `decided`: a reviewer adjudicated.

    Raises:
        InvalidValue: for a label that is corrected to a skip.
    """
    if outcome is Outcome.SKIPPED:
        return _skipped(task, seat, corrects)
    submitted = replace(seat, state=LeaseState.SUBMITTED)
    if seat.state is LeaseState.SKIPPED and not seat.repeat:
        task = replace(task, skipped=task.skipped - 1)
    if seat.repeat:
        return Verdict(standing=Standing.REPEAT, seat=submitted, task=task)
    retires = outcome is Outcome.UNUSABLE and (seat.counts or task.state is not TaskState.DONE)
    if seat.counts and corrects is not None:
        compared = task.state in (TaskState.FULL, TaskState.DISPUTED, TaskState.DONE)
        again = compared and task.counted > 1 and not decided
        changed = replace(task, state=TaskState.FULL) if again else task
        return Verdict(standing=corrects, seat=submitted, task=changed, retires=retires)
    holds = seat.state is LeaseState.ACTIVE
    others = task.taken - holds
    if task.state is not TaskState.OPEN or others >= task.replicas:
        return Verdict(standing=Standing.EXTRA, seat=submitted, task=replace(task, taken=others), retires=retires)
    filled = closed_if_full(replace(task, taken=others + 1, counted=task.counted + 1))
    return Verdict(
        standing=Standing.ON_TIME if holds or seat.state is None else Standing.LATE,
        seat=replace(submitted, counts=True),
        task=filled,
        retires=retires,
    )


def _skipped(task: Counts, seat: Seat, corrects: Standing | None) -> Verdict:
    if corrects not in (None, Standing.SKIP):
        raise InvalidValue(
            "a label cannot be corrected to a skip; correct it to ambiguous or unusable, or to other labels"
        )
    passed = replace(seat, state=LeaseState.SKIPPED)
    if seat.repeat:
        return Verdict(standing=Standing.SKIP, seat=passed, task=task)
    after = freed(task) if seat.state is LeaseState.ACTIVE else task
    again = seat.state is LeaseState.SKIPPED
    return Verdict(standing=Standing.SKIP, seat=passed, task=replace(after, skipped=after.skipped + (not again)))


def freed(task: Counts) -> Counts:
    """A place given back: its lease expired, was released, or was skipped."""
    return replace(task, taken=task.taken - 1)


def promoted(task: Counts) -> Counts | None:
    """The task when a place became free and an extra submission moves into it; None when there is no such place."""
    if task.state is not TaskState.OPEN or task.taken >= task.replicas:
        return None
    return closed_if_full(replace(task, taken=task.taken + 1, counted=task.counted + 1))


def closed_if_full(task: Counts) -> Counts:
    """The task, no longer open when its last place is filled. Two labels or more are compared first."""
    if task.state is TaskState.OPEN and task.counted == task.replicas:
        return replace(task, state=_closed(task))
    return task


def _closed(task: Counts) -> TaskState:
    return TaskState.FULL if task.counted > 1 else TaskState.DONE


def given_up(task: Counts, *, allowed: int, candidates: int) -> Counts | None:
    """The task closed with fewer labels than wanted: enough raters skipped it, or nobody is left to ask. None = go on asking.

    As many raters as wanted must have answered or skipped, and nobody may be at work. `candidates` could still take the task.
    """
    heard = task.counted + task.skipped >= task.replicas
    if task.state is not TaskState.OPEN or not task.skipped or not heard or task.taken > task.counted:
        return None
    if task.skipped < allowed and candidates > 0:
        return None
    return replace(task, state=_closed(task))


def reinstated(task: Counts) -> Counts:
    """A retired task whose item turns out to be usable: open, or closed when all its labels are in."""
    return closed_if_full(replace(task, state=TaskState.OPEN))


def adjudicated(task: Counts, *, decided: bool, corrects: bool) -> Standing:
    """How a reviewer's submission stands. `decided`: there is an adjudication; `corrects`: this one supersedes it.

    Raises:
        ConflictError: while raters are still working on the task, and for a retired one.
    """
    if task.state is TaskState.OPEN or (task.state is TaskState.RETIRED and not corrects):
        raise ConflictError(
            f"this task is {task.state} ({task.counted} of {task.replicas} labels); a reviewer decides once all are in"
        )
    return Standing.EXTRA if decided and not corrects else Standing.ADJUDICATION


def settled(disagreement: float, adjudicate_above: float | None) -> TaskState:
    """What a full task becomes once its labels were compared."""
    disputed = adjudicate_above is not None and disagreement > adjudicate_above
    return TaskState.DISPUTED if disputed else TaskState.DONE
