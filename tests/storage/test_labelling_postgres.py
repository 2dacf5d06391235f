"""The labelling contract on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from alframe.storage import SqlLabelling
from alframe.testing.contracts.labelling import LabellingContract

pytestmark = pytest.mark.postgres


class TestPostgresLabelling(LabellingContract):
    @pytest.fixture
    def open_labelling(self, postgres_url: str) -> Iterator[Callable[[], SqlLabelling]]:
        opened: list[SqlLabelling] = []

        def make() -> SqlLabelling:
            opened.append(SqlLabelling(postgres_url))
            return opened[-1]

        yield make
        for one in opened:
            one.close()
