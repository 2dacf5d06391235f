"""The ledger in SQL: SQLite by default, PostgreSQL by URL.

Each method is one transaction. A write takes its lock first, checks its fence, writes, and returns after the commit is durable.
On PostgreSQL a transaction whose connection broke is tried again; every method may be repeated, so nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select, update

from alframe.errors import ConflictError, NotFound
from alframe.ports import CampaignRecord, Fence, RoundRecord, Transition
from alframe.storage import leases, migrations, renames, rows, steps
from alframe.storage.database import Database
from alframe.storage.engine import EpochSeconds
from alframe.storage.tables import answers, artifacts, bins, campaigns, confusions, metrics, phases, queries, rounds
from alframe.types import AnswerRecord, ArtifactRef, Bin, Confusion, Metric, Phase, Query

__all__ = ["SqlLedger"]

T = TypeVar("T")


class SqlLedger:
    """Implements :class:`~alframe.ports.Ledger`. Safe in threads and processes; close it when done (or use ``with``).

    A new database gets its schema by the migrations, unless `create` is False.

    Raises:
        InvalidValue: for a URL that is neither SQLite in a file nor PostgreSQL.
        NotFound: when there is no ledger at `url` and `create` is False.
        ConflictError: when the database has another schema revision; says what to upgrade.
        StoreUnavailable: when the database cannot be reached, or lies on a network file system.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        revision = migrations.current(url)
        if revision is None and not create:
            raise NotFound("there is no ledger at this address; start a campaign to create one, or correct the address")
        migrations.check(revision or migrations.upgrade(url))
        self._database = Database(url)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- campaigns -----------------------------------------------------------------------------------------------------

    def create(self, name: str, *, config: str, config_hash: str, pool_hash: str) -> CampaignRecord:
        """Create a campaign (status ``waiting``), or return the one that exists. Raises ConflictError when the hashes differ."""

        def work(connection: Connection) -> CampaignRecord:
            fields = {"name": name, "config": config, "config_hash": config_hash, "pool_hash": pool_hash}
            state = {"status": "waiting", "reason": "not started", "epoch": 0, "holder": ""}
            created = rows.timestamp(connection.execute(select(EpochSeconds())).scalar_one())
            steps.insert_once(connection, campaigns, {**fields, **state, "created": created})
            found = _campaign(connection, name)
            for what, asked, kept in (
                ("configuration", config_hash, found.config_hash),
                ("pool", pool_hash, found.pool_hash),
            ):
                if asked != kept:
                    raise ConflictError(
                        f"campaign {name!r} exists with another {what} (hash {kept[:12]}, asked for {asked[:12]}); "
                        f"resume it with its own {what}, or choose another name"
                    )
            return found

        return self._database.write("create", work)

    def reconfigure(self, fence: Fence, *, config: str, config_hash: str) -> None:
        """Replace the configuration. Raises FencedError, NotFound."""
        of = update(campaigns).where(campaigns.c.name == fence.campaign)
        change = of.values(config=config, config_hash=config_hash)
        self._fenced("reconfigure", fence, lambda connection: connection.execute(change))

    def campaign(self, name: str) -> CampaignRecord:
        """One campaign. Raises NotFound, naming the campaigns there are."""
        return self._database.read(lambda connection: _campaign(connection, name))

    def campaigns(self) -> tuple[CampaignRecord, ...]:
        """All campaigns, oldest first."""
        return self._all(select(campaigns).order_by(campaigns.c.id), rows.campaign)

    # -- who drives it -------------------------------------------------------------------------------------------------

    def claim(self, name: str, *, holder: str, lease_seconds: float) -> Fence:
        """Become the driver; `holder` is ``host:pid:token``. Raises LeaseHeld, NotFound, InvalidValue."""
        return self._database.write("claim", lambda connection: leases.claim(connection, name, holder, lease_seconds))

    def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Extend the lease. Raises FencedError, NotFound."""
        self._database.write("renew", lambda connection: leases.renew(connection, fence, lease_seconds))

    def release(self, fence: Fence, *, status: str, reason: str = "") -> None:
        """Give the lease back and record how the campaign stands; later writes need a new claim. Raises FencedError, NotFound."""
        self._database.write("release", lambda connection: leases.release(connection, fence, status, reason))

    def request_stop(self, name: str, reason: str) -> None:
        """Ask the driver to stop; the latest reason is kept. Raises NotFound."""

        def work(connection: Connection) -> None:
            change = update(campaigns).where(campaigns.c.name == name).values(stop_reason=reason)
            if connection.execute(change.returning(campaigns.c.id)).one_or_none() is None:
                raise leases.not_found(connection, name)

        self._database.write("request_stop", work)

    def stop_requested(self, name: str) -> str | None:
        """The reason of a pending stop request. Raises NotFound."""

        def work(connection: Connection) -> str | None:
            row = connection.execute(select(campaigns.c.stop_reason).where(campaigns.c.name == name)).one_or_none()
            if row is None:
                raise leases.not_found(connection, name)
            return None if row.stop_reason is None else str(row.stop_reason)

        return self._database.read(work)

    # -- rounds --------------------------------------------------------------------------------------------------------

    def begin_round(self, fence: Fence, record: RoundRecord) -> RoundRecord:
        """Insert a round in phase PLANNED, or return the one that exists. Raises FencedError, NotFound, InvalidValue."""
        return self._fenced(
            "begin_round", fence, lambda connection: steps.begin_round(connection, fence.campaign, record)
        )

    def record_artifact(self, fence: Fence, round: int, key: str, ref: ArtifactRef) -> ArtifactRef:
        """Name durable bytes as (round, key); the first wins and is returned. Raises FencedError, NotFound."""
        return self._fenced(
            "record_artifact",
            fence,
            lambda connection: steps.record_artifact(connection, fence.campaign, round, key, ref),
        )

    def rename_artifact(self, fence: Fence, old: ArtifactRef, new: ArtifactRef) -> int:
        """Name recomputed bytes in every row that named the old ones; how many. Raises FencedError, NotFound, InvalidValue."""
        return self._fenced(
            "rename_artifact", fence, lambda connection: renames.rename(connection, fence.campaign, old, new)
        )

    def advance(self, fence: Fence, transition: Transition) -> None:
        """Write a phase and step it, atomically; a repeat changes nothing.

        Raises FencedError, NotFound, ConflictError, InvalidValue, NonFiniteError; in each case nothing was written.
        """
        self._fenced("advance", fence, lambda connection: steps.advance(connection, fence.campaign, transition))

    # -- reading -------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The database's clock: seconds since 1970 (UTC)."""
        return self._database.read(lambda connection: float(connection.execute(select(EpochSeconds())).scalar_one()))

    def named(self) -> frozenset[str]:
        """Every hash that a column ``sha256`` or ``…_sha256`` of any table holds."""
        return self._database.read(renames.named)

    def rounds(self, name: str) -> tuple[RoundRecord, ...]:
        """Rounds in order. Raises NotFound, as all that follow."""
        return self._of(name, select(rounds).where(rounds.c.campaign == name).order_by(rounds.c.round), rows.round_of)

    def artifacts(self, name: str, round: int) -> dict[str, ArtifactRef]:
        """Named artifacts of a round, sorted by key (empty when there are none)."""
        chosen = select(artifacts).where(artifacts.c.campaign == name, artifacts.c.round == round)
        return dict(sorted(self._of(name, chosen, lambda row: (str(row.key), rows.artifact(row)))))

    def queries(self, name: str, round: int | None = None) -> tuple[Query, ...]:
        """Queries in (round, rank) order, of one round or of all."""
        chosen = select(queries).where(queries.c.campaign == name, *_only(queries.c.round, round))
        return self._of(name, chosen.order_by(queries.c.round, queries.c.rank), rows.query)

    def answers(self, name: str, before_round: int | None = None) -> tuple[AnswerRecord, ...]:
        """Answers by sequence; with `before_round`, only those of earlier rounds."""
        chosen = select(answers).where(answers.c.campaign == name).order_by(answers.c.sequence)
        if before_round is not None:
            chosen = chosen.where(answers.c.round < before_round)
        return self._of(name, chosen, rows.answer)

    def counts(self, name: str) -> dict[int, tuple[int, int]]:
        """By round: how many queries and answers it has."""
        asked, said = (self._by_round(name, table) for table in (queries, answers))
        return {round: (count, said.get(round, 0)) for round, count in asked.items()}

    def metrics(self, name: str, *, overall: bool = False) -> tuple[tuple[int, Metric], ...]:
        """(round, metric) sorted by round, scope, name, label, statistic, convention."""
        chosen = select(metrics).where(metrics.c.campaign == name)
        if overall:
            chosen = chosen.where(metrics.c.label == "", metrics.c.statistic == "pooled")
        found = self._of(name, chosen, lambda row: (int(row.round), rows.metric(row)))

        def place(entry: tuple[int, Metric]) -> tuple[int, str, str, str, str, str]:
            metric = entry[1]
            return (entry[0], metric.scope, metric.name, metric.label, metric.statistic, metric.convention)

        return tuple(sorted(found, key=place))

    def bins(self, name: str) -> tuple[tuple[int, Bin], ...]:
        """(round, bin) sorted by round, scope, index."""
        found = self._of(
            name, select(bins).where(bins.c.campaign == name), lambda row: (int(row.round), rows.bin_of(row))
        )
        return tuple(sorted(found, key=lambda entry: (entry[0], entry[1].scope, entry[1].index)))

    def confusions(self, name: str) -> tuple[tuple[int, Confusion], ...]:
        """(round, what a rater chose against the others) sorted by round, rater, agreed, chosen."""
        chosen = select(confusions).where(confusions.c.campaign == name)
        found = self._of(name, chosen, lambda row: (int(row.round), rows.confusion(row)))
        return tuple(sorted(found, key=lambda entry: (entry[0], entry[1].rater, entry[1].agreed, entry[1].chosen)))

    def seconds(self, name: str) -> tuple[tuple[int, Phase, float], ...]:
        """(round, phase reached, seconds it took), in the order of the rounds and phases."""
        chosen = select(phases).where(phases.c.campaign == name)
        found = self._of(name, chosen, lambda row: (int(row.round), Phase(row.phase), float(row.seconds)))
        return tuple(sorted(found, key=lambda entry: (entry[0], entry[1].order)))

    # -- transactions --------------------------------------------------------------------------------------------------

    def _by_round(self, name: str, table: Table) -> dict[int, int]:
        chosen = select(table.c.round, func.count().label("size")).where(table.c.campaign == name)
        return dict(self._of(name, chosen.group_by(table.c.round), lambda row: (int(row.round), int(row.size))))

    def _of(self, name: str, chosen: Select[Any], make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        def work(connection: Connection) -> tuple[T, ...]:
            found = tuple(make(row) for row in connection.execute(chosen))
            if not found:
                _campaign(connection, name)
            return found

        return self._database.read(work)

    def _all(self, chosen: Select[Any], make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        return self._database.read(lambda connection: tuple(make(row) for row in connection.execute(chosen)))

    def _fenced(self, method: str, fence: Fence, work: Callable[[Connection], T]) -> T:
        def guarded(connection: Connection) -> T:
            leases.check(connection, fence)
            return work(connection)

        return self._database.write(method, guarded)


def _campaign(connection: Connection, name: str) -> CampaignRecord:
    row = connection.execute(select(campaigns).where(campaigns.c.name == name)).one_or_none()
    if row is None:
        raise leases.not_found(connection, name)
    return rows.campaign(row)


def _only(column: ColumnElement[int], round: int | None) -> tuple[ColumnElement[bool], ...]:
    return () if round is None else (column == round,)
