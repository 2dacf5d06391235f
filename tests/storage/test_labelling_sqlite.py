"""The labelling contract on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alframe.storage import SqlLabelling
from alframe.testing.contracts.labelling import LabellingContract


class TestSqliteLabelling(LabellingContract):
    @pytest.fixture
    def open_labelling(self, tmp_path: Path) -> Iterator[Callable[[], SqlLabelling]]:
        opened: list[SqlLabelling] = []

        def make() -> SqlLabelling:
            opened.append(SqlLabelling(f"sqlite:///{tmp_path}/ledger.db"))
            return opened[-1]

        yield make
        for one in opened:
            one.close()
