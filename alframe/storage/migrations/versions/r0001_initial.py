"""The first schema: campaigns, rounds, phases, artifacts, queries, answers, metrics, bins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _campaigns()
    _rounds()
    _labels()
    _measurements()


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _integer(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _double(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double(), nullable=False) for name in names]


def _box() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=name[0] == "z") for name in ("z0", "y0", "x0", "z1", "y1", "x1")]


def _artifact(prefix: str) -> tuple[sa.Column[str], sa.Column[str], sa.Column[int]]:
    return (
        sa.Column(f"{prefix}_kind", sa.Text()),
        sa.Column(f"{prefix}_sha256", sa.Text()),
        sa.Column(f"{prefix}_size", sa.BigInteger()),
    )


def _of_round(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["campaign", "round"], ["rounds.campaign", "rounds.round"], name=op.f(f"fk_{table}_rounds")
    )


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        *_integer("id"),
        *_text("name", "config", "config_hash", "pool_hash", "status", "reason"),
        *_integer("epoch"),
        *_text("holder"),
        sa.Column("lease_until", sa.Double()),
        sa.Column("stop_reason", sa.Text()),
        *_text("created"),
        _key("campaigns", "id"),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )


def _rounds() -> None:
    op.create_table(
        "rounds",
        *_text("campaign"),
        *_integer("round"),
        *_text("phase", "parent"),
        sa.Column("acquire", sa.Boolean(), nullable=False),
        *_text("version", "reason"),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.name"], name=op.f("fk_rounds_campaigns")),
        _key("rounds", "campaign", "round"),
    )
    op.create_table(
        "phases",
        *_text("campaign"),
        *_integer("round"),
        *_text("phase"),
        *_double("seconds"),
        *_text("reached"),
        _of_round("phases"),
        _key("phases", "campaign", "round", "phase"),
    )
    op.create_table(
        "artifacts",
        *_text("campaign"),
        *_integer("round"),
        *_text("key", "kind", "sha256"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _of_round("artifacts"),
        _key("artifacts", "campaign", "round", "key"),
    )


def _labels() -> None:
    op.create_table(
        "queries",
        *_text("campaign", "query"),
        *_integer("round", "rank"),
        *_text("item"),
        *_box(),
        sa.Column("pixels", sa.BigInteger(), nullable=False),
        *_double("score"),
        *_text("raters"),
        *_integer("replicas"),
        *_artifact("prefill"),
        _of_round("queries"),
        _key("queries", "campaign", "query"),
        sa.UniqueConstraint("campaign", "round", "rank", name=op.f("uq_queries_campaign_round_rank")),
    )
    op.create_table(
        "answers",
        *_text("campaign"),
        *_integer("sequence", "round"),
        *_text("query", "item"),
        *_box(),
        *_text("rater", "outcome"),
        *_artifact("mask"),
        sa.Column("seconds", sa.Double()),
        *_text("reason"),
        sa.ForeignKeyConstraint(
            ["campaign", "query"], ["queries.campaign", "queries.query"], name=op.f("fk_answers_queries")
        ),
        _of_round("answers"),
        _key("answers", "campaign", "sequence"),
    )


def _measurements() -> None:
    op.create_table(
        "metrics",
        *_text("campaign"),
        *_integer("round"),
        *_text("scope", "name", "label", "statistic", "convention"),
        sa.Column("value", sa.Double()),
        _of_round("metrics"),
        _key("metrics", "campaign", "round", "scope", "name", "label", "statistic", "convention"),
    )
    op.create_table(
        "bins",
        *_text("campaign"),
        *_integer("round"),
        *_text("scope"),
        *_integer("bin"),
        *_double("lower", "upper", "count", "confidence", "correct"),
        _of_round("bins"),
        _key("bins", "campaign", "round", "scope", "bin"),
    )
