"""Windows against loops: positions, sums, greedy choice under overlap rules, and the size of a union."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from alframe.errors import InvalidValue, NonFiniteError
from alframe.strategies.windows import (
    Grid,
    exact_sum,
    greedy,
    per_axis,
    union_size,
    window_counts,
    window_grid,
    window_sums,
)
from alframe.types import Box

SHAPES = [(9, 13), (5, 6, 7), (1, 4), (12,)]


def boxes(grid: Grid) -> list[Box]:
    """All windows in the order of their flat positions."""
    ends = [[(int(a), int(a) + extent) for a in axis] for axis, extent in zip(grid.starts, grid.extent, strict=True)]
    return [Box(start=tuple(a for a, _ in sides), stop=tuple(b for _, b in sides)) for sides in product(*ends)]


def brute_positions(length: int, window: int, stride: int) -> list[int]:
    if window >= length:
        return [0]
    return sorted({*range(0, length - window + 1, stride), length - window})


@given(length=st.integers(1, 40), window=st.integers(1, 50), stride=st.integers(1, 60))
def test_positions_cover_the_border(length: int, window: int, stride: int) -> None:
    grid = window_grid((length,), window, stride)
    assert grid.starts[0].tolist() == brute_positions(length, window, stride)
    assert grid.extent == (min(window, length),)
    covered = {pixel for box in boxes(grid) for pixel in range(box.start[0], box.stop[0])}
    assert {0, length - 1} <= covered
    if stride <= grid.extent[0]:
        assert covered == set(range(length))


def test_the_stride_is_a_fifth_of_the_window_unless_given() -> None:
    assert window_grid((300, 300), 150).starts[0].tolist() == [0, 30, 60, 90, 120, 150]
    assert window_grid((4, 4), 3).starts[0].tolist() == [0, 1]


def test_numbers_per_axis() -> None:
    assert per_axis(3, 2, name="window") == (3, 3)
    assert per_axis((3, 4), 2, name="window") == (3, 4)
    with pytest.raises(InvalidValue, match=r"window .* 3 numbers"):
        per_axis((1, 2, 3), 2, name="window")
    with pytest.raises(InvalidValue, match="stride must be at least 1"):
        per_axis((1, 0), 2, name="stride")


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10**6), window=st.integers(1, 8), stride=st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_sums_equal_exact_rational_sums(shape: tuple[int, ...], seed: int, window: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    dyadic = rng.integers(0, 64, shape) / 16.0
    grid = window_grid(shape, window, stride)
    exact = [float(sum(map(Fraction, dyadic[box.slices].ravel().tolist()))) for box in boxes(grid)]
    assert window_sums(dyadic, grid).ravel().tolist() == exact
    real = rng.gamma(0.3, size=shape)
    np.testing.assert_allclose(
        window_sums(real, grid).ravel(),
        [math.fsum(real[box.slices].ravel()) for box in boxes(grid)],
        rtol=0,
        atol=1e-10,
    )
    mask = rng.random(shape) < 0.3
    assert window_counts(mask, grid).ravel().tolist() == [int(mask[box.slices].sum()) for box in boxes(grid)]


def test_sums_agree_with_scipys_uniform_filter() -> None:
    values = np.random.default_rng(0).random((64, 48))
    grid = window_grid(values.shape, 7, 1)
    inside = uniform_filter(values, 7)[3:-3, 3:-3] * 49
    np.testing.assert_allclose(window_sums(values, grid), inside, atol=1e-10)


def test_equal_windows_tie_whatever_lies_around_them() -> None:
    """In floating point the running sums to the left would leave different rounding errors in the two windows."""
    rng = np.random.default_rng(1)
    values = rng.random((40, 400)) * 5
    values[5:25, 330:350] = values[5:25, 3:23]
    grid = window_grid(values.shape, 20, 1)
    sums = window_sums(values, grid)
    assert sums[5, 3] == sums[5, 330]
    alone = values[5:25, 3:23].copy()
    assert window_sums(alone, window_grid(alone.shape, 20, 1)).item() == sums[5, 3]


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_running_sums_may_wrap_around(seed: int) -> None:
    """One-pixel windows leave no head room: the running sum passes 2**63 many times."""
    values = np.random.default_rng(seed).random((60, 70)) * 7.9
    np.testing.assert_allclose(window_sums(values, window_grid(values.shape, 1, 1)), values, rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12, 1e200])
def test_any_range_of_values_keeps_its_relative_precision(scale: float) -> None:
    values = np.random.default_rng(2).random((30, 30)) * scale
    grid = window_grid(values.shape, 10, 5)
    expected = [math.fsum(values[box.slices].ravel()) for box in boxes(grid)]
    np.testing.assert_allclose(window_sums(values, grid).ravel(), expected, rtol=1e-6 if scale < 1 else 1e-12)
    assert exact_sum(values) == pytest.approx(math.fsum(values.ravel()), rel=1e-6 if scale < 1 else 1e-12)


@given(st.lists(st.floats(0, 6), max_size=50), st.randoms())
def test_the_exact_sum_does_not_depend_on_order(values: list[float], order: object) -> None:
    total = exact_sum(np.array(values))
    order.shuffle(values)  # type: ignore[attr-defined]
    assert exact_sum(np.array(values)) == total
    assert total == pytest.approx(math.fsum(values), abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_has_no_sums(bad: float) -> None:
    values = np.ones((4, 4))
    values[1, 1] = bad
    with pytest.raises(NonFiniteError):
        window_sums(values, window_grid((4, 4), 2, 1))
    with pytest.raises(NonFiniteError):
        exact_sum(values)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_overlap_fractions_equal_counted_ones(shape: tuple[int, ...], data: st.DataObject) -> None:
    grid = window_grid(shape, data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3)))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start=start, stop=tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))
    canvas = np.zeros(shape, bool)
    canvas[box.slices] = True
    expected = np.array([canvas[window.slices].mean() for window in boxes(grid)]).reshape(grid.shape)
    got = np.zeros(grid.shape)
    part, fraction = grid.overlap(box)
    got[part] = fraction
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert (fraction > 0).all()


@pytest.mark.parametrize("shape", [(8, 11), (5, 6, 5)])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_greedy_equals_a_loop_over_all_windows(shape: tuple[int, ...], data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    grid = window_grid(shape, data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3)))
    scores = rng.integers(0, 4, grid.shape).astype(np.float64)
    closed = rng.random(grid.shape) < 0.2
    max_overlap = data.draw(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
    count = data.draw(st.integers(0, 12))
    windows = boxes(grid)
    ranking = sorted(range(len(windows)), key=lambda i: (-scores.flat[i], windows[i].start))
    expected: list[int] = []
    for i in ranking:
        free = all(windows[i].overlap(windows[j]) / grid.area <= max_overlap for j in expected)
        if len(expected) < count and free and not closed.flat[i]:
            expected.append(i)
    got = greedy(scores, grid, count=count, max_overlap=max_overlap, closed=closed)
    assert got.tolist() == expected
    assert grid.corners(got).tolist() == [list(windows[i].start) for i in expected]


@pytest.mark.parametrize("shape", [(12, 15), (6, 7, 8)])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_the_union_equals_painted_pixels(shape: tuple[int, ...], data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    canvas = np.zeros(shape, bool)
    chosen = []
    for _ in range(data.draw(st.integers(0, 8))):
        start = [int(rng.integers(0, n)) for n in shape]
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, shape, strict=True)]
        chosen.append(Box(start=tuple(start), stop=tuple(stop)))
        canvas[chosen[-1].slices] = True
    assert union_size(chosen) == canvas.sum()
