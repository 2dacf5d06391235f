"""Putting up tasks, and counting how far they are: functions of an open transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, insert, select

from alframe.errors import ConflictError
from alframe.labelling.values import LeaseState, NewTask, Progress, Submission, TaskState
from alframe.storage.labelling_events import SYSTEM, Log, head, now
from alframe.storage.labelling_rows import select_submissions, submission_of, task_row
from alframe.storage.labelling_tables import leases, submissions, task_raters, tasks
from alframe.storage.rows import box_of, timestamp

__all__ = ["progress", "put_tasks", "retired"]

_CHUNK = 500


def put_tasks(connection: Connection, log: Log, asked: Sequence[NewTask]) -> int:
    """See the port. Raises ConflictError, InvalidValue, NonFiniteError."""
    head(connection, lock=True)  # one call at a time: batches and places are counted on
    once = {task.id: task for task in asked}
    known = _known(connection, list(once))
    for task in once.values():
        if task.id in known:
            _same(task, known[task.id])
    fresh = [task for task in once.values() if task.id not in known]
    if not fresh:
        return 0
    at = timestamp(now(connection))
    first: dict[str, tuple[int, int, dict[str, str]]] = {
        campaign: _start(connection, campaign) for campaign in {task.campaign for task in fresh}
    }
    counted = dict.fromkeys(first, 0)
    fields = []
    for task in fresh:
        batch, place, unusable = first[task.campaign]
        retired_by = unusable.get(task.item)
        place += counted[task.campaign]
        fields.append(task_row(task, batch=batch, place=place, asked=at, retired_by=retired_by))
        counted[task.campaign] += 1
        log.add(task.campaign, SYSTEM, "task.asked", task.id, _facts(task))
    connection.execute(insert(tasks), fields)
    if meant := [{"task": task.id, "rater": rater} for task in fresh for rater in task.raters]:
        connection.execute(insert(task_raters), meant)
    log.flush()
    return len(fresh)


def _known(connection: Connection, ids: list[str]) -> dict[str, Row[Any]]:
    parts = [ids[k : k + _CHUNK] for k in range(0, len(ids), _CHUNK)]
    found = (connection.execute(select(tasks).where(tasks.c.task.in_(part))) for part in parts)
    return {row.task: row for rows in found for row in rows}


def _same(task: NewTask, row: Row[Any]) -> None:
    if (row.campaign, row.item, box_of(row)) != (task.campaign, task.item, task.box):
        raise ConflictError(
            f"task {task.id} asks about {row.item} {box_of(row).start}-{box_of(row).stop} in campaign {row.campaign!r}, "
            f"and cannot be put up again for {task.item} {task.box.start}-{task.box.stop} in {task.campaign!r}"
        )


def _start(connection: Connection, campaign: str) -> tuple[int, int, dict[str, str]]:
    """The next batch and place of a campaign, and its retired items with the submissions that say so."""
    of = tasks.c.campaign == campaign
    batch, place = connection.execute(select(func.max(tasks.c.batch), func.max(tasks.c.place)).where(of)).one()
    unusable = connection.execute(select(tasks.c.item, tasks.c.retired_by).where(of, tasks.c.retired_by.is_not(None)))
    return (
        0 if batch is None else batch + 1,
        0 if place is None else place + 1,
        {row.item: row.retired_by for row in unusable},
    )


def _facts(task: NewTask) -> dict[str, Any]:
    return {
        "item": task.item,
        "start": list(task.box.start),
        "stop": list(task.box.stop),
        "class_map": task.class_map,
        "score": task.score,
        "raters": list(task.raters),
        "replicas": task.replicas,
        "blind": task.blind,
        "repeat": task.repeat,
        "prefill": None if task.prefill is None else task.prefill.sha256,
    }


def retired(connection: Connection, campaign: str) -> dict[str, Submission]:
    """See the port."""
    named = select(tasks.c.item, tasks.c.retired_by).where(
        tasks.c.campaign == campaign, tasks.c.state == TaskState.RETIRED.value
    )
    items = {row.item: row.retired_by for row in connection.execute(named)}
    said: dict[str, Submission] = {}
    for submission in set(items.values()):
        row = connection.execute(select_submissions().where(submissions.c.submission == submission)).one()
        said[submission] = submission_of(row)
    return {item: said[submission] for item, submission in items.items()}


def progress(connection: Connection, campaign: str) -> Progress:
    """See the port."""
    of = tasks.c.campaign == campaign
    batch = connection.execute(select(func.max(tasks.c.batch)).where(of)).scalar_one()
    latest = and_(of, tasks.c.batch == batch)
    states = select(tasks.c.state, func.count()).where(latest).group_by(tasks.c.state)
    in_it = exists().where(tasks.c.task == leases.c.task, tasks.c.batch == batch)  # far fewer leases than tasks
    counted = (
        select(leases.c.rater, func.count())
        .where(leases.c.campaign == campaign, leases.c.counts.is_(True), in_it)
        .group_by(leases.c.rater)
        .order_by(leases.c.rater)
    )
    active = (
        select(leases.c.rater, func.count())
        .where(leases.c.campaign == campaign, leases.c.state == LeaseState.ACTIVE.value)
        .group_by(leases.c.rater)
        .order_by(leases.c.rater)
    )
    return Progress(
        batch=-1 if batch is None else batch,
        tasks={TaskState(state): count for state, count in connection.execute(states)},
        submissions={row[0]: row[1] for row in connection.execute(counted)},
        active={row[0]: row[1] for row in connection.execute(active)},
    )
