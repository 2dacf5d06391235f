"""The schema: created by migrations only, equal to the tables in code, and refused when it is of another revision."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from alframe.errors import ConflictError
from alframe.storage import SqlLedger, engine, migrations
from alframe.storage.tables import metadata
from alframe.testing.contracts import ledger as samples


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/100%/ledger.db"


def _file(url: str) -> Path:
    return engine.sqlite_path(engine.parse_url(url))


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    assert migrations.current(url) is None
    assert migrations.upgrade(url) == migrations.head()
    made = engine.open_engine(engine.parse_url(url))
    with made.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    metadata.create_all(scratch := engine.open_engine(engine.parse_url(url + "2")))
    assert _schema(_file(url)) == _schema(_file(url + "2"))
    made.dispose()
    scratch.dispose()


def _schema(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Columns, keys and constraints of each table as SQLite itself lists them."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        table: [
            row[pragma == "index_list" :]  # indexes have a number by their order of creation
            for pragma in ("table_info", "foreign_key_list", "index_list")
            for row in sorted(connection.execute(f"PRAGMA {pragma}({table})"), key=lambda r: repr(r[1:]))
        ]
        for table in tables
        if table != "alembic_version"
    }
    connection.close()
    return found


def test_upgrading_twice_changes_nothing(url: str) -> None:
    with SqlLedger(url) as ledger:
        samples.start(ledger)
        before = samples.contents(ledger)
        assert migrations.upgrade(url) == migrations.current(url) == migrations.head()
        assert samples.contents(ledger) == before


@pytest.mark.parametrize(("revision", "advice"), [("9999", "upgrade alframe"), ("0000", "upgrade alframe")])
def test_another_revision_is_refused(url: str, revision: str, advice: str) -> None:
    migrations.upgrade(url)
    with sqlite3.connect(_file(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()
    with pytest.raises(ConflictError, match=f"revision {revision}.*{advice}"):
        SqlLedger(url)


def test_an_older_revision_asks_for_the_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a second revision exists, the head is moved instead."""
    monkeypatch.setattr(migrations, "head", lambda: "0002")
    with pytest.raises(ConflictError, match=r"revision 0001.*0002.*alframe db upgrade"):
        migrations.check("0001")


def test_an_interrupted_creation_leaves_an_empty_database(url: str) -> None:
    code = "import sys; from alframe.storage import SqlLedger; SqlLedger(sys.argv[1])"
    child = subprocess.run(
        [sys.executable, "-c", code, url], env={"ALFRAME_FAILPOINT": "ledger.upgrade.before_commit"}, check=False
    )
    assert child.returncode == -9
    assert migrations.current(url) is None
    with SqlLedger(url) as ledger:
        assert ledger.campaigns() == ()


def test_many_processes_may_create_it_at_once(url: str) -> None:
    code = (
        "import sys; from alframe.storage import SqlLedger; sys.stdin.read(); print(SqlLedger(sys.argv[1]).campaigns())"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    assert [child.communicate()[0].strip() for child in children] == ["()"] * 4


def test_migrations_are_shipped_with_the_package() -> None:
    folder = Path(migrations.__file__).parent
    assert (folder / "script.py.mako").is_file()
    assert (folder / "versions" / "__init__.py").is_file()
