"""Submissions in SQL: functions of an open transaction, which apply :mod:`alframe.labelling.rules`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, insert, select, update

from alframe.errors import NotFound
from alframe.labelling import rules
from alframe.labelling.errors import Forbidden
from alframe.labelling.rules import Counts, Seat
from alframe.labelling.values import Delivery, LeaseState, Receipt, Standing, Submission, Task, TaskState
from alframe.storage.labelling_events import SYSTEM, Log
from alframe.storage.labelling_leases import conclude, expire, handed_in, lock_rater, one_lease, seat
from alframe.storage.labelling_rows import (
    counts_of,
    lease_of,
    select_submissions,
    submission_of,
    submission_row,
    task_of,
)
from alframe.storage.labelling_tables import drafts, leases, submissions, tasks
from alframe.storage.tables import answers
from alframe.types import Outcome

__all__ = ["one_submission", "one_task", "settle", "submit"]


_TASK = select(tasks).where(tasks.c.task == bindparam("task"))
_TASK_LOCKED = _TASK.with_for_update()
_SUBMISSION = select_submissions().where(submissions.c.submission == bindparam("submission"))
_NEWEST_FIRST = select_submissions().order_by(submissions.c.sequence.desc()).limit(1)
_ON_SEAT = _NEWEST_FIRST.where(submissions.c.seat == bindparam("seat"))
_REVIEWS = _NEWEST_FIRST.where(
    submissions.c.task == bindparam("task"), submissions.c.standing == Standing.ADJUDICATION.value
)
_STORE = insert(submissions)
_RECEIVE = (
    update(leases).where(leases.c.lease == bindparam("seat")).values(state=bindparam("new"), counts=bindparam("filled"))
)
_NO_DRAFT = delete(drafts).where(drafts.c.lease == bindparam("seat"))


def one_task(connection: Connection, task: str, *, lock: bool = False) -> Row[Any]:
    """A task's row. Raises NotFound."""
    row = connection.execute(_TASK_LOCKED if lock else _TASK, {"task": task}).one_or_none()
    if row is None:
        raise NotFound(f"no task {task[:40]!r}")
    return row


def one_submission(connection: Connection, submission: str) -> Submission | None:
    """A submission, None when there is none of this id."""
    row = connection.execute(_SUBMISSION, {"submission": submission}).one_or_none()
    return None if row is None else submission_of(row)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a submission belongs: its task and lease (None for a review), and the submission that stands there now."""

    task: Row[Any]
    lease: Row[Any] | None
    latest: Submission | None


def submit(connection: Connection, log: Log, delivery: Delivery, repeat_gap: int) -> Receipt | str:
    """See the port; a text says why the delivery was refused (and recorded). Raises Forbidden, NotFound, and as the rules."""
    lock_rater(connection, delivery.rater)
    known = one_submission(connection, delivery.id)
    if known is not None:
        if known.body_sha256 != delivery.body_sha256:
            return _refused(
                log, delivery, f"submission {delivery.id} was received before with another content, which stands"
            )
        return Receipt(submission=known, task=task_of(one_task(connection, known.task)), created=False)
    task = _locked(connection, delivery)
    place = _review(connection, task) if delivery.adjudicates else _seat(connection, log, delivery, task)
    allowed = {place.latest.id if place.latest else None}
    if delivery.adjudicates:
        allowed.add(None)  # a second opinion is kept, but decides nothing
    if delivery.supersedes not in allowed:
        stands = f"submission {place.latest.id}" if place.latest else "nothing"
        why = f"what stands for task {delivery.task} is {stands}; name it in `supersedes` to correct it"
        return _refused(log, delivery, why)
    if place.lease is None:
        standing = _adjudicate(connection, place.task, delivery, place.latest)
    else:
        standing = _receive(connection, log, delivery, place, repeat_gap)
    return _store(connection, log, delivery, place.lease, standing)


def _refused(log: Log, delivery: Delivery, why: str) -> str:
    facts = {**delivery.plain(), "body_sha256": delivery.body_sha256}
    log.add(delivery.campaign, delivery.rater, "submission.refused", delivery.id, facts)
    log.flush()
    return why


def _locked(connection: Connection, delivery: Delivery) -> Row[Any]:
    """The task, locked; when the item may be retired, all its tasks, in one order. Raises NotFound."""
    if delivery.outcome is Outcome.UNUSABLE or _takes_back(connection, delivery):
        task = one_task(connection, delivery.task)
        of_item = and_(tasks.c.campaign == task.campaign, tasks.c.item == task.item)
        connection.execute(select(tasks.c.task).where(of_item).order_by(tasks.c.task).with_for_update()).all()
    return one_task(connection, delivery.task, lock=True)


def _takes_back(connection: Connection, delivery: Delivery) -> bool:
    """Whether this corrects a submission that called the item unusable to something else."""
    if delivery.supersedes is None or delivery.outcome is Outcome.UNUSABLE:
        return False
    former = select(submissions.c.outcome).where(submissions.c.submission == delivery.supersedes)
    return connection.execute(former).scalar_one_or_none() == Outcome.UNUSABLE.value


def _seat(connection: Connection, log: Log, delivery: Delivery, task: Row[Any]) -> _Place:
    """The rater's lease on the task, locked and up to date; made when the front end has none. Raises Forbidden, NotFound."""
    lease = delivery.lease
    if lease is None:
        mine = and_(leases.c.task == task.task, leases.c.rater == delivery.rater, leases.c.repeat == 0)
        found = connection.execute(select(leases.c.lease).where(mine)).scalar_one_or_none()
        lease = found or seat(connection, task.campaign, task.task, delivery.rater)
    row = one_lease(connection, lease, lock=True)
    if (row.rater, row.task) != (delivery.rater, delivery.task):
        raise Forbidden(f"lease {lease} is not {delivery.rater}'s on task {delivery.task}")
    if expire(connection, log, row, task):
        row, task = one_lease(connection, lease), one_task(connection, task.task)
    latest = connection.execute(_ON_SEAT, {"seat": lease}).one_or_none()
    return _Place(task, row, None if latest is None else submission_of(latest))


