"""The ledger contract on a real PostgreSQL server, started for this module in a folder of its own."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from alframe import failpoints
from alframe.errors import FencedError, StoreUnavailable
from alframe.ports import Ledger
from alframe.storage import SqlLedger, database, engine, migrations
from alframe.storage.tables import metadata
from alframe.testing.contracts import ledger as samples
from alframe.types import Phase

pytestmark = pytest.mark.postgres


class Server:
    """A throw-away PostgreSQL cluster that listens on a socket in its folder only."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._run("initdb", "--pgdata", str(folder / "data"), "--auth=trust", "--username=alframe", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, user=self.user, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def control(self, *arguments: str) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "--pgdata", str(self.folder / "data"), "--wait", "-o", options, "-l", log, *arguments)

    def url(self, name: str) -> str:
        return f"postgresql://alframe@/{name}?host={self.folder}"

    def sql(self, statement: str, name: str = "postgres") -> None:
        made = create_engine(self.url(name), isolation_level="AUTOCOMMIT")
        with made.connect() as connection:
            connection.execute(text(statement))
        made.dispose()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1].parent if programs else shutil.which("initdb")
    if not found:
        pytest.skip("no PostgreSQL server programs are installed")
    folder = Path(tempfile.mkdtemp(prefix="alframe-pg-"))
    if os.geteuid() == 0:
        try:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        except KeyError:
            pytest.skip("run as root, and there is no user postgres to run the server as")
    made = Server(Path(found), folder)
    made.control("start")
    yield made
    made.control("--mode=immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    server.sql("CREATE DATABASE ledger")
    yield server.url("ledger")
    server.sql("DROP DATABASE ledger WITH (FORCE)")


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
    server: Server, url: str, open_ledger: Callable[[], SqlLedger]
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    restarts = []

    def restart(name: str) -> None:
        if name in ("ledger.advance.before_commit", "ledger.begin_round.before_commit") and name not in restarts:
            restarts.append(name)
            server.control("--mode=immediate", "restart")

    with failpoints.installed(restart):
        ledger.advance(fence, samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3)))
        ledger.begin_round(fence, samples.planned(1))
    assert len(restarts) == 2
    assert ledger.queries("c") == samples.sample_queries(3)
    assert [record.index for record in ledger.rounds("c")] == [0, 1]
    assert len(ledger.seconds("c")) == 1


def test_an_acknowledgement_lost_in_a_restart_is_found_again(
    server: Server, open_ledger: Callable[[], SqlLedger]
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3), seconds=1.0)
    ledger.advance(fence, taken)
    server.control("--mode=immediate", "restart")
    ledger.advance(fence, taken)
    assert ledger.seconds("c") == ((0, Phase.SELECTED, 1.0),)


def test_a_server_that_stays_away_is_an_error(
    server: Server, open_ledger: Callable[[], SqlLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    monkeypatch.setattr(database, "_PAUSES", (0.01, 0.02))
    server.control("--mode=fast", "stop")
    try:
        with pytest.raises(StoreUnavailable, match="acknowledged nothing"):
            ledger.renew(fence, lease_seconds=60)
    finally:
        server.control("start")
    ledger.renew(fence, lease_seconds=60)


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
