"""Opening the ledger's database: SQLite in a file, or PostgreSQL through psycopg 3.

SQLite: write-ahead log, ``synchronous=FULL`` (what is acknowledged survives power loss), foreign keys on, every write
transaction takes the write lock at its start (``BEGIN IMMEDIATE``). Before 3.51.3 a checkpoint in one process can race a
commit in another and damage the file (the "WAL-reset" bug); there all writers also take turns on a lock file beside it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Double, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from alframe.errors import ExtraMissing, InvalidValue, StoreUnavailable

__all__ = ["EpochSeconds", "open_engine", "parse_url", "sqlite_path", "writer_turn"]

BUSY_SECONDS = 30.0
"""How long a writer waits for its turn before it gives up."""
IDLE_SECONDS = 15.0
"""PostgreSQL ends a transaction whose client is silent for so long (a stopped process), before others give up waiting."""
PAGES_KIB = 256
"""What a connection to SQLite keeps of the file. It is dropped whenever another connection writes; with 2 MiB, which SQLite
takes when nothing is said, that left gaps of 4 KiB everywhere in the memory of a process that runs for long."""
_SAFE_SQLITE = (3, 51, 3)
_REMOTE = re.compile(
    r"nfs[34]?|cifs|smb[23]|smbfs|ncpfs|afs|coda|9p|virtiofs|ceph|glusterfs|lustre|gpfs|beegfs|pvfs2|orangefs|panfs|wekafs"
    r"|gfs2|ocfs2|acfs|davfs"
    r"|fuse\.(sshfs|glusterfs|ceph|ceph-fuse|s3fs|gcsfuse|goofys|rclone|juicefs|blobfuse2?|davfs2|mount-s3|moosefs|quobyte)"
)
"""File systems that other machines may share: locks and shared memory, on which SQLite stands, do not reach over them."""


_queues: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
os.register_at_fork(after_in_child=_queues.clear)  # a thread that held one does not exist in the child


class EpochSeconds(FunctionElement[float]):
    """The database's clock at this moment: seconds since 1970 (UTC)."""

    type = Double()
    inherit_cache = True
    name = "epoch_seconds"


@compiles(EpochSeconds, "sqlite")
def _epoch_sqlite(element: EpochSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(EpochSeconds, "postgresql")
def _epoch_postgresql(element: EpochSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def parse_url(url: str) -> URL:
    """Check a ledger URL.

    Raises:
        InvalidValue: unless it is ``sqlite:///file`` or ``postgresql://user@host/database``.
    """
    expected = "expected sqlite:///path/to/ledger.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidValue(f"{expected}, got something that is no database URL") from error
    if parsed.drivername not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise InvalidValue(f"{expected}, got {parsed.render_as_string()}")
    if parsed.drivername == "sqlite" and (parsed.database in (None, "", ":memory:") or parsed.query):
        raise InvalidValue(f"{expected}, got {parsed.render_as_string()}; a ledger in memory dies with its process")
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def sqlite_path(url: URL) -> Path:
    """The database file of an SQLite URL."""
    return Path(url.database or "").absolute()


def open_engine(url: URL, *, references: bool = True) -> Engine:
    """An engine whose connections are set up as this module promises. Nothing is connected yet.

    Without `references` SQLite does not enforce foreign keys, as its manual asks of whoever copies a table to alter it.

    Raises:
        ExtraMissing: for PostgreSQL without psycopg.
        StoreUnavailable: for an SQLite file on a network file system, where its locks do not hold.
    """
    if url.get_backend_name() == "postgresql":
        return _postgresql(url)
    path = sqlite_path(url)
    kind = filesystem(path, Path("/proc/self/mounts"))
    if _REMOTE.fullmatch(kind):
        raise StoreUnavailable(
            f"{path} is on a network file system ({kind}), where SQLite is unsafe; use a local disk or PostgreSQL"
        )
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", functools.partial(_prepare_sqlite, references=references))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> Engine:
    timeouts = {"idle_in_transaction_session_timeout": IDLE_SECONDS, "lock_timeout": BUSY_SECONDS}
    arguments = {
        "connect_timeout": 10,
        "options": " ".join(f"-c {name}={seconds * 1000:.0f}" for name, seconds in timeouts.items()),
        # a server that vanished without a word is noticed within half a minute, not within the hours of the defaults
        "tcp_user_timeout": 30_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
    }
    try:
        return create_engine(url, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise ExtraMissing("PostgreSQL needs psycopg 3: pip install 'alframe[postgres]'") from error


def _prepare_sqlite(connection: sqlite3.Connection, record: object, *, references: bool) -> None:
    connection.isolation_level = None  # this module says BEGIN itself
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailable(
            f"the file system of the ledger cannot keep a write-ahead log (SQLite answered {mode!r})"
        )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{PAGES_KIB}")
    connection.execute(f"PRAGMA foreign_keys={'ON' if references else 'OFF'}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("alframe_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def writer_turn(url: URL) -> AbstractContextManager[None]:
    """Hold this while a transaction writes. Does something only for an SQLite with the WAL-reset bug."""
    if url.get_backend_name() == "sqlite" and sqlite3.sqlite_version_info < _SAFE_SQLITE:
        path = sqlite_path(url)
        return _turn(path.with_name(path.name + "-turn"), BUSY_SECONDS)
    return nullcontext()


@contextmanager
def _turn(lock: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock`; the kernel frees it when the process dies.

    The threads of this process queue up before it, so that only one of them has to look at the file again and again.
    """
    deadline = time.monotonic() + seconds
    frozen = StoreUnavailable(f"another process or thread has held {lock} for {seconds} s; is it frozen?")
    mine = _queues[lock]
    if not mine.acquire(timeout=seconds):
        raise frozen
    try:
        with lock.open("ab") as file:
            pause = 0.0005
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise frozen from None
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
            yield
    finally:
        mine.release()


def filesystem(path: Path, mounts: Path) -> str:
    """The type of the file system that holds `path`, from a ``/proc/self/mounts`` table ("" where there is none)."""
    if not mounts.exists():
        return ""
    real = path.resolve()
    found, depth = "", -1
    for line in mounts.read_text(errors="replace").splitlines():
        point, kind = line.split()[1:3]
        folder = Path(point.encode().decode("unicode_escape"))
        if real.is_relative_to(folder) and len(folder.parts) >= depth:
            found, depth = kind, len(folder.parts)
    return found
