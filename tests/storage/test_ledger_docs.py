"""``docs/reference/ledger.md``: its queries run and answer rightly, and it names every table and column."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alframe.ports import Transition
from alframe.storage import SqlLedger
from alframe.storage.tables import metadata
from alframe.testing.contracts import ledger as samples
from alframe.types import Bin, Metric, Phase

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "ledger.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("docs") / "ledger.db"
    with SqlLedger(f"sqlite:///{path}") as ledger:
        fence = samples.start(ledger, name="glands", rounds=2)
        boxes = samples.sample_queries(4, campaign="glands")
        for index in range(2):
            batch = tuple(replace(q, rank=n) for n, q in enumerate(boxes[2 * index : 2 * index + 2]))
            answers = (
                samples.sample_answer(q, sequence=2 * index + n, round=index, labelled=n == 0)
                for n, q in enumerate(batch)
            )
            parts = (
                Bin(index=0, lower=0.0, upper=0.5, count=0.0, confidence=0.0, correct=0.0, scope="test"),
                Bin(index=1, lower=0.5, upper=1.0, count=4.0, confidence=3.0, correct=2.0 + index, scope="test"),
            )
            ledger.advance(
                fence,
                Transition(
                    round=index,
                    source=Phase.PLANNED,
                    target=Phase.CALIBRATED,
                    seconds=60.0 + 60.0 * index,
                    queries=batch,
                    answers=tuple(answers),
                    metrics=(Metric(name="dice", value=0.5 + index / 4, convention="pooled", scope="test"),),
                    bins=parts,
                ),
            )
    opened = sqlite3.connect(path)
    yield opened
    opened.close()


ANSWERS = [
    [(0, 0.5, 0), (1, 0.75, 6)],
    [("Größe 1", 4, 1 / 3, 2, 2)],
    [(1, 0.75, 0.75, 0.0, 4.0)],
    [("calibrated", 2, 3.0, 2.0)],
    [("bö", 4, pytest.approx(0.3), 2, 2)],
]


@pytest.mark.parametrize(("query", "expected"), list(zip(QUERIES, ANSWERS, strict=True)))
def test_the_queries_answer(connection: sqlite3.Connection, query: str, expected: list[tuple[object, ...]]) -> None:
    assert connection.execute(query).fetchall() == expected


def test_every_table_and_column_is_described() -> None:
    described = dict(re.findall(r"^\*\*(\w+)\*\*, (.*?)(?=^\*\*|^## )", PAGE, re.S | re.M))
    assert sorted(described) == sorted(metadata.tables)
    for name, table in metadata.tables.items():
        words = set(re.findall(r"`(\w+)`", described[name]))
        box = {"z0", "y0", "x0", "z1", "y1", "x1"} if name == "answers" else set()
        assert {column.name for column in table.columns} - box <= words, name
