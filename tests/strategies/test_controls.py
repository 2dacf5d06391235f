"""The random controls draw what they say: uniform windows, uniform object pixels, thirds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage.segmentation import find_boundaries

from alframe.ports import ItemView
from alframe.strategies import Random, RandomForeground
from alframe.strategies.controls import ANYWHERE, BORDER, INSIDE, foreground_and_border, nearest_counts
from alframe.strategies.windows import window_grid
from alframe.types import UNANNOTATED, Box, Candidates, ItemInfo, LabelMap, Split

DRAWS = 4000
FALSE_ALARM = 1e-4
"""Level of every statistical test here. Seeds are fixed and there are about a dozen such tests: at 1 % each, one of them would
fail by chance for one choice of seeds in nine. The draws are many enough to find a real bias at this level all the same."""


def view(name: str, shape: tuple[int, ...], truth: np.ndarray | None = None) -> ItemView:
    info = ItemInfo(id=name, shape=shape, channels=1, dtype="uint8", split=Split.TRAIN, group=name)
    labels = None if truth is None else LabelMap(classes=truth.astype(np.uint8))
    return ItemView(info=info, annotated=np.zeros(shape, bool), history=(), truth=labels)


def test_whole_images_are_drawn_uniformly() -> None:
    views = [view(name, (3, 3 + k)) for k, name in enumerate("abcde")]
    strategy = Random()
    drawn, scores = [], []
    for seed in range(DRAWS):
        table = Candidates.concatenate([strategy.candidates(v, count=2, seed=seed) for v in views])
        scores.append(table.score)
        drawn.append(tuple(sorted(strategy.select(table, count=2, seed=seed).item.tolist())))
    for column in np.array(scores).T:
        assert stats.kstest(column, stats.uniform.cdf).pvalue > FALSE_ALARM
    pairs = sorted(set(drawn))
    assert len(pairs) == 10
    assert stats.chisquare([drawn.count(pair) for pair in pairs]).pvalue > FALSE_ALARM


def test_regions_are_drawn_uniformly_over_all_windows_of_all_items() -> None:
    views = [view("a", (4, 6)), view("b", (5, 3)), view("c", (2, 2))]
    strategy = Random(window=3, stride=1)
    windows = 2 * 4 + 3 * 1 + 1
    drawn = []
    for seed in range(DRAWS):
        table = Candidates.concatenate([strategy.candidates(v, count=1, seed=seed) for v in views])
        batch = strategy.select(table, count=1, seed=seed)
        drawn.append((str(batch.item[0]), batch.box(0)))
    kinds = sorted(set(drawn))
    assert len(kinds) == windows
    assert stats.chisquare([drawn.count(kind) for kind in kinds]).pvalue > FALSE_ALARM


def test_seeds_and_items_have_draws_of_their_own() -> None:
    strategy = Random(window=4, stride=1)
    a, b = view("a", (40, 40)), view("b", (40, 40))
    starts = {tuple(strategy.candidates(v, count=1, seed=s).start[0].tolist()) for v in (a, b) for s in range(4)}
    assert len(starts) == 8


@pytest.mark.parametrize("shape", [(9, 11), (4, 6, 5)])
@given(seed=st.integers(0, 10**6), window=st.integers(1, 7), stride=st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_every_pixel_goes_to_the_window_with_the_nearest_centre(
    shape: tuple[int, ...], seed: int, window: int, stride: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.4
    grid = window_grid(shape, window, stride)
    expected = np.zeros(grid.shape, np.int64)
    for pixel in zip(*np.nonzero(mask), strict=True):
        nearest = []
        for at, starts, extent in zip(pixel, grid.starts, grid.extent, strict=True):
            distances = [abs(2 * int(at) - (2 * int(start) + extent - 1)) for start in starts]
            nearest.append(distances.index(min(distances)))
        expected[tuple(nearest)] += 1
    np.testing.assert_array_equal(nearest_counts(mask, grid), expected)


@pytest.mark.parametrize("shape", [(12, 14), (5, 7, 6)])
def test_borders_agree_with_skimage(shape: tuple[int, ...]) -> None:
    classes = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)
    objects, border = foreground_and_border(LabelMap(classes=classes))
    np.testing.assert_array_equal(objects, classes > 0)
    np.testing.assert_array_equal(border, find_boundaries(classes, connectivity=1, mode="thick") & (classes > 0))


def test_touching_objects_have_a_border_and_unknown_pixels_make_none() -> None:
    classes = np.array([[1, 1, 1, 1, UNANNOTATED, 1, 0]], np.uint8)
    instances = np.array([[1, 1, 2, 2, 0, 3, 0]], np.int32)
    objects, border = foreground_and_border(LabelMap(classes=classes, instances=instances))
    assert objects.astype(int).tolist() == [[1, 1, 1, 1, 0, 1, 0]]
    assert border.astype(int).tolist() == [[0, 1, 1, 0, 0, 1, 0]]


def disc(shape: tuple[int, int] = (30, 30), radius: int = 6) -> np.ndarray:
    y, x = np.indices(shape)
    return ((y - 14) ** 2 + (x - 12) ** 2 <= radius**2).astype(np.uint8)


@pytest.mark.parametrize("stratum", [INSIDE, BORDER])
def test_object_and_border_regions_follow_the_pixels(stratum: int) -> None:
    """The first pick of a kind is a window with probability (its pixels of that kind) / (all of that kind)."""
    truths = {"a": disc(), "b": disc((26, 20), 3)}
    strategy = RandomForeground(window=5, stride=4)
    weights = {}
    for name, truth in truths.items():
        grid = window_grid(truth.shape, 5, 4)
        counts = nearest_counts(foreground_and_border(LabelMap(classes=truth))[stratum - 1], grid)
        for index in zip(*np.nonzero(counts), strict=True):
            start = tuple(int(axis[i]) for axis, i in zip(grid.starts, index, strict=True))
            weights[name, start] = int(counts[index])
    drawn = []
    for seed in range(DRAWS):
        parts = [strategy.candidates(view(n, t.shape, t), count=1, seed=seed) for n, t in truths.items()]
        table = Candidates.concatenate(parts)
        best = table.take(np.flatnonzero(table.stratum == stratum))
        row = int(best.score.argmax())
        drawn.append((str(best.item[row]), tuple(best.start[row].tolist())))
    assert set(drawn) <= set(weights)
    total = sum(weights.values())
    # windows that would be drawn fewer than 20 times are put together, as the chi-square test needs
    rare = [key for key, weight in weights.items() if weight / total * DRAWS < 20]
    keys = [key for key in weights if key not in rare]
    observed = [drawn.count(key) for key in keys] + [sum(drawn.count(key) for key in rare)]
    expected = np.array([weights[key] for key in keys] + [sum(weights[key] for key in rare)]) / total * DRAWS
    kept = expected > 0
    assert stats.chisquare(np.array(observed)[kept], expected[kept]).pvalue > FALSE_ALARM


def test_a_batch_has_a_third_of_each_kind() -> None:
    views = [view(f"i{k}", (60, 60), np.tile(disc(), (2, 2))) for k in range(4)]
    strategy = RandomForeground(window=5, stride=1)
    for count, seed in ((9, 0), (12, 1), (10, 2)):
        table = Candidates.concatenate([strategy.candidates(v, count=count, seed=seed) for v in views])
        batch = strategy.select(table, count=count, seed=seed)
        kinds = np.bincount(batch.stratum, minlength=3)
        assert kinds.sum() == count
        assert kinds.max() - kinds.min() <= 1
        for row in range(count):
            truth = next(v for v in views if v.info.id == batch.item[row]).truth
            assert truth is not None
            objects, border = foreground_and_border(truth)
            centre = tuple(int(a) + 2 for a in batch.start[row])
            if batch.stratum[row] == INSIDE:
                assert objects[centre]
            if batch.stratum[row] == BORDER:
                assert border[centre]


def test_without_objects_the_batch_is_filled_from_anywhere() -> None:
    empty = view("a", (40, 40), np.zeros((40, 40), np.uint8))
    strategy = RandomForeground(window=5, stride=1)
    batch = strategy.select(strategy.candidates(empty, count=6, seed=0), count=6, seed=0)
    assert batch.stratum.tolist() == [ANYWHERE] * 6


def test_annotated_objects_draw_nothing_more() -> None:
    truth = disc()
    box = Box(start=(0, 0), stop=(30, 20))
    half = view("a", (30, 30), truth)
    annotated = np.zeros((30, 30), bool)
    annotated[box.slices] = True
    table = RandomForeground(window=5, stride=1).candidates(
        replace(half, annotated=annotated, history=(box,)), count=20, seed=0
    )
    assert set(table.stratum.tolist()) == {ANYWHERE}
    assert (table.start[:, 1] >= 20).all()


def test_annotated_pixels_draw_no_window_even_where_overlap_is_allowed() -> None:
    truth = disc()
    seen = truth.astype(bool)
    for stratum in (INSIDE, BORDER):
        table = RandomForeground(window=5, stride=1, max_overlap=0.5).candidates(
            replace(view("a", (30, 30), truth), annotated=seen), count=50, seed=0
        )
        assert stratum not in table.stratum
