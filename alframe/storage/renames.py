"""Which bytes the ledger names, over all tables, and how recomputed bytes take the place of damaged ones.

Functions of an open transaction. Tables are found by their columns: a hash is kept in ``sha256`` or ``…_sha256``, and a
reference in three columns ``kind``, ``sha256`` and ``size`` with a common prefix.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from alframe.errors import InvalidValue
from alframe.storage.tables import metadata
from alframe.types import ArtifactRef

__all__ = ["named", "rename"]

_LABELS = frozenset(("mask", "answer"))
_REPLACEABLE = ("", "prefill_")


def named(connection: Connection) -> frozenset[str]:
    """Every hash that a row of any campaign holds."""
    found: set[str] = set()
    for table in metadata.sorted_tables:
        for column in table.columns:
            if column.name == "sha256" or column.name.endswith("_sha256"):
                found.update(connection.execute(select(column).where(column.is_not(None)).distinct()).scalars())
    return frozenset(found)


def rename(connection: Connection, name: str, old: ArtifactRef, new: ArtifactRef) -> int:
    """Name `new` in every artifact and pre-fill row of a campaign that names `old`. Raises InvalidValue."""
    if old.kind != new.kind or old.kind in _LABELS:
        raise InvalidValue(f"expected two artifacts of one kind that is no label, got {old.kind} and {new.kind}")
    changed = 0
    for table in metadata.sorted_tables:
        for prefix in _REPLACEABLE:
            kind, sha256, size = (table.columns.get(f"{prefix}{part}") for part in ("kind", "sha256", "size"))
            if "campaign" not in table.columns or kind is None or sha256 is None or size is None:
                continue
            statement = (
                update(table)
                .where(table.c.campaign == name, kind == old.kind, sha256 == old.sha256)
                .values({sha256: new.sha256, size: int(new.size)})
                .returning(sha256)
            )
            changed += len(connection.execute(statement).all())
    return changed
