"""What a campaign's raters did, summed up by the database: the table that an administrator sees, whatever the campaign's size."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, distinct, func, select

from alframe.labelling.values import Effort, Opinion, Standing
from alframe.storage.labelling_tables import submissions
from alframe.storage.rows import ref_of

__all__ = ["efforts", "opinions"]

_NEWER = submissions.alias("newer")
_JOINED = submissions.outerjoin(_NEWER, _NEWER.c.supersedes == submissions.c.submission)


def efforts(connection: Connection, campaign: str) -> tuple[Effort, ...]:
    """By name: each rater's labels and active time."""
    sums = select(submissions.c.rater, func.count(), func.sum(submissions.c.active_ms))
    chosen = sums.select_from(_JOINED).where(_labels(campaign)).group_by(submissions.c.rater)
    found = [
        Effort(rater=rater, labels=labels, active_ms=None if active is None else int(active))
        for rater, labels, active in connection.execute(chosen)
    ]
    return tuple(sorted(found, key=lambda one: one.rater))


def opinions(connection: Connection, campaign: str) -> tuple[Opinion, ...]:
    """Masks on tasks that several raters drew, in the order they came."""
    drawn = and_(_labels(campaign), submissions.c.mask_sha256.is_not(None), submissions.c.repeat == 0)
    raters = func.count(distinct(submissions.c.rater))
    shared = select(submissions.c.task).select_from(_JOINED).where(drawn).group_by(submissions.c.task)
    chosen = (
        select(submissions)
        .select_from(_JOINED)
        .where(drawn, submissions.c.task.in_(shared.having(raters > 1)))
        .order_by(submissions.c.sequence)
    )
    refs = ((row, ref_of(row.mask_kind, row.mask_sha256, row.mask_size)) for row in connection.execute(chosen))
    return tuple(Opinion(task=row.task, rater=row.rater, mask=ref) for row, ref in refs if ref is not None)


def _labels(campaign: str) -> ColumnElement[bool]:
    return and_(
        submissions.c.campaign == campaign,
        _NEWER.c.submission.is_(None),
        submissions.c.standing != Standing.SKIP.value,
    )
