"""Upgrades of a ledger with rows in it, from every revision that there ever was, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, Double, Engine, Integer, LargeBinary, MetaData, select

from alframe.errors import ConflictError
from alframe.storage import SqlLedger, engine, migrations
from alframe.storage.tables import metadata

REVISIONS = [one.revision for one in ScriptDirectory.from_config(migrations._config()).walk_revisions("base", "heads")]
# what columns of these names need to be read back as values; all others get any value of their type
MEANT = {"phase": "planned", "outcome": "labeled", "raters": '["x"]', "z0": None, "z1": None, "x1": 2, "y1": 2}

# a change that SQLite can only make by copying a table that others refer to
COPYING = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{head}"
branch_labels = depends_on = None
def upgrade():
    for table in ("campaigns", "rounds", "queries"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("later", sa.Text(), nullable=False, server_default="new"))
            batch.alter_column({column}, existing_type=sa.Text(), type_=sa.String())
""".replace("{column}", "{'campaigns': 'holder', 'rounds': 'version', 'queries': 'raters'}[table]")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def opened(url: str) -> Iterator[Engine]:
    made = engine.open_engine(engine.parse_url(url))
    yield made
    made.dispose()


def _value(column: Any) -> Any:
    if column.name in MEANT:
        return MEANT[column.name]
    if isinstance(column.type, Boolean):
        return True
    if isinstance(column.type, Double):
        return 0.5
    if isinstance(column.type, LargeBinary):
        return b"x"
    return 0 if isinstance(column.type, Integer) else "x"


def _fill(connection: Connection) -> None:
    """One row in every table that has none; equal values everywhere, so that all references hold."""
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if connection.execute(select(table)).first() is None:
            connection.execute(table.insert().values({column.name: _value(column) for column in table.columns}))


def _rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    found = MetaData()
    found.reflect(connection)
    return {
        table.name: [dict(row._mapping) for row in connection.execute(select(table))]
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


def _kept(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether every value is there still; tables and columns may have joined it."""
    return all(
        any(old.items() <= new.items() for new in after[table]) for table, rows in before.items() for old in rows
    )


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_row_of_every_revision_survives(url: str, opened: Engine, revision: str) -> None:
    assert migrations.upgrade(url, revision) == revision
    with opened.begin() as connection:
        _fill(connection)
        before = _rows(connection)
    assert all(before.values()), "a table without a row would show nothing"
    if revision != migrations.head():
        with pytest.raises(ConflictError, match="alframe db upgrade"):
            SqlLedger(url)
    assert migrations.upgrade(url) == migrations.head()
    with opened.connect() as connection:
        assert _kept(before, _rows(connection))
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    with SqlLedger(url) as ledger:
        assert [record.name for record in ledger.campaigns()] == ["x"]
        assert (len(ledger.rounds("x")), len(ledger.queries("x")), len(ledger.answers("x"))) == (1, 1, 1)


def test_a_revision_that_copies_tables_keeps_rows_and_references(
    url: str, opened: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the future: SQLite alters a column by copying its table, which must not take the rows that refer to it along."""
    migrations.upgrade(url)
    with opened.begin() as connection:
        _fill(connection)
        before = _rows(connection)
    folder = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, folder)
    (folder / "versions" / "r9999_copying.py").write_text(COPYING.replace("{head}", migrations.head()))
    original = migrations._config

    def elsewhere(connection: Connection | None = None) -> Config:
        config = original(connection)
        config.set_main_option("script_location", str(folder))
        return config

    monkeypatch.setattr(migrations, "_config", elsewhere)
    assert migrations.upgrade(url) == "9999"
    with opened.connect() as connection:
        after = _rows(connection)
        assert _kept(before, after)
        assert {after[table][0]["later"] for table in ("campaigns", "rounds", "queries")} == {"new"}
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