def _review(connection: Connection, task: Row[Any]) -> _Place:
    latest = connection.execute(_REVIEWS, {"task": task.task}).one_or_none()
    return _Place(task, None, None if latest is None else submission_of(latest))


def _receive(connection: Connection, log: Log, delivery: Delivery, place: _Place, repeat_gap: int) -> Standing:
    assert place.lease is not None
    task, row = place.task, place.lease
    new = not row.granted and row.state == LeaseState.RELEASED.value
    before = Seat(state=None if new else lease_of(row).state, counts=row.counts, repeat=row.repeat)
    decided = place.latest is not None and _review(connection, task).latest is not None
    verdict = rules.received(
        counts_of(task),
        before,
        delivery.outcome,
        corrects=None if place.latest is None else place.latest.standing,
        decided=decided,
    )
    _log(log, delivery, verdict.standing)
    assert verdict.seat.state is not None
    connection.execute(_RECEIVE, {"seat": row.lease, "new": verdict.seat.state.value, "filled": verdict.seat.counts})
    connection.execute(_NO_DRAFT, {"seat": row.lease})
    if not row.repeat:
        if verdict.retires:
            _retire(connection, log, task, verdict.task, delivery)
        else:
            conclude(connection, log, task, verdict.task)
            if _takes_back(connection, delivery):
                _reinstate(connection, log, task, delivery)
        if task.repeat and verdict.standing in (Standing.ON_TIME, Standing.LATE) and delivery.outcome.carries_label:
            _plan_repeat(connection, task, delivery.rater, repeat_gap)
    return verdict.standing


def _plan_repeat(connection: Connection, task: Row[Any], rater: str, gap: int) -> None:
    due = handed_in(connection, task.campaign, rater) + 1 + gap
    again = and_(leases.c.task == task.task, leases.c.rater == rater, leases.c.repeat == 1)
    if connection.execute(select(leases.c.lease).where(again)).one_or_none() is None:
        seat(connection, task.campaign, task.task, rater, repeat=1, state=LeaseState.DUE, due=due)


def _adjudicate(connection: Connection, task: Row[Any], delivery: Delivery, decided: Submission | None) -> Standing:
    corrects = decided is not None and decided.id == delivery.supersedes
    return rules.adjudicated(counts_of(task), decided=decided is not None, corrects=corrects)


def _log(log: Log, delivery: Delivery, standing: Standing) -> None:
    facts = {**delivery.plain(), "body_sha256": delivery.body_sha256, "standing": standing.value}
    log.add(delivery.campaign, delivery.rater, "submission.received", delivery.id, facts)


