"""Transactions on the ledger's database: whole, in turn, tried again when the server was away, with alframe's errors."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from alframe import failpoints
from alframe.errors import ConflictError, StoreUnavailable
from alframe.storage.engine import open_engine, parse_url, sqlite_path, writer_turn

__all__ = ["Database"]

T = TypeVar("T")
_PAUSES = (0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 10.0)
"""Seconds between attempts when PostgreSQL went away: enough for a restart. SQLite waits for its lock instead."""
_FIRST_PAUSES = (0.1, 0.3)
"""The same as long as the server was never reached: its address may be wrong."""


class Database:
    """A database by URL. Safe in threads; nothing is connected before the first transaction. `references`: see `open_engine`.

    Raises:
        InvalidValue: for a URL that is neither SQLite in a file nor PostgreSQL.
        ExtraMissing: for PostgreSQL without psycopg.
        StoreUnavailable: for an SQLite file on a network file system.
    """

    def __init__(self, url: str, *, references: bool = True) -> None:
        self._url = parse_url(url)
        self._engine = open_engine(self._url, references=references)
        self.shown = self._url.render_as_string(hide_password=True)
        self.file = sqlite_path(self._url) if self._url.get_backend_name() == "sqlite" else None
        self._reached = False
        weakref.finalize(self, self._engine.dispose).atexit = False  # nothing is left open by who forgets to close

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._engine.dispose()

    def write(self, method: str, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that holds the write lock from its start; committed when this returns.

        `work` may run more than once, so it must be harmless to repeat. Its errors roll everything back.
        Raises ConflictError on a broken constraint, StoreUnavailable when the database fails.
        """

        def transaction() -> T:
            with (
                writer_turn(self._url),
                self._engine.connect().execution_options(alframe_writes=True) as connection,
                connection.begin(),
            ):
                result = work(connection)
                if (
                    self.file is None
                ):  # after many rows in one call, PostgreSQL 15 does not count a silent client as idle
                    connection.exec_driver_sql("SELECT 1")
                failpoints.reach(f"ledger.{method}.before_commit")
            failpoints.reach(f"ledger.{method}.after_commit")
            return result

        return self._attempt(method, transaction)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one snapshot of the database. Raises StoreUnavailable."""

        def transaction() -> T:
            with self._engine.connect() as connection, connection.begin():
                return work(connection)

        return self._attempt("read", transaction)

    def _attempt(self, method: str, transaction: Callable[[], T]) -> T:
        pauses = iter(() if self.file is not None else _PAUSES if self._reached else _FIRST_PAUSES)
        while True:
            try:
                result = transaction()
                self._reached = True
                return result
            except IntegrityError as error:
                raise ConflictError(
                    f"{method}: the ledger holds other rows under the same identity: {error.orig}"
                ) from error
            except ProgrammingError:
                raise  # our own mistake, not the database's
            except DBAPIError as error:
                pause = next(pauses, None) if _was_away(error) else None
                if pause is None:
                    raise StoreUnavailable(
                        f"the ledger at {self.shown} failed in {method} and acknowledged nothing: {error.orig}"
                    ) from error
            time.sleep(pause)


def _was_away(error: DBAPIError) -> bool:
    """Whether the connection broke or could not be made."""
    return error.connection_invalidated or (isinstance(error, OperationalError) and error.statement is None)
