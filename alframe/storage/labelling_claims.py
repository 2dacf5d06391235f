"""Handing out tasks in SQL: for any number of raters in one transaction, with few statements for each.

Locks are taken as :mod:`~alframe.storage.labelling_leases` says: all raters first (in the order of their names), then tasks,
for which nobody waits. The statements are made once: making one takes longer than running it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence, Set
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, insert, literal_column, or_, select, update

from alframe.errors import AlframeError, NotFound
from alframe.labelling.errors import Forbidden
from alframe.labelling.values import Assignment, Draft, LeaseState, Submission, TaskState
from alframe.storage.engine import EpochSeconds
from alframe.storage.labelling_events import Log, now
from alframe.storage.labelling_leases import ACTIVE, expire_overdue, handed_in, lease_seconds
from alframe.storage.labelling_rows import draft_of, lease_of, select_leases, select_submissions, submission_of, task_of
from alframe.storage.labelling_tables import drafts, leases, raters, submissions, task_raters, tasks
from alframe.storage.rows import timestamp

__all__ = ["assignments", "claims"]


def _among(name: str) -> Any:
    return bindparam(name, expanding=True)


_FREE = and_(tasks.c.state == literal_column("'open'"), tasks.c.taken < tasks.c.replicas)
_MINE = and_(leases.c.campaign == bindparam("campaign"), leases.c.rater == bindparam("name"))
_OPEN_TO = or_(_FREE, and_(leases.c.repeat > 0, tasks.c.state != TaskState.RETIRED.value))
_LEFT_STATES = (LeaseState.EXPIRED.value, LeaseState.RELEASED.value)

_RATERS = (
    select(raters).where(raters.c.rater.in_(_among("names"))).order_by(raters.c.rater).with_for_update(key_share=True)
)
_HELD = select(leases.c.rater, leases.c.lease).where(
    leases.c.campaign == bindparam("campaign"), leases.c.rater.in_(_among("names")), ACTIVE
)
_EXTEND = (
    update(leases).where(leases.c.lease.in_(_among("held")), ACTIVE).values(until=EpochSeconds() + bindparam("seconds"))
)
_WAITING = (
    select(leases.c.rater, leases.c.state)
    .distinct()
    .where(
        leases.c.campaign == bindparam("campaign"),
        leases.c.rater.in_(_among("names")),
        leases.c.state.in_((*_LEFT_STATES, LeaseState.DUE.value)),
    )
)
_LEFT = (
    select(leases.c.lease, leases.c.task, leases.c.repeat)
    .join(tasks, tasks.c.task == leases.c.task)
    .where(_MINE, leases.c.state.in_(_LEFT_STATES), _OPEN_TO)
    .order_by(leases.c.until.desc(), leases.c.lease)
    .limit(1)
    .with_for_update(of=tasks, skip_locked=True)
)
_DUE = (
    select(leases.c.lease, leases.c.task, leases.c.repeat, leases.c.due)
    .join(tasks, tasks.c.task == leases.c.task)
    .where(_MINE, leases.c.state == LeaseState.DUE.value, tasks.c.state != TaskState.RETIRED.value)
    .order_by(leases.c.due, leases.c.lease)
    .limit(1)
)
_HAD = exists().where(leases.c.task == tasks.c.task, leases.c.rater == bindparam("name"), leases.c.repeat == 0)
_MEANT = exists().where(task_raters.c.task == tasks.c.task, task_raters.c.rater == bindparam("name"))
_NEXT = (
    select(tasks.c.task)
    .where(tasks.c.campaign == bindparam("campaign"), _FREE, ~_HAD, or_(tasks.c.raters == "[]", _MEANT))
    .order_by(tasks.c.taken, tasks.c.place)
    .limit(1)
    .with_for_update(of=tasks, skip_locked=True)
)
_SEAT = insert(leases).values(
    lease=bindparam("new_lease"),
    task=bindparam("new_task"),
    campaign=bindparam("new_campaign"),
    rater=bindparam("new_rater"),
    granted=bindparam("new_granted"),
    until=EpochSeconds() + bindparam("seconds"),
    repeat=0,
    due=0,
    state=LeaseState.ACTIVE.value,
    counts=False,
)
_WAKE = (
    update(leases)
    .where(leases.c.lease == bindparam("old"))
    .values(
        state=LeaseState.ACTIVE.value, until=EpochSeconds() + bindparam("seconds"), granted=bindparam("new_granted")
    )
)
_TAKE = update(tasks).where(tasks.c.task == bindparam("chosen")).values(taken=tasks.c.taken + 1)
_LEASES = select_leases().where(leases.c.lease.in_(_among("ids")))
_TASKS = select(tasks).where(tasks.c.task.in_(_among("ids")))
_DRAFTS = select(drafts).where(drafts.c.lease.in_(_among("ids")))
_SAID = (
    select_submissions()
    .where(submissions.c.task.in_(_among("ids")), submissions.c.rater.in_(_among("names")))
    .order_by(submissions.c.sequence)
)


def claims(
    connection: Connection, log: Log, campaign: str, names: Sequence[str], ttl: float
) -> tuple[Assignment | AlframeError | None, ...]:
    """See the port. Raises InvalidValue."""
    seconds = lease_seconds(ttl)
    wanted = list(dict.fromkeys(names))
    known = {row.rater: row for row in connection.execute(_RATERS, {"names": sorted(wanted)})}
    refused: dict[str, AlframeError] = {}
    for name in wanted:
        if name not in known:
            refused[name] = NotFound(f"no rater {name!r}; add one with `alframe raters add`")
        elif known[name].revoked is not None:
            refused[name] = Forbidden(f"{name} was revoked")
    expire_overdue(connection, log, campaign)
    asking = [name for name in wanted if name not in refused]
    given = _given(connection, log, campaign, asking, seconds) if asking else {}
    return tuple(refused.get(name) or given.get(name) for name in names)


def _given(connection: Connection, log: Log, campaign: str, asking: list[str], seconds: float) -> dict[str, Assignment]:
    place: dict[str, Any] = {"campaign": campaign, "names": asking}
    held = {row.rater: row.lease for row in connection.execute(_HELD, place)}
    if held:
        connection.execute(_EXTEND, {"held": list(held.values()), "seconds": seconds})
    chosen, seats = dict(held), list[dict[str, Any]]()
    if len(held) < len(asking):
        waiting = {(row.rater, row.state) for row in connection.execute(_WAITING, place)}
        granted = timestamp(now(connection))
        for name in asking:
            if name not in held:
                states = {state for rater, state in waiting if rater == name}
                found = _chosen(connection, campaign, name, states, seconds, granted, seats)
                if found is not None:
                    chosen[name] = found.lease
                    log.add(campaign, name, "lease.granted", found.lease, {"task": found.task, "repeat": found.repeat})
    if seats:
        connection.execute(_SEAT, seats)
    log.flush()
    new = {seat["new_lease"] for seat in seats}
    return {one.lease.rater: one for one in assignments(connection, list(chosen.values()), new=new)}


class _Chosen:
    """A lease that was made active."""

    __slots__ = ("lease", "repeat", "task")

    def __init__(self, lease: str, task: str, repeat: int) -> None:
        self.lease, self.task, self.repeat = lease, task, repeat


def _chosen(
    connection: Connection,
    campaign: str,
    name: str,
    waiting: set[str],
    seconds: float,
    granted: str,
    seats: list[dict[str, Any]],
) -> _Chosen | None:
    """What was left or is due, else the next task that this rater never had; its place taken.

    Active now; a lease that does not exist yet is added to `seats`, which are inserted together.
    """
    mine = {"campaign": campaign, "name": name}
    row: Any = connection.execute(_LEFT, mine).one_or_none() if waiting & set(_LEFT_STATES) else None
    if row is None and LeaseState.DUE.value in waiting:
        row = _due(connection, campaign, name)
    if row is not None:
        connection.execute(_WAKE, {"old": row.lease, "seconds": seconds, "new_granted": granted})
        found = _Chosen(row.lease, row.task, row.repeat)
    else:
        task = connection.execute(_NEXT, mine).scalar_one_or_none()
        if task is None:
            return None
        found = _Chosen(uuid.uuid4().hex, task, 0)
        new = {"new_lease": found.lease, "new_task": task, "new_campaign": campaign, "new_rater": name}
        seats.append({**new, "new_granted": granted, "seconds": seconds})
    if not found.repeat:
        connection.execute(_TAKE, {"chosen": found.task})
    return found


def _due(connection: Connection, campaign: str, name: str) -> Any:
    """A repeat whose time has come."""
    first = connection.execute(_DUE, {"campaign": campaign, "name": name}).one_or_none()
    if first is None or first.due > handed_in(connection, campaign, name):
        return None
    return first


def assignments(connection: Connection, ids: Sequence[str], *, new: Set[str] = frozenset()) -> tuple[Assignment, ...]:
    """See the port. `new` leases were made by this transaction: nothing was drawn under them yet. Raises NotFound."""
    if not ids:
        return ()
    held = {row.lease: lease_of(row) for row in connection.execute(_LEASES, {"ids": list(ids)})}
    for lease in ids:
        if lease not in held:
            raise NotFound(f"no lease {lease[:40]!r}")
    asked = sorted({one.task for one in held.values()})
    found = {row.task: task_of(row) for row in connection.execute(_TASKS, {"ids": asked})}
    kept: dict[str, Draft] = {}
    latest: dict[str | None, Submission] = {}
    old = [one for one in held.values() if one.id not in new]
    if old:
        kept = {row.lease: draft_of(row) for row in connection.execute(_DRAFTS, {"ids": [one.id for one in old]})}
        about = {"ids": sorted({one.task for one in old}), "names": sorted({one.rater for one in old})}
        latest = {row.lease: submission_of(row) for row in connection.execute(_SAID, about) if row.current}
    return tuple(
        Assignment(lease=held[one], task=found[held[one].task], draft=kept.get(one), submission=latest.get(one))
        for one in ids
    )
