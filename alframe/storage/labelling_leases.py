"""Leases in SQL: functions of an open transaction.

Locks are taken in one order: the rater, then tasks, then leases, then the audit's head. A claim never waits for a task (``SKIP
LOCKED``); SQLite has one writer at a time and needs none of this.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, insert, literal_column, select, update

from alframe.errors import InvalidValue, NotFound
from alframe.labelling import rules
from alframe.labelling.errors import DraftConflict, Forbidden, LeaseLost
from alframe.labelling.rules import Counts
from alframe.labelling.values import Draft, Lease, LeaseState, Scope, TaskState
from alframe.storage.engine import EpochSeconds
from alframe.storage.labelling_events import SYSTEM, Log, now
from alframe.storage.labelling_rows import counts_of, draft_of, lease_of, rater_of, select_leases
from alframe.storage.labelling_tables import drafts, leases, raters, submissions, task_raters, tasks
from alframe.storage.rows import timestamp
from alframe.types import Outcome

__all__ = [
    "ACTIVE",
    "conclude",
    "expire",
    "expire_overdue",
    "handed_in",
    "heartbeat",
    "lease_seconds",
    "lock_rater",
    "one_lease",
    "release",
    "save_draft",
    "seat",
]

_OVERDUE_AT_ONCE = 100
ACTIVE: ColumnElement[bool] = leases.c.state == literal_column("'active'")  # literals let the partial indexes be used
_RATER = select(raters).where(raters.c.rater == bindparam("name")).with_for_update(key_share=True)
_LEASE = select_leases().where(leases.c.lease == bindparam("id"))
_LEASE_LOCKED = _LEASE.with_for_update()
_DRAFT = select(drafts).where(drafts.c.lease == bindparam("id"))
_FIRST_DRAFT = insert(drafts).returning(*drafts.c)
_NEXT_DRAFT = update(drafts).where(drafts.c.lease == bindparam("id")).returning(*drafts.c)
_CONCLUDE = (
    update(tasks)
    .where(tasks.c.task == bindparam("id"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "taken", "counted", "skipped")})
)
_OVERDUE = (
    select(leases.c.lease, leases.c.task)
    .where(leases.c.campaign == bindparam("campaign"), ACTIVE, leases.c.until <= EpochSeconds())
    .order_by(leases.c.until)
    .limit(_OVERDUE_AT_ONCE)
)


def lock_rater(connection: Connection, name: str) -> Row[Any]:
    """A rater's row; what one rater does is done in turn. Raises NotFound."""
    row = connection.execute(_RATER, {"name": name}).one_or_none()
    if row is None:
        raise NotFound(f"no rater {name!r}; add one with `alframe raters add`")
    return row


def one_lease(connection: Connection, lease: str, *, lock: bool = False) -> Row[Any]:
    """A lease's row with the database's time. Raises NotFound."""
    row = connection.execute(_LEASE_LOCKED if lock else _LEASE, {"id": lease}).one_or_none()
    if row is None:
        raise NotFound(f"no lease {lease[:40]!r}")
    return row


def lease_seconds(ttl: float) -> float:
    """`ttl` when a lease can last so long. Raises InvalidValue."""
    if not 0 <= ttl < 1e9:
        raise InvalidValue(f"a lease lasts 0 seconds or more, got {ttl}")
    return float(ttl)


def handed_in(connection: Connection, campaign: str, rater: str) -> int:
    """How many submissions a rater made."""
    mine = and_(submissions.c.campaign == campaign, submissions.c.rater == rater)
    return int(connection.execute(select(func.count()).where(mine)).scalar_one())


def seat(
    connection: Connection,
    campaign: str,
    task: str,
    rater: str,
    *,
    repeat: int = 0,
    state: LeaseState = LeaseState.RELEASED,
    due: int = 0,
) -> str:
    """Insert a lease that holds no place."""
    lease = uuid.uuid4().hex
    fields = {"lease": lease, "task": task, "campaign": campaign, "rater": rater, "repeat": repeat, "due": due}
    connection.execute(insert(leases).values(**fields, state=state.value, counts=False, until=None, granted=""))
    return lease


def heartbeat(connection: Connection, lease: str, rater: str, ttl: float) -> Lease:
    """See the port. Raises LeaseLost, Forbidden, NotFound."""
    row = _owned(one_lease(connection, lease, lock=True), rater)
    if lease_of(row).state is not LeaseState.ACTIVE:
        raise LeaseLost(f"lease {lease} is {lease_of(row).state}; claim again (the draft is kept)")
    change = update(leases).where(leases.c.lease == lease).values(until=EpochSeconds() + lease_seconds(ttl))
    connection.execute(change)
    return lease_of(one_lease(connection, lease))


def _owned(row: Row[Any], rater: str) -> Row[Any]:
    if row.rater != rater:
        raise Forbidden(f"lease {row.lease} is not {rater}'s")
    return row


def release(connection: Connection, log: Log, lease: str, rater: str) -> Lease:
    """See the port. Raises Forbidden, NotFound."""
    lock_rater(connection, rater)
    task = _locked_task(connection, _owned(one_lease(connection, lease), rater).task)
    row = one_lease(connection, lease, lock=True)
    if row.state == LeaseState.ACTIVE.value:
        _give_back(connection, log, row, task, LeaseState.RELEASED, rater)
        log.flush()
    return lease_of(one_lease(connection, lease))


