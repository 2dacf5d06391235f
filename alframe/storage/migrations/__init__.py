"""The ledger's schema as a chain of Alembic revisions: the only thing that creates or changes tables."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from alframe.errors import ConflictError
from alframe.storage.database import Database
from alframe.storage.durable import fsync_folder, make_folders

__all__ = ["check", "current", "head", "upgrade"]

_LOCK = 7_205_759_403
"""Advisory lock on PostgreSQL: one upgrade at a time."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision that this version of alframe works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database at `url` (created when new) to `revision` in one transaction; returns the revision it has now.

    Safe when several processes do it at once. Raises InvalidValue, StoreUnavailable, ConflictError (a foreign database).
    """
    database = Database(url, references=False)
    if database.file is not None:
        make_folders(database.file.parent)

    def work(connection: Connection) -> str:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _revision(connection) is None and (tables := inspect(connection).get_table_names()):
            raise ConflictError(f"the database holds tables of others ({', '.join(tables[:5])}); use an empty one")
        command.upgrade(_config(connection), revision)
        if connection.dialect.name == "sqlite" and (
            broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        ):
            raise ConflictError(f"the upgrade would leave {len(broken)} rows that refer to nothing, first {broken[0]}")
        return str(_revision(connection))

    try:
        reached = database.write("upgrade", work)
    finally:
        database.close()
    if database.file is not None:
        fsync_folder(database.file.parent)
    return reached


def current(url: str) -> str | None:
    """The revision of the database at `url`, None when it has no ledger yet. An SQLite file is not created.

    Raises InvalidValue, StoreUnavailable.
    """
    database = Database(url)
    if database.file is not None and not database.file.exists():
        return None
    try:
        return database.read(_revision)
    finally:
        database.close()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def check(revision: str) -> None:
    """Refuse a database of another revision than this alframe works with.

    Raises:
        ConflictError: saying whether to upgrade the database or alframe.
    """
    script = ScriptDirectory.from_config(_config())
    if revision == head():
        return
    known = {item.revision for item in script.walk_revisions()}
    advice = (
        "run `alframe db upgrade FILE`" if revision in known else "it was written by a newer alframe: upgrade alframe"
    )
    raise ConflictError(f"the ledger has schema revision {revision}, this alframe works with {head()}; {advice}")
