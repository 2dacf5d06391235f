"""Human labelling: raters, credentials, tasks, leases, drafts, submissions, and the audit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FREE = sa.text("state = 'open' AND taken < replicas")
_ACTIVE = sa.text("state = 'active'")


def upgrade() -> None:
    """Create the tables, and the head of an empty audit chain."""
    _raters()
    _tasks()
    _leases()
    _submissions()
    _events()


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _maybe(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text()) for name in names]


def _integer(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _big(*names: str, nullable: bool = True) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _flag(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _box() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=name[0] == "z") for name in ("z0", "y0", "x0", "z1", "y1", "x1")]


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    referred, _, key = target.partition(".")
    return sa.ForeignKeyConstraint([column], [f"{referred}.{key}"], name=op.f(f"fk_{table}_{referred}"))


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _raters() -> None:
    op.create_table(
        "raters",
        *_text("rater", "scopes"),
        *_flag("asserted"),
        *_text("created"),
        *_maybe("revoked"),
        _key("raters", "rater"),
    )
    op.create_table(
        "credentials",
        *_text("sha256", "rater", "kind", "created"),
        sa.Column("expires", sa.Double()),
        *_maybe("used"),
        _to("credentials", "rater", "raters.rater"),
        _key("credentials", "sha256"),
    )


def _tasks() -> None:
    op.create_table(
        "tasks",
        *_text("task", "campaign"),
        *_integer("batch", "place"),
        *_text("item"),
        *_box(),
        *_text("classes"),
        sa.Column("score", sa.Double(), nullable=False),
        *_text("raters"),
        *_integer("replicas"),
        *_flag("blind", "repeat"),
        sa.Column("adjudicate_above", sa.Double()),
        *_integer("skips"),
        *_maybe("prefill_kind", "prefill_sha256"),
        *_big("prefill_size"),
        *_text("state"),
        *_integer("taken", "counted", "skipped"),
        sa.Column("disagreement", sa.Double()),
        *_maybe("retired_by"),
        *_text("asked"),
        sa.CheckConstraint("0 <= counted AND counted <= taken AND taken <= replicas", name=op.f("ck_tasks_places")),
        _key("tasks", "task"),
        _unique("tasks", "campaign", "place"),
    )
    for columns in (["campaign", "batch", "state"], ["campaign", "item"], ["campaign", "state", "place"]):
        op.create_index(op.f(f"ix_tasks_{'_'.join(columns)}"), "tasks", columns)
    op.create_index(
        "ix_tasks_free", "tasks", ["campaign", "taken", "place"], sqlite_where=_FREE, postgresql_where=_FREE
    )
    op.create_table(
        "task_raters",
        *_text("task", "rater"),
        _to("task_raters", "task", "tasks.task"),
        _key("task_raters", "task", "rater"),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        *_text("lease", "task", "campaign", "rater"),
        *_integer("repeat"),
        *_text("state"),
        *_flag("counts"),
        sa.Column("until", sa.Double()),
        *_integer("due"),
        *_text("granted"),
        _to("leases", "task", "tasks.task"),
        _to("leases", "rater", "raters.rater"),
        _key("leases", "lease"),
        _unique("leases", "task", "rater", "repeat"),
    )
    active: dict[str, Any] = {"sqlite_where": _ACTIVE, "postgresql_where": _ACTIVE}
    op.create_index("ix_leases_active", "leases", ["campaign", "rater"], unique=True, **active)
    op.create_index(op.f("ix_leases_campaign_rater_state"), "leases", ["campaign", "rater", "state"])
    op.create_index("ix_leases_until", "leases", ["campaign", "until"], **active)
    op.create_table(
        "drafts",
        *_text("lease"),
        *_integer("revision"),
        *_text("sha256", "media_type"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        *_text("saved"),
        _to("drafts", "lease", "leases.lease"),
        _key("drafts", "lease"),
    )


def _submissions() -> None:
    op.create_table(
        "submissions",
        *_text("submission"),
        *_big("sequence", nullable=False),
        *_text("campaign", "task", "rater"),
        *_maybe("lease", "seat"),
        *_integer("repeat"),
        *_flag("adjudicates"),
        *_text("outcome", "reason"),
        *_maybe("mask_kind", "mask_sha256"),
        *_big("mask_size"),
        *_text("class_map"),
        *_flag("prefill_shown"),
        *_text("prefill_sha256"),
        *_big("pixels_changed", "active_ms", "wall_ms"),
        *_text("client"),
        *_maybe("supersedes"),
        *_text("standing", "body_sha256", "received"),
        _to("submissions", "task", "tasks.task"),
        _to("submissions", "rater", "raters.rater"),
        _to("submissions", "seat", "leases.lease"),
        _to("submissions", "supersedes", "submissions.submission"),
        _key("submissions", "submission"),
        _unique("submissions", "sequence"),
        _unique("submissions", "supersedes"),
    )
    for columns in (["campaign", "rater"], ["campaign", "sequence"], ["task", "sequence"]):
        op.create_index(op.f(f"ix_submissions_{'_'.join(columns)}"), "submissions", columns)


def _events() -> None:
    op.create_table(
        "events",
        *_big("sequence", nullable=False),
        *_text("at", "campaign", "actor", "action", "object", "payload", "previous", "hash"),
        _key("events", "sequence"),
        _unique("events", "previous"),
    )
    head = op.create_table(
        "event_head", *_big("id", "sequence", nullable=False), *_text("hash"), _key("event_head", "id")
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "hash": ""}])
