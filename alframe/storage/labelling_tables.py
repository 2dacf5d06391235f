"""The tables of human labelling. Described for readers with plain SQL in ``docs/reference/ledger.md``.

They name a campaign and its queries by value and refer to no table of the campaign's, so that tasks can be put up first. The rules
that must hold whatever a program does are constraints: the places of a task, one active lease a rater, one lease by (task, rater,
repeat).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql

from alframe.storage.schema import box, double, integer, metadata, text

__all__ = ["credentials", "drafts", "event_head", "events", "leases", "raters", "submissions", "task_raters", "tasks"]

_FREE = sql("state = 'open' AND taken < replicas")
_ACTIVE = sql("state = 'active'")

raters = Table(
    "raters",
    metadata,
    Column("rater", Text, primary_key=True),
    text("scopes"),
    Column("asserted", Boolean, nullable=False),
    text("created"),
    Column("revoked", Text),
)

credentials = Table(
    "credentials",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("rater", Text, ForeignKey("raters.rater"), nullable=False),
    text("kind"),
    text("created"),
    Column("expires", Double),
    Column("used", Text),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task", Text, primary_key=True),
    text("campaign"),
    integer("batch"),
    integer("place"),
    text("item"),
    *box(),
    text("classes"),
    double("score"),
    text("raters"),
    integer("replicas"),
    Column("blind", Boolean, nullable=False),
    Column("repeat", Boolean, nullable=False),
    Column("adjudicate_above", Double),
    integer("skips"),
    Column("prefill_kind", Text),
    Column("prefill_sha256", Text),
    Column("prefill_size", BigInteger),
    text("state"),
    integer("taken"),
    integer("counted"),
    integer("skipped"),
    Column("disagreement", Double),
    Column("retired_by", Text),
    text("asked"),
    UniqueConstraint("campaign", "place"),
    CheckConstraint("0 <= counted AND counted <= taken AND taken <= replicas", name="ck_tasks_places"),
    Index("ix_tasks_free", "campaign", "taken", "place", sqlite_where=_FREE, postgresql_where=_FREE),
    Index("ix_tasks_campaign_batch_state", "campaign", "batch", "state"),
    Index("ix_tasks_campaign_state_place", "campaign", "state", "place"),
    Index("ix_tasks_campaign_item", "campaign", "item"),
)

task_raters = Table(
    "task_raters",
    metadata,
    Column("task", Text, ForeignKey("tasks.task"), nullable=False),
    text("rater"),
    PrimaryKeyConstraint("task", "rater"),
)

leases = Table(
    "leases",
    metadata,
    Column("lease", Text, primary_key=True),
    Column("task", Text, ForeignKey("tasks.task"), nullable=False),
    text("campaign"),
    Column("rater", Text, ForeignKey("raters.rater"), nullable=False),
    integer("repeat"),
    text("state"),
    Column("counts", Boolean, nullable=False),
    Column("until", Double),
    integer("due"),
    text("granted"),
    UniqueConstraint("task", "rater", "repeat"),
    Index("ix_leases_active", "campaign", "rater", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    Index("ix_leases_until", "campaign", "until", sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    Index("ix_leases_campaign_rater_state", "campaign", "rater", "state"),
)

drafts = Table(
    "drafts",
    metadata,
    Column("lease", Text, ForeignKey("leases.lease"), primary_key=True),
    integer("revision"),
    text("sha256"),
    text("media_type"),
    Column("data", LargeBinary, nullable=False),
    text("saved"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("submission", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    text("campaign"),
    Column("task", Text, ForeignKey("tasks.task"), nullable=False),
    Column("rater", Text, ForeignKey("raters.rater"), nullable=False),
    Column("lease", Text),
    Column("seat", Text, ForeignKey("leases.lease")),
    integer("repeat"),
    Column("adjudicates", Boolean, nullable=False),
    text("outcome"),
    text("reason"),
    Column("mask_kind", Text),
    Column("mask_sha256", Text),
    Column("mask_size", BigInteger),
    text("class_map"),
    Column("prefill_shown", Boolean, nullable=False),
    text("prefill_sha256"),
    Column("pixels_changed", BigInteger),
    Column("active_ms", BigInteger),
    Column("wall_ms", BigInteger),
    text("client"),
    Column("supersedes", Text, ForeignKey("submissions.submission"), unique=True),
    text("standing"),
    text("body_sha256"),
    text("received"),
    Index("ix_submissions_campaign_sequence", "campaign", "sequence"),
    Index("ix_submissions_task_sequence", "task", "sequence"),
    Index("ix_submissions_campaign_rater", "campaign", "rater"),
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    text("at"),
    text("campaign"),
    text("actor"),
    text("action"),
    text("object"),
    text("payload"),
    Column("previous", Text, nullable=False, unique=True),
    text("hash"),
)

event_head = Table(
    "event_head",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    text("hash"),
)
