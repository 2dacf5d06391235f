"""The audit chain in SQL: events are appended at the end of the transaction that they record.

The head is one row, locked while a transaction appends, so that sequence and chain have no gaps. It is locked last (after raters,
tasks and leases, in that order), which keeps transactions from waiting for each other in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from alframe.labelling.audit import chained
from alframe.labelling.values import Event, Head, canonical
from alframe.storage.engine import EpochSeconds
from alframe.storage.labelling_tables import event_head, events
from alframe.storage.rows import timestamp

__all__ = ["SYSTEM", "Log", "event_of", "head", "now"]

SYSTEM = "alframe"
"""The actor of what nobody did: a lease that expired, labels that were compared."""


_NOW = select(EpochSeconds())
_HEAD = select(event_head.c.sequence, event_head.c.hash)
_HEAD_LOCKED = _HEAD.with_for_update()
_APPEND = insert(events)
_ADVANCE = update(event_head).values(sequence=bindparam("new_sequence"), hash=bindparam("new_hash"))


def now(connection: Connection) -> float:
    """The database's clock: seconds since 1970."""
    return float(connection.execute(_NOW).scalar_one())


def head(connection: Connection, *, lock: bool = False) -> Head:
    """The end of the chain; with `lock`, nobody else appends before this transaction ends."""
    row = connection.execute(_HEAD_LOCKED if lock else _HEAD).one()
    return Head(sequence=row.sequence, hash=row.hash)


class Log:
    """Collects what a transaction did; :meth:`flush` writes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._entries: list[tuple[str, str, str, str, Mapping[str, Any]]] = []

    def add(self, campaign: str, actor: str, action: str, object: str, payload: Mapping[str, Any]) -> None:
        """Something happened."""
        self._entries.append((campaign, actor, action, object, payload))

    def flush(self) -> list[Event]:
        """Append all that was added, in order, and forget it."""
        if not self._entries:
            return []
        end = head(self._connection, lock=True)
        at = timestamp(now(self._connection))
        added: list[Event] = []
        for entry in self._entries:
            added.append(chained(end, at, *entry))
            end = Head(sequence=added[-1].sequence, hash=added[-1].hash)
        self._connection.execute(_APPEND, [_row(event) for event in added])
        self._connection.execute(_ADVANCE, {"new_sequence": end.sequence, "new_hash": end.hash})
        self._entries.clear()
        return added


def _row(event: Event) -> dict[str, Any]:
    fields = ("sequence", "at", "campaign", "actor", "action", "object", "previous", "hash")
    return {name: getattr(event, name) for name in fields} | {"payload": canonical(dict(event.payload)).decode()}


def event_of(row: Row[Any]) -> Event:
    """A row of ``events``."""
    return Event(**{**row._mapping, "payload": json.loads(row.payload)})
