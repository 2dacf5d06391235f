"""The ledger contract on SQLite, and what SQLite alone promises."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alframe import failpoints
from alframe.errors import ConflictError, InvalidValue, LeaseHeld, NotFound, StoreUnavailable
from alframe.ports import Ledger
from alframe.storage import SqlLedger, engine
from alframe.storage.leases import is_dead
from alframe.testing.contracts import ledger as samples
from alframe.types import Phase


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/run one/ledger.db"


@pytest.fixture
def open_ledger(url: str) -> Iterator[Callable[[], SqlLedger]]:
    opened: list[SqlLedger] = []

    def make() -> SqlLedger:
        opened.append(SqlLedger(url))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


class TestSqliteLedger(samples.LedgerContract):
    @pytest.fixture
    def open_ledger(self, open_ledger: Callable[[], Ledger]) -> Callable[[], Ledger]:
        return open_ledger


@pytest.mark.parametrize(
    "bad", ["ledger.db", "sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///x", "mysql://h/d", "://"]
)
def test_other_addresses_are_refused(bad: str) -> None:
    with pytest.raises(InvalidValue, match="sqlite:///"):
        SqlLedger(bad)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(InvalidValue) as caught:
        SqlLedger("mysql://anna:secret@host/db")
    assert "secret" not in str(caught.value)


def test_looking_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger"):
        SqlLedger(f"sqlite:///{tmp_path}/absent/ledger.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, but long enough to have a header" * 50)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqlLedger(f"sqlite:///{path}")


def test_connections_are_set_up_for_durability_and_keep_little_in_memory(
    open_ledger: Callable[[], SqlLedger], url: str
) -> None:
    open_ledger()
    made = engine.open_engine(engine.parse_url(url))
    with made.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "cache_size")
        }
    made.dispose()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "cache_size": -256,  # KiB
    }


def test_a_reader_neither_waits_for_a_writer_nor_sees_half_a_step(open_ledger: Callable[[], SqlLedger]) -> None:
    ledger, reader = open_ledger(), open_ledger()
    fence = samples.start(ledger)
    before = samples.contents(reader)
    seen: list[object] = []

    def look(name: str) -> None:
        if name == "ledger.advance.before_commit":
            seen.append(samples.contents(reader))

    with failpoints.installed(look):
        ledger.advance(fence, samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3)))
    assert seen == [before]
    assert samples.contents(reader) != before


def test_an_error_before_the_commit_rolls_everything_back(open_ledger: Callable[[], SqlLedger]) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    before = samples.contents(ledger)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3))

    def full(name: str) -> None:
        if name == "ledger.advance.before_commit":
            raise KeyboardInterrupt

    with failpoints.installed(full), pytest.raises(KeyboardInterrupt):
        ledger.advance(fence, taken)
    assert samples.contents(ledger) == before
    ledger.advance(fence, taken)
    assert ledger.queries("c") == samples.sample_queries(3)


def test_a_full_disk_is_reported_and_nothing_is_acknowledged(open_ledger: Callable[[], SqlLedger]) -> None:
    ledger = open_ledger()
    fence = samples.start(ledger)
    before = samples.contents(ledger)
    taken = samples.step(Phase.PLANNED, Phase.SELECTED, queries=samples.sample_queries(3000))
    database = ledger._database

    def limit(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA max_page_count=40")

    database.close()
    samples_listener = (database._engine, "connect", limit)
    engine.event.listen(*samples_listener)
    with pytest.raises(StoreUnavailable, match="full"):
        ledger.advance(fence, taken)
    engine.event.remove(*samples_listener)
    database.close()
    assert samples.contents(ledger) == before
    ledger.advance(fence, taken)
    assert len(ledger.queries("c")) == 3000


def test_tables_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE patients (id INTEGER)")
    connection.close()
    with pytest.raises(ConflictError, match="patients"):
        SqlLedger(f"sqlite:///{path}")


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "a share"
    escaped = str(share).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {escaped} nfs4 rw 0 0\n/dev/b {escaped}/local xfs rw 0 0\n")
    assert engine.filesystem(tmp_path / "ledger.db", mounts) == "ext4"
    assert engine.filesystem(share / "deep" / "ledger.db", mounts) == "nfs4"
    assert engine.filesystem(share / "local" / "ledger.db", mounts) == "xfs"
    assert engine.filesystem(tmp_path / "ledger.db", tmp_path / "absent") == ""
    for kind in ("nfs4", "cifs", "9p", "lustre", "fuse.s3fs"):
        monkeypatch.setattr(engine, "filesystem", lambda *_, kind=kind: kind)
        with pytest.raises(StoreUnavailable, match=rf"network file system \({kind}\).*PostgreSQL"):
            SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    assert not (tmp_path / "ledger.db").exists()


def test_writers_take_turns_where_sqlite_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = engine.parse_url(f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.0)
    with engine.writer_turn(parsed), pytest.raises(StoreUnavailable, match="frozen"), engine.writer_turn(parsed):
        pass
    with engine.writer_turn(parsed):
        pass
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    with engine.writer_turn(parsed), engine.writer_turn(parsed):
        pass


def _holder(pid: int, host: str = socket.gethostname()) -> str:
    return f"{host}:{pid}:token"


def test_the_lease_of_a_dead_process_is_free_at_once(open_ledger: Callable[[], SqlLedger]) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ledger = open_ledger()
    ledger.create("c", config="", config_hash="", pool_hash="")
    ledger.claim("c", holder=_holder(child.pid), lease_seconds=3600)
    me = _holder(os.getpid())
    with pytest.raises(LeaseHeld, match=f"{child.pid}.* until 20"):
        ledger.claim("c", holder=me, lease_seconds=60)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet reaped
    fence = ledger.claim("c", holder=me, lease_seconds=60)
    assert fence.epoch == 2
    child.communicate()
    assert is_dead(_holder(child.pid))


@pytest.mark.parametrize(
    "holder", ["", "no-pid", "host:x:y", ":1:t", "::", _holder(1, "elsewhere"), _holder(10**30), _holder(0)]
)
def test_whoever_cannot_be_told_dead_keeps_the_lease(holder: str) -> None:
    assert not is_dead(holder)
