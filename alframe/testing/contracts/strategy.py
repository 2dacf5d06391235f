"""What every :class:`alframe.ports.Strategy` must do. Subclass and give :meth:`StrategyContract.make`."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import ItemView, Moments, Strategy
from alframe.types import Box, Candidates, ItemInfo, LabelMap, Split

__all__ = ["StrategyContract", "sample_views"]

CLASSES = 3


def _moments(rng: np.random.Generator, shape: tuple[int, ...], passes: int = 4) -> Moments:
    """Moments of random softmaxes, with votes, written out by their definition and read-only."""
    logits = rng.normal(scale=2.0, size=(passes, CLASSES, *shape))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    votes = np.stack([(p.argmax(axis=1) == c).sum(axis=0) for c in range(CLASSES)]).astype(np.float64)
    moments = Moments(
        count=passes,
        probability=p.sum(axis=0),
        entropy=-(p * np.log(p)).sum(axis=(0, 1)),
        votes=votes,
        squares=(p**2).sum(axis=0),
        noise=np.zeros((CLASSES, *shape)),
        disagreement=passes * rng.random(shape),
    )
    for array in (moments.probability, moments.entropy, votes, moments.squares, moments.noise, moments.disagreement):
        assert array is not None
        array.flags.writeable = False
    return moments


def sample_views(axes: int = 2, seed: int = 5) -> tuple[ItemView, ...]:
    """Items of several sizes; one partly annotated with its history, the last one wholly annotated."""
    rng = np.random.default_rng(seed)
    low = (14, 20) if axes == 2 else (8, 11)
    views = []
    for index in range(6):
        shape = tuple(int(n) for n in rng.integers(*low, axes))
        annotated = np.zeros(shape, bool)
        history: tuple[Box, ...] = ()
        if index == 2:
            history = (Box(start=(1,) * axes, stop=(5,) * axes),)
            annotated[history[0].slices] = True
        if index == 5:
            annotated[...] = True
        annotated.flags.writeable = False
        classes = (rng.random(shape) < 0.4).astype(np.uint8)
        info = ItemInfo(
            id=f"item {'cfadbe'[index]}", shape=shape, channels=1, dtype="uint8", split=Split.TRAIN, group=str(index)
        )
        truth = LabelMap(classes=classes, instances=classes.astype(np.int32))
        views.append(
            ItemView(info=info, annotated=annotated, history=history, moments=_moments(rng, shape), truth=truth)
        )
    return tuple(views)


def _same(a: Candidates, b: Candidates) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.columns().values(), b.columns().values(), strict=True))


class StrategyContract:
    """Subclass and override :meth:`make`; override :attr:`axes` to run it on volumes.

    Window sizes of 4 to 6 pixels suit the sample items.
    """

    axes = 2

    def make(self) -> Strategy:
        """A fresh strategy."""
        raise NotImplementedError

    def views(self, strategy: Strategy) -> tuple[ItemView, ...]:
        """The sample views, with only what the strategy says that it needs."""
        return tuple(
            replace(
                view,
                moments=view.moments if strategy.needs_model else None,
                truth=view.truth if strategy.needs_truth else None,
            )
            for view in sample_views(self.axes)
        )

    def table(self, strategy: Strategy, *, count: int = 6, seed: int = 11) -> Candidates:
        """All candidates of the sample views."""
        parts = [strategy.candidates(view, count=count, seed=seed) for view in self.views(strategy)]
        return Candidates.concatenate(parts)

    def test_needs_are_booleans_and_votes_need_a_model(self) -> None:
        strategy = self.make()
        needs = (strategy.needs_model, strategy.needs_votes, strategy.needs_spread, strategy.needs_truth)
        assert {type(need) for need in needs} == {bool}
        assert strategy.needs_model or not (strategy.needs_votes or strategy.needs_spread)

    def test_candidates_lie_in_their_item_and_have_finite_scores(self) -> None:
        strategy = self.make()
        views = {view.info.id: view for view in self.views(strategy)}
        table = self.table(strategy)
        assert len(table) > 0
        assert np.isfinite(table.score).all()
        for row in range(len(table)):
            assert table.box(row).within(views[str(table.item[row])].info.shape)

    def test_at_most_count_candidates_of_an_item_in_each_stratum(self) -> None:
        strategy = self.make()
        for count in (0, 1, 3):
            for view in self.views(strategy):
                found = strategy.candidates(view, count=count, seed=1)
                assert max(np.bincount(found.stratum).tolist(), default=0) <= count

    def test_what_is_annotated_or_was_asked_is_not_proposed_again(self) -> None:
        strategy = self.make()
        for view in self.views(strategy):
            found = strategy.candidates(view, count=100, seed=1)
            for box in map(found.box, range(len(found))):
                assert not view.annotated[box.slices].all()
                assert box not in view.history

    def test_an_annotated_item_yields_nothing(self) -> None:
        strategy = self.make()
        assert len(strategy.candidates(self.views(strategy)[-1], count=5, seed=1)) == 0

    def test_candidates_depend_on_item_and_seed_only(self) -> None:
        strategy = self.make()
        views = self.views(strategy)
        forth = [strategy.candidates(view, count=4, seed=3) for view in views]
        back = [self.make().candidates(view, count=4, seed=3) for view in reversed(views)]
        assert all(_same(a, b) for a, b in zip(forth, reversed(back), strict=True))

    def test_a_batch_is_some_rows_each_once_and_never_more_than_asked_for(self) -> None:
        strategy = self.make()
        table = self.table(strategy)
        known = {(str(table.item[row]), table.box(row), float(table.score[row])) for row in range(len(table))}
        for count in (0, 1, 4, 10_000):
            batch = strategy.select(table, count=count, seed=2)
            rows = [(str(batch.item[row]), batch.box(row), float(batch.score[row])) for row in range(len(batch))]
            assert len(rows) <= count
            assert set(rows) <= known
            assert len({row[:2] for row in rows}) == len(rows)
            assert bool(rows) == (count > 0)

    def test_a_negative_batch_is_refused(self) -> None:
        strategy = self.make()
        with pytest.raises(InvalidValue):
            strategy.select(self.table(strategy), count=-1, seed=2)

    def test_the_order_of_rows_and_items_changes_nothing(self) -> None:
        strategy = self.make()
        table = self.table(strategy)
        expected = strategy.select(table, count=5, seed=4)
        for shuffle in range(5):
            order = np.random.default_rng(shuffle).permutation(len(table))
            assert _same(strategy.select(table.take(order), count=5, seed=4), expected)

    def test_it_survives_a_journey_to_a_worker(self) -> None:
        strategy = self.make()
        copy = pickle.loads(pickle.dumps(strategy))  # noqa: S301
        assert _same(self.table(copy), self.table(strategy))
        table = self.table(strategy)
        assert _same(copy.select(table, count=5, seed=4), strategy.select(table, count=5, seed=4))

    def test_candidates_survive_storage(self) -> None:
        table = self.table(self.make())
        assert _same(Candidates.from_columns(table.columns()), table)

    def test_an_empty_table_gives_an_empty_batch(self) -> None:
        assert len(self.make().select(Candidates.empty(self.axes), count=3, seed=1)) == 0

    def test_a_score_that_is_not_finite_is_refused_by_name(self) -> None:
        strategy = self.make()
        table = self.table(strategy)
        for bad in (math.nan, math.inf, -math.inf):
            scores = table.score.copy()
            scores[0] = bad
            with pytest.raises(NonFiniteError, match=str(table.item[0])):
                strategy.select(replace(table, score=scores), count=3, seed=1)

    def test_a_prediction_that_is_not_finite_is_refused_by_name(self) -> None:
        strategy = self.make()
        if not strategy.needs_model:
            pytest.skip("reads no prediction")
        view = self.views(strategy)[0]
        assert view.moments is not None
        for bad in (math.nan, math.inf):
            nothing = np.full(view.info.shape, bad)
            stacked = np.full((CLASSES, *view.info.shape), bad)
            broken = replace(view.moments, probability=stacked, entropy=nothing, votes=stacked)
            with pytest.raises(NonFiniteError, match=view.info.id):
                strategy.candidates(replace(view, moments=broken), count=3, seed=1)

    def test_a_missing_input_is_refused_by_name(self) -> None:
        strategy = self.make()
        if not (strategy.needs_model or strategy.needs_truth):
            pytest.skip("needs nothing")
        view = replace(self.views(strategy)[0], moments=None, truth=None)
        with pytest.raises(InvalidValue, match=view.info.id):
            strategy.candidates(view, count=3, seed=1)

    def test_the_map_shown_to_annotators_is_finite_and_not_negative(self) -> None:
        for view in sample_views(self.axes):
            assert view.moments is not None
            shown = self.make().uncertainty(view.moments)
            assert shown.shape == view.info.shape
            assert shown.dtype == np.float32
            assert np.isfinite(shown).all()
            assert (shown >= 0).all()