def save_draft(connection: Connection, lease: str, rater: str, data: bytes, media_type: str, tag: str | None) -> Draft:
    """See the port. Raises DraftConflict, LeaseLost, Forbidden, NotFound."""
    row = _owned(one_lease(connection, lease, lock=True), rater)
    if row.state in (LeaseState.SUBMITTED.value, LeaseState.SKIPPED.value):
        raise LeaseLost(f"lease {lease} is {row.state}; correct the submission instead")
    found = connection.execute(_DRAFT, {"id": lease}).one_or_none()
    sha256 = hashlib.sha256(data).hexdigest()
    if found is not None and (found.sha256, found.media_type) == (sha256, media_type):
        return draft_of(found)
    present = None if found is None else draft_of(found).tag
    if tag != present:
        was = "there is none yet" if present is None else f"it is {present} now"
        raise DraftConflict(f"the draft was not saved over {tag}: {was}; another tab or device may be drawing")
    saved = timestamp(now(connection))
    fields = {"sha256": sha256, "media_type": media_type, "data": data, "saved": saved}
    if found is None:
        kept = connection.execute(_FIRST_DRAFT, {"lease": lease, "revision": 1, **fields})
    else:
        kept = connection.execute(_NEXT_DRAFT, {"id": lease, "revision": found.revision + 1, **fields})
    return draft_of(kept.one())


def _locked_task(connection: Connection, task: str, *, wait: bool = True) -> Row[Any] | None:
    found = select(tasks).where(tasks.c.task == task).with_for_update(skip_locked=not wait)
    return connection.execute(found).one_or_none()


def expire_overdue(connection: Connection, log: Log, campaign: str) -> None:
    """Note what ran out in a campaign, a hundred leases at most; a task that somebody works on is left for the next time."""
    for found in connection.execute(_OVERDUE, {"campaign": campaign}).all():
        task = _locked_task(connection, found.task, wait=False)
        if task is not None:
            expire(connection, log, one_lease(connection, found.lease, lock=True), task)
    log.flush()


def expire(connection: Connection, log: Log, lease: Row[Any], task: Row[Any]) -> bool:
    """Note that an active lease ran out, if it did (both rows are locked); whether it did."""
    overdue = lease.state == LeaseState.ACTIVE.value and lease_of(lease).state is LeaseState.EXPIRED
    if overdue:
        _give_back(connection, log, lease, task, LeaseState.EXPIRED, SYSTEM)
    return overdue


def _give_back(
    connection: Connection, log: Log, lease: Row[Any], task: Row[Any] | None, state: LeaseState, actor: str
) -> None:
    assert task is not None
    connection.execute(update(leases).where(leases.c.lease == lease.lease).values(state=state.value))
    log.add(lease.campaign, actor, f"lease.{state.value}", lease.lease, {"task": lease.task, "rater": lease.rater})
    if not lease.repeat:
        conclude(connection, log, task, rules.freed(counts_of(task)))


def conclude(connection: Connection, log: Log, task: Row[Any], counts: Counts) -> Counts:
    """Write a task's new counts, after extra submissions moved into free places and a hopeless task was given up."""
    for extra in _extras(connection, task.task) if rules.promoted(counts) else ():
        moved = rules.promoted(counts)
        if moved is None:
            break
        counts = moved
        connection.execute(update(leases).where(leases.c.lease == extra.seat).values(counts=True))
        log.add(
            task.campaign, SYSTEM, "submission.promoted", extra.submission, {"task": task.task, "rater": extra.rater}
        )
    if counts.state is TaskState.OPEN and counts.skipped:
        left = rules.given_up(counts, allowed=task.skips, candidates=_candidates(connection, task))
        if left is not None:
            counts = left
            log.add(
                task.campaign, SYSTEM, "task.given_up", task.task, {"skipped": counts.skipped, "labels": counts.counted}
            )
    new = {"new_taken": counts.taken, "new_counted": counts.counted, "new_skipped": counts.skipped}
    connection.execute(_CONCLUDE, {"id": task.task, "new_state": counts.state.value, **new})
    return counts


def _extras(connection: Connection, task: str) -> list[Any]:
    """Seats of a task whose work fills no place yet, with the first submission of each that is no skip, in that order."""
    first = func.min(submissions.c.sequence)
    waiting = (
        select(submissions.c.seat, first.label("sequence"))
        .join(leases, leases.c.lease == submissions.c.seat)
        .where(
            submissions.c.task == task,
            submissions.c.outcome != Outcome.SKIPPED.value,
            leases.c.state == LeaseState.SUBMITTED.value,
            leases.c.counts.is_(False),
            leases.c.repeat == 0,
        )
        .group_by(submissions.c.seat)
        .subquery()
    )
    found = (
        select(submissions.c.submission, submissions.c.seat, submissions.c.rater)
        .join(waiting, waiting.c.sequence == submissions.c.sequence)
        .order_by(submissions.c.sequence)
    )
    return list(connection.execute(found).all())


def _candidates(connection: Connection, task: Row[Any]) -> int:
    """How many raters could still take a task."""
    finished = (LeaseState.SUBMITTED.value, LeaseState.SKIPPED.value)
    had = select(leases.c.rater).where(leases.c.task == task.task, leases.c.repeat == 0, leases.c.state.in_(finished))
    able = select(raters).where(raters.c.revoked.is_(None), raters.c.rater.not_in(had))
    if task.raters != "[]":
        able = able.where(raters.c.rater.in_(select(task_raters.c.rater).where(task_raters.c.task == task.task)))
    return sum(bool({Scope.ANNOTATE, Scope.ADMIN} & rater_of(row).scopes) for row in connection.execute(able))