def _retire(connection: Connection, log: Log, task: Row[Any], counts: Counts, delivery: Delivery) -> None:
    """Close every task of the item that is not done; nobody is asked about it any more."""
    retired = replace(counts, state=TaskState.RETIRED)
    values = {"taken": retired.taken, "counted": retired.counted, "skipped": retired.skipped}
    connection.execute(update(tasks).where(tasks.c.task == task.task).values(**values, state=TaskState.OPEN.value))
    waiting = and_(tasks.c.campaign == task.campaign, tasks.c.item == task.item, tasks.c.state != TaskState.DONE.value)
    change = update(tasks).where(waiting, tasks.c.state != TaskState.RETIRED.value)
    connection.execute(change.values(state=TaskState.RETIRED.value, retired_by=delivery.id))
    log.add(task.campaign, delivery.rater, "item.retired", task.item, {"submission": delivery.id, "task": task.task})


def _reinstate(connection: Connection, log: Log, task: Row[Any], delivery: Delivery) -> None:
    """Open the tasks again that only the corrected submission had retired, unless the campaign took that answer already."""
    of_item = and_(tasks.c.campaign == task.campaign, tasks.c.item == task.item)
    still = (
        select_submissions()
        .join(tasks, tasks.c.task == submissions.c.task)
        .where(
            of_item, submissions.c.outcome == Outcome.UNUSABLE.value, submissions.c.submission != delivery.supersedes
        )
        .where(submissions.c.repeat == 0)
    )
    others = [one.id for one in map(submission_of, connection.execute(still)) if one.current]
    mine = and_(of_item, tasks.c.retired_by == delivery.supersedes)
    if others:
        connection.execute(update(tasks).where(mine).values(retired_by=others[0]))
        return
    taken = exists().where(answers.c.campaign == tasks.c.campaign, answers.c.query == tasks.c.task)
    rows = connection.execute(select(tasks).where(mine, ~taken).order_by(tasks.c.task)).all()
    for row in rows:
        connection.execute(update(tasks).where(tasks.c.task == row.task).values(retired_by=None))
        conclude(connection, log, row, rules.reinstated(counts_of(row)))
    named = [row.task for row in rows]
    log.add(task.campaign, delivery.rater, "item.reinstated", task.item, {"submission": delivery.id, "tasks": named})


def _store(connection: Connection, log: Log, delivery: Delivery, lease: Row[Any] | None, standing: Standing) -> Receipt:
    if lease is None:
        _log(log, delivery, standing)
        if standing is Standing.ADJUDICATION:
            task = one_task(connection, delivery.task)
            if delivery.outcome is Outcome.UNUSABLE:
                _retire(connection, log, task, counts_of(task), delivery)
            else:
                if _takes_back(connection, delivery):
                    _reinstate(connection, log, task, delivery)
                _close(connection, delivery.task)
    events = log.flush()
    event = next(one for one in events if one.object == delivery.id and one.action == "submission.received")
    repeat = 0 if lease is None else lease.repeat
    fields = submission_row(delivery, seat=lease and lease.lease, repeat=repeat, standing=standing)
    connection.execute(_STORE, {**fields, "sequence": event.sequence, "received": event.at})
    stored = one_submission(connection, delivery.id)
    assert stored is not None
    return Receipt(submission=stored, task=task_of(one_task(connection, delivery.task)), created=True)


def _close(connection: Connection, task: str) -> None:
    connection.execute(update(tasks).where(tasks.c.task == task).values(state=TaskState.DONE.value))


def settle(connection: Connection, log: Log, task: str, basis: Sequence[str], disagreement: float) -> Task:
    """See the port. Raises NotFound."""
    row = one_task(connection, task, lock=True)
    found = connection.execute(select_submissions().where(submissions.c.task == task)).all()
    counted = {one.id for one in map(submission_of, found) if one.counts}
    if row.state == TaskState.FULL.value and counted == set(basis):
        state = rules.settled(disagreement, row.adjudicate_above)
        change = update(tasks).where(tasks.c.task == task)
        connection.execute(change.values(state=state.value, disagreement=disagreement))
        facts = {"submissions": sorted(counted), "disagreement": disagreement}
        verb = "disputed" if state is TaskState.DISPUTED else "settled"
        log.add(row.campaign, SYSTEM, f"task.{verb}", task, facts)
        log.flush()
    return task_of(one_task(connection, task))
