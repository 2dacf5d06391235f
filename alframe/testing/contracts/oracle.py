"""What every :class:`alframe.ports.Oracle` must do. Subclass and give :meth:`OracleContract.make`.

Oracles with people behind them also give :meth:`OracleContract.work`, which plays those people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alframe.ports import Oracle, Pool, PoolItem
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import Answer, Box, LabelMap, Query, query_id

__all__ = ["CAMPAIGN", "OracleContract", "a_query", "three_raters", "same_answer"]

CAMPAIGN = "contract"


def three_raters(axes: int) -> tuple[PoolItem, ...]:
    """Two items with three raters who disagree, with objects; of the second, half is empty."""
    rng = np.random.default_rng(axes)
    items = []
    for name, side in (("left", 24), ("right", 20)):
        shape = (side,) * axes
        truth = {}
        for rater in ("anna", "bo", "cy"):
            classes = rng.integers(0, 3, shape).astype(np.uint8)
            if name == "right":
                classes[..., : side // 2] = 0
            objects = np.where(classes > 0, rng.integers(1, 400, shape), 0).astype(np.int32)
            truth[rater] = LabelMap(classes=classes, instances=objects)
        items.append(pool_item(name, rng.random((1, *shape)).astype(np.float32), truth))
    return tuple(items)


def a_query(item: str, start: Sequence[int], stop: Sequence[int], *, rank: int = 0, replicas: int = 1) -> Query:
    """A query of the contract's campaign."""
    box = Box(start=tuple(start), stop=tuple(stop))
    return Query(id=query_id(CAMPAIGN, item, box), item=item, box=box, score=1.0, rank=rank, replicas=replicas)


def same_answer(one: Answer, other: Answer) -> bool:
    """Whether two answers say the same, pixel by pixel."""
    if (one.query, one.rater, one.outcome, one.seconds) != (other.query, other.rater, other.outcome, other.seconds):
        return False
    if one.labels is None or other.labels is None:
        return one.labels is other.labels
    if (one.labels.instances is None) != (other.labels.instances is None):
        return False
    equal = np.array_equal(one.labels.classes, other.labels.classes)
    if one.labels.instances is not None and other.labels.instances is not None:
        equal = equal and np.array_equal(one.labels.instances, other.labels.instances)
    return equal


class OracleContract:
    """The promises of the port, for 2-D and 3-D items."""

    def make(self, pool: Pool) -> Oracle:
        """An oracle over `pool`. Called again in one test, it opens the same one (same storage, same parameters)."""
        raise NotImplementedError

    def work(self, oracle: Oracle, queries: Sequence[Query]) -> None:
        """Let the raters behind `oracle` answer `queries`. Nothing to do for an immediate one."""

    @pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
    def pool(self, request: pytest.FixtureRequest) -> Pool:
        """Items with three raters."""
        return MemoryPool(three_raters(request.param), classes=("background", "gland", "tumour"))

    @pytest.fixture
    def queries(self, pool: Pool) -> tuple[Query, ...]:
        """Regions, one of them empty, one asked of two raters, and a whole item."""
        axes = len(pool.info("left").shape)
        return (
            a_query("left", (3,) * axes, (11,) * axes, rank=0),
            a_query("right", (0,) * axes, (9,) * axes, rank=1),
            a_query("left", (12,) * axes, (24,) * axes, rank=2, replicas=2),
            a_query("right", (0,) * axes, (20,) * axes, rank=3),
        )

    @pytest.fixture
    def answered(self, pool: Pool, queries: tuple[Query, ...]) -> tuple[Oracle, tuple[Answer, ...]]:
        """An oracle whose queries are all answered, and the answers."""
        oracle = self.make(pool)
        oracle.ask(CAMPAIGN, queries)
        self.work(oracle, queries)
        return oracle, oracle.collect(CAMPAIGN, queries)

    def test_nothing_asked_nothing_answered(self, pool: Pool) -> None:
        """An empty batch is fine."""
        oracle = self.make(pool)
        oracle.ask(CAMPAIGN, ())
        assert oracle.collect(CAMPAIGN, ()) == ()

    def test_every_answer_fits_its_query(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...]
    ) -> None:
        """Known queries only; a label map has the shape of the box; as many answers as replicas, by different raters."""
        by_id = {query.id: query for query in queries}
        for answer in answered[1]:
            assert answer.rater
            if answer.labels is not None:
                assert answer.labels.shape == by_id[answer.query].box.shape
        for query in queries:
            raters = [answer.rater for answer in answered[1] if answer.query == query.id]
            assert len(raters) == len(set(raters)) == query.replicas

    def test_collecting_again_returns_the_same_in_the_same_order(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...]
    ) -> None:
        """As often as one likes."""
        oracle, before = answered
        again = oracle.collect(CAMPAIGN, queries)
        assert len(again) == len(before)
        assert all(map(same_answer, before, again))

    def test_asking_again_changes_nothing(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...]
    ) -> None:
        """A campaign that resumes asks once more."""
        oracle, before = answered
        oracle.ask(CAMPAIGN, queries)
        after = oracle.collect(CAMPAIGN, queries)
        assert len(after) == len(before)
        assert all(map(same_answer, before, after))

    def test_another_process_collects_the_same(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...], pool: Pool
    ) -> None:
        """What was asked and answered does not live in the object."""
        again = self.make(pool).collect(CAMPAIGN, queries)
        assert len(again) == len(answered[1])
        assert all(map(same_answer, answered[1], again))

    def test_one_may_collect_a_part(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...]
    ) -> None:
        """The answers to a query do not depend on what else is collected."""
        oracle, whole = answered
        for query in queries:
            part = oracle.collect(CAMPAIGN, [query])
            mine = [answer for answer in whole if answer.query == query.id]
            assert len(part) == len(mine)
            assert all(map(same_answer, mine, part))

    def test_a_changed_answer_array_does_not_change_the_oracle(
        self, answered: tuple[Oracle, tuple[Answer, ...]], queries: tuple[Query, ...]
    ) -> None:
        """Callers own what they get."""
        oracle, first = answered
        kept = [None if answer.labels is None else answer.labels.classes.copy() for answer in first]
        for answer in first:
            if answer.labels is not None and answer.labels.classes.flags.writeable:
                answer.labels.classes[...] = 7
        for answer, classes in zip(oracle.collect(CAMPAIGN, queries), kept, strict=True):
            assert (answer.labels is None) == (classes is None)
            if answer.labels is not None and classes is not None:
                assert np.array_equal(answer.labels.classes, classes)
