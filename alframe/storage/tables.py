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
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from alframe.storage import labelling_tables as labelling_tables  # its tables belong to the same schema
from alframe.storage.schema import box, double, integer, metadata, text

__all__ = [
    "answers",
    "artifacts",
    "bins",
    "campaigns",
    "confusions",
    "metadata",
    "metrics",
    "phases",
    "queries",
    "rounds",
]


def _of_round() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["campaign", "round"], ["rounds.campaign", "rounds.round"])


campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    text("config"),
    text("config_hash"),
    text("pool_hash"),
    text("status"),
    text("reason"),
    integer("epoch"),
    text("holder"),
    Column("lease_until", Double),
    Column("stop_reason", Text),
    text("created"),
)

rounds = Table(
    "rounds",
    metadata,
    Column("campaign", Text, ForeignKey("campaigns.name"), nullable=False),
    integer("round"),
    text("phase"),
    text("parent"),
    Column("acquire", Boolean, nullable=False),
    text("version"),
    text("reason"),
    PrimaryKeyConstraint("campaign", "round"),
)

phases = Table(
    "phases",
    metadata,
    text("campaign"),
    integer("round"),
    text("phase"),
    double("seconds"),
    text("reached"),
    PrimaryKeyConstraint("campaign", "round", "phase"),
    _of_round(),
)

artifacts = Table(
    "artifacts",
    metadata,
    text("campaign"),
    integer("round"),
    text("key"),
    text("kind"),
    text("sha256"),
    Column("size", BigInteger, nullable=False),
    PrimaryKeyConstraint("campaign", "round", "key"),
    _of_round(),
)

queries = Table(
    "queries",
    metadata,
    text("campaign"),
    text("query"),
    integer("round"),
    integer("rank"),
    text("item"),
    *box(),
    Column("pixels", BigInteger, nullable=False),
    double("score"),
    text("raters"),
    integer("replicas"),
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
    text("campaign"),
    integer("sequence"),
    integer("round"),
    text("query"),
    text("item"),
    *box(),
    text("rater"),
    text("outcome"),
    Column("mask_kind", Text),
    Column("mask_sha256", Text),
    Column("mask_size", BigInteger),
    Column("seconds", Double),
    text("reason"),
    PrimaryKeyConstraint("campaign", "sequence"),
    ForeignKeyConstraint(["campaign", "query"], ["queries.campaign", "queries.query"]),
    _of_round(),
)

metrics = Table(
    "metrics",
    metadata,
    text("campaign"),
    integer("round"),
    text("scope"),
    text("name"),
    text("label"),
    text("statistic"),
    text("convention"),
    Column("value", Double),
    PrimaryKeyConstraint("campaign", "round", "scope", "name", "label", "statistic", "convention"),
    _of_round(),
)

bins = Table(
    "bins",
    metadata,
    text("campaign"),
    integer("round"),
    text("scope"),
    integer("bin"),
    double("lower"),
    double("upper"),
    double("count"),
    double("confidence"),
    double("correct"),
    PrimaryKeyConstraint("campaign", "round", "scope", "bin"),
    _of_round(),
)

confusions = Table(
    "confusions",
    metadata,
    text("campaign"),
    integer("round"),
    text("rater"),
    integer("agreed"),
    integer("chosen"),
    Column("pixels", BigInteger, nullable=False),
    PrimaryKeyConstraint("campaign", "round", "rater", "agreed", "chosen"),
    _of_round(),
)
