"""Rows of the labelling tables as values, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, and_, false, func, select

from alframe.labelling.rules import Counts
from alframe.labelling.values import (
    Delivery,
    Draft,
    Lease,
    LeaseState,
    NewTask,
    Rater,
    Scope,
    Standing,
    Submission,
    Task,
    TaskState,
)
from alframe.storage.engine import EpochSeconds
from alframe.storage.labelling_tables import leases, submissions
from alframe.storage.rows import box_fields, box_of, finite, ref_fields, ref_of
from alframe.types import Outcome

__all__ = [
    "counts_of",
    "draft_of",
    "draft_tag",
    "lease_of",
    "rater_of",
    "scopes_text",
    "select_leases",
    "select_submissions",
    "submission_of",
    "submission_row",
    "task_of",
    "task_row",
]

Fields = dict[str, Any]


def task_row(task: NewTask, *, batch: int, place: int, asked: str, retired_by: str | None) -> Fields:
    """A new task, for ``tasks``. Raises NonFiniteError, InvalidValue."""
    above = task.adjudicate_above
    return {
        "task": task.id,
        "campaign": task.campaign,
        "batch": batch,
        "place": place,
        "item": task.item,
        **box_fields(task.box),
        "classes": json.dumps(list(task.classes), ensure_ascii=False),
        "score": finite(f"the score of {task.item} at {task.box.start}", task.score),
        "raters": json.dumps(list(task.raters), ensure_ascii=False),
        "replicas": task.replicas,
        "blind": task.blind,
        "repeat": task.repeat,
        "adjudicate_above": None if above is None else finite("the threshold of adjudication", above),
        "skips": task.skips,
        **ref_fields("prefill", task.prefill),
        "state": (TaskState.RETIRED if retired_by else TaskState.OPEN).value,
        "taken": 0,
        "counted": 0,
        "skipped": 0,
        "disagreement": None,
        "retired_by": retired_by,
        "asked": asked,
    }


def task_of(row: Row[Any]) -> Task:
    """A row of ``tasks``."""
    return Task(
        id=row.task,
        campaign=row.campaign,
        item=row.item,
        box=box_of(row),
        classes=tuple(json.loads(row.classes)),
        score=row.score,
        raters=tuple(json.loads(row.raters)),
        replicas=row.replicas,
        blind=row.blind,
        repeat=row.repeat,
        adjudicate_above=row.adjudicate_above,
        skips=row.skips,
        prefill=ref_of(row.prefill_kind, row.prefill_sha256, row.prefill_size),
        batch=row.batch,
        place=row.place,
        state=TaskState(row.state),
        taken=row.taken,
        counted=row.counted,
        skipped=row.skipped,
        disagreement=row.disagreement,
        asked=row.asked,
    )


def counts_of(row: Row[Any]) -> Counts:
    """The moving part of a row of ``tasks``."""
    return Counts(
        state=TaskState(row.state), replicas=row.replicas, taken=row.taken, counted=row.counted, skipped=row.skipped
    )


@cache
def select_leases() -> Select[Any]:
    """Rows for :func:`lease_of`."""
    return select(leases, EpochSeconds().label("now"))


def lease_of(row: Row[Any]) -> Lease:
    """A row of ``leases`` with the database's time."""
    left = 0.0 if row.state != LeaseState.ACTIVE.value else max(0.0, row.until - row.now)
    overdue = row.state == LeaseState.ACTIVE.value and left <= 0
    return Lease(
        id=row.lease,
        task=row.task,
        campaign=row.campaign,
        rater=row.rater,
        repeat=row.repeat,
        state=LeaseState.EXPIRED if overdue else LeaseState(row.state),
        counts=row.counts,
        seconds_left=left,
        granted=row.granted,
    )


def draft_tag(revision: int, sha256: str) -> str:
    """What names one state of a draft."""
    return f"{revision}-{sha256[:16]}"


def draft_of(row: Row[Any]) -> Draft:
    """A row of ``drafts``."""
    tag = draft_tag(row.revision, row.sha256)
    return Draft(lease=row.lease, tag=tag, media_type=row.media_type, data=bytes(row.data), saved=row.saved)


def submission_row(delivery: Delivery, *, seat: str | None, repeat: int, standing: Standing) -> Fields:
    """A delivery, for ``submissions``; its sequence and time come with its event."""
    plain = delivery.plain()
    del plain["id"], plain["mask"]
    return {
        **plain,
        "submission": delivery.id,
        "seat": seat,
        "repeat": repeat,
        "standing": standing.value,
        "body_sha256": delivery.body_sha256,
        **ref_fields("mask", delivery.mask),
    }


@cache
def select_submissions() -> Select[Any]:
    """Rows for :func:`submission_of`: with whether a correction exists, and whether the seat fills a place."""
    newer = submissions.alias("newer")
    joined = submissions.outerjoin(newer, newer.c.supersedes == submissions.c.submission).outerjoin(
        leases, and_(leases.c.lease == submissions.c.seat)
    )
    current = newer.c.submission.is_(None)
    counts = and_(func.coalesce(leases.c.counts, false()), current, submissions.c.repeat == 0)
    return select(submissions, current.label("current"), counts.label("counts")).select_from(joined)


def submission_of(row: Row[Any]) -> Submission:
    """A row of :func:`select_submissions`."""
    same = (
        "campaign",
        "task",
        "rater",
        "lease",
        "adjudicates",
        "reason",
        "class_map",
        "prefill_shown",
        "prefill_sha256",
    )
    numbers = ("pixels_changed", "active_ms", "wall_ms", "client", "supersedes", "repeat", "received")
    fields = row._mapping
    return Submission(
        **{name: fields[name] for name in (*same, *numbers)},
        id=row.submission,
        outcome=Outcome(row.outcome),
        mask=ref_of(row.mask_kind, row.mask_sha256, row.mask_size),
        standing=Standing(row.standing),
        current=bool(row.current),
        counts=bool(row.counts) and row.standing != Standing.SKIP.value,
    )


def scopes_text(scopes: Iterable[Scope]) -> str:
    """Scopes as one text column."""
    return " ".join(sorted(scope.value for scope in scopes))


def rater_of(row: Row[Any]) -> Rater:
    """A row of ``raters``."""
    scopes = frozenset(Scope(scope) for scope in row.scopes.split())
    return Rater(name=row.rater, scopes=scopes, asserted=row.asserted, created=row.created, revoked=row.revoked)
