"""A throw-away PostgreSQL server for tests and benchmarks, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alframe.errors import NotFound

__all__ = ["PostgresServer", "postgres_server", "programs"]


def programs() -> Path:
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version.

    Raises:
        NotFound: when there is none, or when root has no user ``postgres`` to run them as (PostgreSQL refuses root).
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if not found:
        raise NotFound("no PostgreSQL server programs are installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError as error:
            raise NotFound("run as root, and there is no user postgres to run the server as") from error
    return Path(found).parent


class PostgresServer:
    """A server in `folder` that listens on a socket there and nowhere else.

    Without `durable` it never fsyncs: it survives its own crash, as tests need, but not the machine's.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder, self._programs = folder, programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._fsync = "on" if durable else "off"
        self._run("initdb", f"--pgdata={folder}/data", "--auth=trust", "--username=alframe", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, user=self._user, check=True, cwd=self.folder, capture_output=True)

    def control(self, *arguments: str) -> None:
        """``pg_ctl`` with `arguments`, such as ``"--mode=immediate", "restart"``; returns when it is done."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync={self._fsync}"
        self._run(
            "pg_ctl", f"--pgdata={self.folder}/data", "--wait", "-o", options, f"--log={self.folder}/log", *arguments
        )

    def url(self, name: str) -> str:
        """The address of the database `name`."""
        return f"postgresql://alframe@/{name}?host={self.folder}"

    def empty(self, name: str) -> str:
        """An empty database of this name, made or emptied, whoever was connected to it; returns its address."""
        try:
            self._sql(
                name,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()",
                "DROP SCHEMA public CASCADE",
                "CREATE SCHEMA public",
            )
        except subprocess.CalledProcessError:
            self._sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def _sql(self, database: str, *statements: str) -> None:
        commands = [part for statement in statements for part in ("--command", statement)]
        self._run("psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", *commands, self.url(database))


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A running server, stopped and removed afterwards. Raises NotFound where none is installed."""
    programs()
    folder = Path(tempfile.mkdtemp(prefix="alframe-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = PostgresServer(folder, durable=durable)
        server.control("start")
        try:
            yield server
        finally:
            server.control("--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)
