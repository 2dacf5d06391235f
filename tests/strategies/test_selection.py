"""Candidates per item, merged, are the global greedy batch; the batch depends on neither sharding nor row order."""

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe.ports import ItemView, Moments, Strategy
from alframe.strategies import ClassBalanced, Random, RandomForeground, Ripu, Selector, Uncertainty, union_size
from alframe.strategies.windows import window_grid
from alframe.testing.contracts.strategy import sample_views
from alframe.types import Box, Candidates, ItemInfo, Split


def tied_view(rng: np.random.Generator, name: str, axes: int) -> ItemView:
    """An item whose var_ratio map takes four values that binary fractions hold exactly, so that window sums often tie."""
    shape = tuple(int(n) for n in rng.integers(4, 12 if axes == 2 else 7, axes))
    first = rng.choice([0.5, 0.625, 0.75, 1.0], shape)
    moments = Moments(count=1, probability=np.stack([first, 1 - first]), entropy=np.zeros(shape))
    annotated = np.zeros(shape, bool)
    history = []
    for _ in range(int(rng.integers(0, 3))):
        start = tuple(int(rng.integers(0, n)) for n in shape)
        box = Box(start=start, stop=tuple(min(a + 3, n) for a, n in zip(start, shape, strict=True)))
        history.append(box)
        if rng.random() < 0.7:
            annotated[box.slices] = True
    info = ItemInfo(id=name, shape=shape, channels=1, dtype="uint8", split=Split.TRAIN, group=name)
    return ItemView(info=info, annotated=annotated, history=tuple(history), moments=moments)


def brute_force(views: list[ItemView], strategy: Uncertainty, count: int) -> list[tuple[str, Box, float]]:
    """Every window of every item in one sorted list; take the next one that no rule forbids."""
    assert strategy.window is not None
    rows = []
    history = defaultdict(list)
    for view in views:
        assert view.moments is not None
        values = 1 - view.moments.probability.max(axis=0)
        values[view.annotated] = 0
        grid = window_grid(view.info.shape, strategy.window, strategy.stride)
        history[view.info.id] = list(view.history)
        for index in np.ndindex(*grid.shape):
            start = tuple(int(axis[i]) for axis, i in zip(grid.starts, index, strict=True))
            box = Box(start=start, stop=tuple(a + k for a, k in zip(start, grid.extent, strict=True)))
            if not view.annotated[box.slices].all():
                rows.append((-float(values[box.slices].sum()), view.info.id, box))
    batch = []
    for negative, item, box in sorted(rows, key=lambda row: (row[0], row[1], row[2].start)):
        shares = [box.overlap(other) / box.size for other in history[item]]
        if len(batch) < count and max(shares, default=0.0) <= strategy.max_overlap:
            history[item].append(box)
            batch.append((item, box, -negative))
    return batch


def as_list(batch: Candidates) -> list[tuple[str, Box, float]]:
    return [(str(batch.item[i]), batch.box(i), float(batch.score[i])) for i in range(len(batch))]


def by_item(batch: Candidates) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for item, box, _ in as_list(batch):
        boxes[item].append(box)
    return boxes


@pytest.mark.parametrize("axes", [2, 3])
@given(
    seed=st.integers(0, 10**9),
    window=st.integers(1, 5),
    stride=st.integers(1, 3),
    max_overlap=st.sampled_from([0.0, 0.2, 0.5]),
    count=st.integers(1, 15),
    items=st.integers(1, 5),
)
@settings(deadline=None, max_examples=80)
def test_the_batch_equals_a_brute_force_global_greedy_with_ties(
    axes: int, seed: int, window: int, stride: int, max_overlap: float, count: int, items: int
) -> None:
    rng = np.random.default_rng(seed)
    views = [tied_view(rng, f"item {rng.integers(1000):03d}/{index}", axes) for index in range(items)]
    strategy = Uncertainty(measure="var_ratio", window=window, stride=stride, max_overlap=max_overlap)
    parts = [strategy.candidates(view, count=count, seed=1) for view in views]
    assert all(len(part) <= count for part in parts)
    rng.shuffle(parts)  # type: ignore[arg-type]
    batch = strategy.select(Candidates.concatenate(parts), count=count, seed=1)
    assert as_list(batch) == brute_force(views, strategy, count)

    shapes = {view.info.id: view.info.shape for view in views}
    for item, boxes in by_item(batch).items():
        canvas = np.zeros(shapes[item], np.int64)
        for box in boxes:
            canvas[box.slices] += 1
        assert union_size(boxes) == np.count_nonzero(canvas)
        if max_overlap == 0:
            assert canvas.max() == 1
            assert union_size(boxes) == sum(box.size for box in boxes)


EVERY = [
    Uncertainty(measure="entropy"),
    Uncertainty(measure="bald", window=4, stride=1),
    *(
        Uncertainty(measure="entropy", window=4, stride=1, selector=Selector(type=kind))
        for kind in ("power", "softrank", "stochastic_batch")
    ),
    Random(),
    Random(window=4, stride=1),
    RandomForeground(window=4, stride=1),
    ClassBalanced(window=4, stride=1),
    Ripu(window=4, stride=1),
]


