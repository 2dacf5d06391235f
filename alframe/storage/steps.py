"""What one step of a round writes: functions of an open transaction, called by the ledger.

The compare-and-set on the round's phase comes first. It locks the round and decides whether the step is taken now (all rows
are written) or was taken before (nothing is); therefore plain inserts suffice afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from alframe.errors import ConflictError, InvalidValue, NotFound
from alframe.ports import RoundRecord, Transition
from alframe.storage import rows
from alframe.storage.engine import EpochSeconds
from alframe.storage.tables import answers, artifacts, bins, confusions, metrics, phases, queries, rounds
from alframe.types import ArtifactRef, Phase, Query

__all__ = ["advance", "begin_round", "insert_once", "record_artifact"]

Fields = Mapping[str, Any]


def insert_once(connection: Connection, table: Table, fields: Fields) -> bool:
    """Insert a row unless its primary key or a unique column exists; whether it was inserted. Decided by RETURNING."""
    maker = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = maker(table).values(**fields).on_conflict_do_nothing().returning(table.columns[0])
    return connection.execute(statement).one_or_none() is not None


def begin_round(connection: Connection, name: str, record: RoundRecord) -> RoundRecord:
    """Insert a round in phase PLANNED, or return the one that exists. Raises InvalidValue for another phase."""
    if record.phase is not Phase.PLANNED:
        raise InvalidValue(f"a round begins in phase planned, got {record.phase}")
    insert_once(
        connection,
        rounds,
        {
            "campaign": name,
            "round": int(record.index),
            "phase": record.phase.value,
            "parent": record.parent,
            "acquire": bool(record.acquire),
            "version": record.version,
            "reason": record.reason,
        },
    )
    found = select(rounds).where(rounds.c.campaign == name, rounds.c.round == record.index)
    return rows.round_of(connection.execute(found).one())


def record_artifact(connection: Connection, name: str, round: int, key: str, ref: ArtifactRef) -> ArtifactRef:
    """Name durable bytes; the first wins. Raises NotFound when the round was not begun."""
    _require_round(connection, name, round)
    insert_once(connection, artifacts, rows.artifact_row(name, round, key, ref))
    found = select(artifacts).where(artifacts.c.campaign == name, artifacts.c.round == round, artifacts.c.key == key)
    return rows.artifact(connection.execute(found).one())


def _require_round(connection: Connection, name: str, round: int) -> Phase:
    found = select(rounds.c.phase).where(rounds.c.campaign == name, rounds.c.round == round)
    phase = connection.execute(found).scalar_one_or_none()
    if phase is None:
        raise NotFound(f"campaign {name!r} has no round {round}; begin it first")
    return Phase(phase)


def advance(connection: Connection, name: str, step: Transition) -> None:
    """Take a step and write its rows, or do nothing when it was taken already.

    Raises:
        ConflictError: when the round is in neither phase, or a row exists with other content.
        NotFound: when the round was not begun.
        InvalidValue: when the step leads backwards, or two of its rows contradict each other.
    """
    if step.target.order <= step.source.order:
        raise InvalidValue(f"a step leads to a later phase, got {step.source} -> {step.target}")
    if not _compare_and_set(connection, name, step):
        return
    connection.execute(
        insert(phases).values(
            campaign=name,
            round=step.round,
            phase=step.target.value,
            seconds=rows.finite(f"the duration of {step.target}", step.seconds),
            reached=rows.timestamp(connection.execute(select(EpochSeconds())).scalar_one()),
        )
    )
    for key, ref in step.artifacts.items():
        kept = record_artifact(connection, name, step.round, key, ref)
        if kept != ref:
            raise ConflictError(f"round {step.round} already names {kept.sha256} as {key!r}, not {ref.sha256}")
    _write_queries(connection, name, step.round, step.queries)
    if step.answers:
        connection.execute(insert(answers), [rows.answer_row(name, answer) for answer in step.answers])
    _upsert(connection, metrics, [rows.metric_row(name, step.round, metric) for metric in step.metrics])
    _upsert(connection, bins, [rows.bin_row(name, step.round, part) for part in step.bins])
    _upsert(connection, confusions, [rows.confusion_row(name, step.round, one) for one in step.confusions])


def _compare_and_set(connection: Connection, name: str, step: Transition) -> bool:
    fields = {"phase": step.target.value} | ({"version": step.version} if step.version else {})
    moved = connection.execute(
        update(rounds)
        .where(rounds.c.campaign == name, rounds.c.round == step.round, rounds.c.phase == step.source.value)
        .values(**fields)
        .returning(rounds.c.round)
    ).one_or_none()
    if moved is not None:
        return True
    phase = _require_round(connection, name, step.round)
    if phase is not step.target:
        raise ConflictError(
            f"round {step.round} of {name!r} is in phase {phase}, expected {step.source} (or {step.target}, when repeated)"
        )
    return False


def _write_queries(connection: Connection, name: str, round: int, batch: Sequence[Query]) -> None:
    """Insert the queries that are new; of those the round has already, only the pre-fill may be added or change."""
    if not batch:
        return
    known = {
        row.query: dict(row._mapping)
        for row in connection.execute(select(queries).where(queries.c.campaign == name, queries.c.round == round))
    }
    fresh, filled = [], []
    for fields in _without_contradiction(queries, [rows.query_row(name, round, query) for query in batch]):
        prefill = {column: value for column, value in fields.items() if column.startswith("prefill_")}
        old = known.get(fields["query"])
        if old is None:
            fresh.append(fields)
        elif {**old, **prefill} != fields:
            raise ConflictError(f"query {fields['query']} of round {round} was recorded with other content")
        elif fields["prefill_kind"] is not None:
            filled.append({"of_campaign": name, "of_query": fields["query"], **prefill})
    if fresh:
        connection.execute(insert(queries), fresh)
    if filled:
        one = (queries.c.campaign == bindparam("of_campaign"), queries.c.query == bindparam("of_query"))
        connection.execute(update(queries).where(*one), filled)


def _upsert(connection: Connection, table: Table, batch: Iterable[Fields]) -> None:
    """Insert rows, or replace what their primary key names already."""
    fields = _without_contradiction(table, batch)
    if not fields:
        return
    maker = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = maker(table)
    key = table.primary_key.columns
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column not in set(key)}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed), fields)


def _without_contradiction(table: Table, batch: Iterable[Fields]) -> list[Fields]:
    """`batch` without repeats. Raises InvalidValue when two rows of one identity differ."""
    key = [column.name for column in table.primary_key.columns]
    seen: dict[tuple[object, ...], Fields] = {}
    for fields in batch:
        identity = tuple(fields[column] for column in key)
        if seen.setdefault(identity, fields) != fields:
            raise InvalidValue(
                f"one step gives two different rows of {table.name} for {dict(zip(key, identity, strict=True))}"
            )
    return list(seen.values())
