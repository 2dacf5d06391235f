"""The ledger's tables. Described for readers with plain SQL in ``docs/reference/ledger.md``.

Every table names its campaign and round by plain values, so that a question about one campaign needs no join. Boxes are
columns in axes ``(Z) Y X``, half-open; ``z0`` and ``z1`` are NULL for 2-D items. Numbers are doubles, never NaN.
A change here needs a migration in :mod:`alframe.storage.migrations`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = ["answers", "artifacts", "bins", "campaigns", "metadata", "metrics", "phases", "queries", "rounds"]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _double(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _box() -> tuple[Column[int], ...]:
    return tuple(Column(name, Integer, nullable=name[0] == "z") for name in ("z0", "y0", "x0", "z1", "y1", "x1"))


def _of_round() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["campaign", "round"], ["rounds.campaign", "rounds.round"])


campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _text("config"),
    _text("config_hash"),
    _text("pool_hash"),
    _text("status"),
    _text("reason"),
    _integer("epoch"),
    _text("holder"),
    Column("lease_until", Double),
    Column("stop_reason", Text),
    _text("created"),
)

rounds = Table(
    "rounds",
    metadata,
    Column("campaign", Text, ForeignKey("campaigns.name"), nullable=False),
    _integer("round"),
    _text("phase"),
    _text("parent"),
    Column("acquire", Boolean, nullable=False),
    _text("version"),
    _text("reason"),
    PrimaryKeyConstraint("campaign", "round"),
)

phases = Table(
    "phases",
    metadata,
    _text("campaign"),
    _integer("round"),
    _text("phase"),
    _double("seconds"),
    _text("reached"),
    PrimaryKeyConstraint("campaign", "round", "phase"),
    _of_round(),
)

artifacts = Table(
    "artifacts",
    metadata,
    _text("campaign"),
    _integer("round"),
    _text("key"),
    _text("kind"),
    _text("sha256"),
    Column("size", BigInteger, nullable=False),
    PrimaryKeyConstraint("campaign", "round", "key"),
    _of_round(),
)

queries = Table(
    "queries",
    metadata,
    _text("campaign"),
    _text("query"),
    _integer("round"),
    _integer("rank"),
    _text("item"),
    *_box(),
    Column("pixels", BigInteger, nullable=False),
    _double("score"),
    _text("raters"),
    _integer("replicas"),
    Column("prefill_kind", Text),
    Column("prefill_sha256", Text),
    Column("prefill_size", BigInteger),
    PrimaryKeyConstraint("campaign", "query"),
    UniqueConstraint("campaign", "round", "rank"),
    _of_round(),
)

answers = Table(
    "answers",
    metadata,
    _text("campaign"),
    _integer("sequence"),
    _integer("round"),
    _text("query"),
    _text("item"),
    *_box(),
    _text("rater"),
    _text("outcome"),
    Column("mask_kind", Text),
    Column("mask_sha256", Text),
    Column("mask_size", BigInteger),
    Column("seconds", Double),
    _text("reason"),
    PrimaryKeyConstraint("campaign", "sequence"),
    ForeignKeyConstraint(["campaign", "query"], ["queries.campaign", "queries.query"]),
    _of_round(),
)

metrics = Table(
    "metrics",
    metadata,
    _text("campaign"),
    _integer("round"),
    _text("scope"),
    _text("name"),
    _text("label"),
    _text("statistic"),
    _text("convention"),
    Column("value", Double),
    PrimaryKeyConstraint("campaign", "round", "scope", "name", "label", "statistic", "convention"),
    _of_round(),
)

bins = Table(
    "bins",
    metadata,
    _text("campaign"),
    _integer("round"),
    _text("scope"),
    _integer("bin"),
    _double("lower"),
    _double("upper"),
    _double("count"),
    _double("confidence"),
    _double("correct"),
    PrimaryKeyConstraint("campaign", "round", "scope", "bin"),
    _of_round(),
)