@pytest.mark.parametrize("strategy", EVERY, ids=str)
@given(order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5)), rows=st.integers(0, 10**6))
@settings(deadline=None, max_examples=15)
def test_no_sharding_changes_the_batch(strategy: Strategy, order: list[int], cuts: set[int], rows: int) -> None:
    views = sample_views(2)
    whole = Candidates.concatenate([strategy.candidates(view, count=6, seed=8) for view in views])
    expected = as_list(strategy.select(whole, count=6, seed=9))
    shards = np.split(np.array(order), sorted(cuts))
    tables = [
        Candidates.concatenate([strategy.candidates(views[i], count=6, seed=8) for i in shard]) for shard in shards
    ]
    table = Candidates.concatenate(tables)
    shuffled = table.take(np.random.default_rng(rows).permutation(len(table)))
    assert as_list(strategy.select(shuffled, count=6, seed=9)) == expected


@pytest.mark.parametrize("strategy", [s for s in EVERY if getattr(s, "window", None)], ids=str)
@pytest.mark.parametrize("axes", [2, 3])
def test_no_two_regions_overlap_and_none_touches_history(strategy: Strategy, axes: int) -> None:
    views = sample_views(axes)
    table = Candidates.concatenate([strategy.candidates(view, count=50, seed=1) for view in views])
    for item, boxes in by_item(strategy.select(table, count=50, seed=2)).items():
        view = next(view for view in views if view.info.id == item)
        canvas = np.zeros(view.info.shape, int)
        for box in boxes:
            canvas[box.slices] += 1
        assert canvas.max() == 1
        assert all(box.overlap(past) == 0 for box in boxes for past in view.history)


def test_history_without_labels_keeps_its_place() -> None:
    """A region that a rater skipped was asked: it is not asked again, though nothing in it is annotated."""
    view = sample_views(2)[0]
    strategy = Uncertainty(window=5, stride=1)
    first = strategy.candidates(view, count=1, seed=0).box(0)
    again = dataclasses.replace(view, history=(first,))
    assert all(box.overlap(first) == 0 for box in by_item(strategy.candidates(again, count=9, seed=0))[view.info.id])
    assert len(Uncertainty().candidates(again, count=1, seed=0)) == 0


def test_max_overlap_allows_that_much_and_no_more() -> None:
    view = sample_views(2)[0]
    strategy = Uncertainty(window=4, stride=1, max_overlap=0.5)
    boxes = by_item(strategy.candidates(view, count=200, seed=0))[view.info.id]
    shared = {a.overlap(b) for a in boxes for b in boxes if a is not b}
    assert max(shared) == 8


def test_annotated_pixels_count_zero() -> None:
    """With overlap allowed, a window half annotated has only its other half's uncertainty."""
    shape = (4, 8)
    moments = Moments(count=1, probability=np.full((2, *shape), 0.5), entropy=np.zeros(shape))
    annotated = np.zeros(shape, bool)
    annotated[:, :6] = True
    info = ItemInfo(id="a", shape=shape, channels=1, dtype="uint8", split=Split.TRAIN, group="a")
    view = ItemView(info=info, annotated=annotated, history=(), moments=moments)
    table = Uncertainty(measure="var_ratio", window=4, stride=4).candidates(view, count=5, seed=0)
    assert as_list(table) == [("a", Box(start=(0, 4), stop=(4, 8)), 4.0)]


def test_an_item_smaller_than_the_window_gives_itself() -> None:
    for axes in (2, 3):
        view = sample_views(axes)[0]
        table = Uncertainty(measure="entropy", window=64).candidates(view, count=5, seed=0)
        assert [box for _, box, _ in as_list(table)] == [Box.whole(view.info.shape)]


def test_candidates_per_item_spreads_the_batch() -> None:
    views = sample_views(2)
    strategy = Uncertainty(window=4, stride=1, candidates_per_item=1)
    table = Candidates.concatenate([strategy.candidates(view, count=10, seed=0) for view in views])
    batch = strategy.select(table, count=10, seed=0)
    assert len(batch) == len(set(batch.item.tolist())) == 5


def test_whole_images_rank_by_their_aggregate() -> None:
    views = sample_views(2)[:5]
    for aggregate in ("sum", "mean"):
        strategy = Uncertainty(measure="var_ratio", aggregate=aggregate)  # type: ignore[arg-type]
        table = Candidates.concatenate([strategy.candidates(view, count=9, seed=0) for view in views])
        expected = {}
        for view in views:
            assert view.moments is not None
            values = 1 - view.moments.probability.max(axis=0) / view.moments.count
            expected[view.info.id] = float(getattr(values, aggregate)())
        fresh = [view.info.id for view in views if not view.history]
        ranking = sorted(fresh, key=lambda item: -expected[item])
        batch = strategy.select(table, count=9, seed=0)
        assert batch.item.tolist() == ranking
        np.testing.assert_allclose(batch.score, [expected[item] for item in ranking], atol=1e-10)


def test_annotated_pixels_do_not_enter_the_utility_of_an_image() -> None:
    view = sample_views(2)[0]
    assert view.moments is not None
    annotated = np.zeros(view.info.shape, bool)
    annotated[:5] = True
    values = 1 - view.moments.probability.max(axis=0) / view.moments.count
    for aggregate, expected in (("mean", values[5:].mean()), ("sum", values[5:].sum()), ("top_quantile_mean", None)):
        strategy = Uncertainty(measure="var_ratio", aggregate=aggregate)  # type: ignore[arg-type]
        score = strategy.candidates(dataclasses.replace(view, annotated=annotated), count=1, seed=0).score[0]
        ranked = np.sort(values[5:].ravel())[::-1]
        top = ranked[: int(np.ceil(len(ranked) / 10))].mean()
        np.testing.assert_allclose(score, top if expected is None else expected, atol=1e-10)
