"""The ledger contract on a real PostgreSQL server, and what that server alone promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from alframe import failpoints
from alframe.errors import FencedError, StoreUnavailable
from alframe.ports import Ledger
from alframe.storage import SqlLedger, database, engine, migrations
from alframe.storage.tables import metadata
from alframe.testing.contracts import ledger as samples
from alframe.testing.postgres import PostgresServer
from alframe.types import Phase

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def open_ledger(url: str) -> Iterator[Callable[[], SqlLedger]]:
    opened: list[SqlLedger] = []

    def make() -> SqlLedger:
        opened.append(SqlLedger(url))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


class TestPostgresLedger(samples.LedgerContract):
    @pytest.fixture
    def open_ledger(self, open_ledger: Callable[[], Ledger]) -> Callable[[], Ledger]:
        return open_ledger


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(migrations.upgrade, [url] * 4)) == {migrations.head()}
    made = engine.open_engine(engine.parse_url(url))
    with made.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    made.dispose()


def test_a_restart_in_the_middle_of_a_step_is_retried(
    postgres: PostgresServer, url: str, open_ledger: Callable[[], SqlLedger]
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    restarts = []

    def restart(name: str) -> None:
        if name in ("ledger.advance.before_commit", "ledger.begin_round.before_commit") and name not in restarts:
            restarts.append(name)
            postgres.control("--mode=immediate", "restart")

    with failpoints.installed(restart):
        ledger.advance(fence, samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3)))
        ledger.begin_round(fence, samples.planned(1))
    assert len(restarts) == 2
    assert ledger.queries("c") == samples.sample_queries(3)
    assert [record.index for record in ledger.rounds("c")] == [0, 1]
    assert len(ledger.seconds("c")) == 1


def test_an_acknowledgement_lost_in_a_restart_is_found_again(
    postgres: PostgresServer, open_ledger: Callable[[], SqlLedger]
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3), seconds=1.0)
    ledger.advance(fence, taken)
    postgres.control("--mode=immediate", "restart")
    ledger.advance(fence, taken)
    assert ledger.seconds("c") == ((0, Phase.SELECTED, 1.0),)


def test_a_server_that_stays_away_is_an_error(
    postgres: PostgresServer, open_ledger: Callable[[], SqlLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    monkeypatch.setattr(database, "_PAUSES", (0.01, 0.02))
    postgres.control("--mode=fast", "stop")
    try:
        with pytest.raises(StoreUnavailable, match="acknowledged nothing"):
            ledger.renew(fence, lease_seconds=60)
    finally:
        postgres.control("start")
    ledger.renew(fence, lease_seconds=60)


def test_a_wrong_address_is_said_soon(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long patience is for a server that was there before."""
    waited: list[float] = []
    monkeypatch.setattr(database.time, "sleep", waited.append)
    with pytest.raises(StoreUnavailable, match="does not exist"):
        SqlLedger(postgres.url("misspelled"))
    assert sum(waited) < 1


def test_a_session_that_froze_in_a_transaction_does_not_block_its_heir(
    url: str, open_ledger: Callable[[], SqlLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends it; when it wakes it is fenced."""
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.3)
    frozen, heir = open_ledger(), open_ledger()
    old = samples.start(frozen)
    frozen.renew(old, lease_seconds=0)
    before: list[object] = []

    def freeze(name: str) -> None:
        if name == "ledger.advance.before_commit":
            heir.claim("c", holder=samples.OTHER, lease_seconds=600)
            before.append(samples.contents(heir))

    with failpoints.installed(freeze), pytest.raises(FencedError, match=samples.OTHER):
        frozen.advance(old, samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3)))
    assert before == [samples.contents(heir)]


def test_nobody_takes_over_in_the_middle_of_a_step(open_ledger: Callable[[], SqlLedger]) -> None:
    """The fence row is locked in share mode: the heir waits for the commit, then the old driver is fenced."""
    old_driver, heir = open_ledger(), open_ledger()
    old = samples.start(old_driver)
    old_driver.renew(old, lease_seconds=0)
    order: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        claims = []

        def claim() -> None:
            heir.claim("c", holder=samples.OTHER, lease_seconds=600)
            order.append("claimed")

        def take_over(name: str) -> None:
            if name == "ledger.advance.before_commit":
                claims.append(pool.submit(claim))
                with pytest.raises(TimeoutError):
                    claims[0].result(timeout=0.5)
                order.append("committing")

        with failpoints.installed(take_over):
            old_driver.advance(old, samples.step(Phase.PLANNED, Phase.TRAINED))
        claims[0].result(timeout=60)
    assert order == ["committing", "claimed"]
    assert heir.rounds("c")[0].phase is Phase.TRAINED
    with pytest.raises(FencedError):
        old_driver.advance(old, samples.step(Phase.TRAINED, Phase.SCORED))


def test_the_queries_of_the_reference_page_run_here_too(url: str, open_ledger: Callable[[], SqlLedger]) -> None:
    open_ledger()
    page = Path(__file__).parents[2] / "docs" / "reference" / "ledger.md"
    queries = re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    made = engine.open_engine(engine.parse_url(url))
    with made.connect() as connection:
        assert [connection.execute(text(query)).fetchall() for query in queries] == [[]] * 5
    made.dispose()
