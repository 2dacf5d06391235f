"""Aggregates of whole images against direct definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, maximum_filter, minimum_filter

from alframe.errors import InvalidValue
from alframe.strategies import aggregation as ag

SHAPES = [(7, 9), (4, 5, 6)]


def sample(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    valid = rng.random(shape) < 0.8
    valid.flat[0] = True
    return rng.gamma(0.5, size=shape), valid


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_sum_and_mean_count_valid_pixels_only(shape: tuple[int, ...], seed: int) -> None:
    values, valid = sample(seed, shape)
    chosen = [float(values[i]) for i in np.ndindex(*shape) if valid[i]]
    assert ag.total(values, valid) == pytest.approx(math.fsum(chosen), abs=1e-10)
    assert ag.mean(values, valid) == pytest.approx(math.fsum(chosen) / len(chosen), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10**6), region=st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_max_region_is_the_best_window_mean(shape: tuple[int, ...], seed: int, region: int) -> None:
    values, valid = sample(seed, shape)
    masked = np.where(valid, values, 0.0)
    extent = [min(region, n) for n in shape]
    means = [
        masked[tuple(slice(a, a + k) for a, k in zip(start, extent, strict=True))].mean()
        for start in np.ndindex(*[n - k + 1 for n, k in zip(shape, extent, strict=True)])
    ]
    assert ag.max_region(values, valid, region) == pytest.approx(max(means), abs=1e-10)


@given(seed=st.integers(0, 10**6), quantile=st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.3]))
@settings(deadline=None, max_examples=40)
def test_top_quantile_mean_is_the_mean_of_the_largest(seed: int, quantile: float) -> None:
    values, valid = sample(seed, (7, 9))
    ranked = sorted(values[valid].tolist(), reverse=True)
    kept = max(1, math.ceil(round((1 - quantile) * len(ranked), 6)))
    assert ag.top_quantile_mean(values, valid, quantile) == pytest.approx(sum(ranked[:kept]) / kept, abs=1e-10)


def test_a_tenth_of_ten_pixels_is_one_pixel() -> None:
    values = np.arange(10.0)
    assert ag.top_quantile_mean(values, np.ones(10, bool), 0.9) == 9.0
    assert ag.top_quantile_mean(values, np.ones(10, bool), 0.8) == 8.5
    assert (1 - 0.7) * 10 > 3  # in floating point
    assert ag.top_quantile_mean(values, np.ones(10, bool), 0.7) == 8.0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_boundary_equals_a_morphological_gradient(shape: tuple[int, ...]) -> None:
    classes = np.random.default_rng(0).integers(0, 3, shape)
    cross = generate_binary_structure(len(shape), 1)
    gradient = maximum_filter(classes, footprint=cross) != minimum_filter(classes, footprint=cross)
    np.testing.assert_array_equal(ag.boundary(classes), gradient)


def test_boundary_mean_does_not_reward_long_outlines() -> None:
    values = np.full((20, 20), 0.5)
    short, long = np.zeros((20, 20), int), np.zeros((20, 20), int)
    short[:, 10:] = 1
    long[::2] = 1
    everything = np.ones((20, 20), bool)
    assert ag.boundary_mean(values, everything, short) == ag.boundary_mean(values, everything, long) == 0.5
    values[:, 9:11] = 0.75
    assert ag.boundary_mean(values, everything, short) == 0.75
    left = everything.copy()
    left[:, 10:] = False
    values[:, 10] = 100.0
    assert ag.boundary_mean(values, left, short) == 0.75


def test_without_a_boundary_the_mean_of_all_pixels_stands_in() -> None:
    values, valid = sample(4, (6, 6))
    assert ag.boundary_mean(values, valid, np.zeros((6, 6), int)) == ag.mean(values, valid)


def test_an_image_without_valid_pixels_has_no_mean() -> None:
    nothing = np.zeros((2, 2), bool)
    for call in (
        lambda: ag.mean(np.ones((2, 2)), nothing),
        lambda: ag.top_quantile_mean(np.ones((2, 2)), nothing, 0.5),
        lambda: ag.boundary_mean(np.ones((2, 2)), nothing, np.zeros((2, 2), int)),
    ):
        with pytest.raises(InvalidValue, match="valid pixels"):
            call()
