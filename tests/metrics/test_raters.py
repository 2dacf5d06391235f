"""Metrics of several raters against loops over pairs and pixels, and their stated edge cases."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics import raters

Masks = NDArray[np.uint8]


def brute_distance(a: Masks, b: Masks) -> float:
    one = {tuple(at) for at in np.argwhere(a)}
    two = {tuple(at) for at in np.argwhere(b)}
    if not one and not two:
        return 0.0
    return 1.0 - len(one & two) / len(one | two)


def brute_ged(samples: Masks, truth: Masks, label: int) -> float:
    def mean(first: Masks, second: Masks) -> float:
        pairs = [brute_distance(a == label, b == label) for a, b in product(first, second)]
        return sum(pairs) / len(pairs)

    return 2 * mean(samples, truth) - mean(samples, samples) - mean(truth, truth)


def maps(seed: int, count: int, *, classes: int = 2, shape: tuple[int, ...] = (6, 5), empty: float = 0.2) -> Masks:
    random = np.random.default_rng(seed)
    drawn = random.integers(0, classes, (count, *shape)).astype(np.uint8)
    drawn[random.random(count) < empty] = 0
    return drawn


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(2, 4),
    st.sampled_from([(6, 5), (3, 4, 2)]),
)
def test_ged_equals_a_loop_over_all_pairs(seed, samples, count, classes, shape):
    s = maps(seed, samples, classes=classes, shape=shape)
    y = maps(seed + 1, count, classes=classes, shape=shape)
    found = raters.energy_distance(s, y, classes=classes)
    assert found == pytest.approx([brute_ged(s, y, c) for c in range(1, classes)], abs=1e-12)


def test_ged_with_empty_masks_is_as_specified():
    empty, full = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.uint8)
    assert raters.energy_distance(empty, empty, classes=2) == pytest.approx([0.0])  # both empty: distance 0
    assert raters.energy_distance(empty, full, classes=2) == pytest.approx([2.0])  # one empty: distance 1, twice
    mixed = np.concatenate([empty, full])
    assert raters.energy_distance(mixed, mixed, classes=2) == pytest.approx([0.0])  # the distributions are equal
    # 2·½ − 0 − ½: one sample against two raters of whom one saw nothing; self-pairs are included
    assert raters.energy_distance(full, mixed, classes=2) == pytest.approx([0.5])


def test_ged_is_taken_where_all_raters_annotated_and_without_the_silent_one():
    s, y = maps(3, 5), maps(4, 3, empty=0)
    y[1, :2] = 255
    silent = np.full((1, *y.shape[1:]), 255, np.uint8)
    expected = brute_ged(s[:, 2:], y[:, 2:], 1)
    assert raters.energy_distance(s, np.concatenate([y, silent]), classes=2) == pytest.approx([expected])
    assert raters.energy_distance(s, silent, classes=2) is None
    apart = np.concatenate([y[:1], y[:1]])
    apart[0, :3], apart[1, 3:] = 255, 255
    assert raters.energy_distance(s, apart, classes=2) is None


def test_ged_refuses_shapes_that_differ_and_no_sample():
    with pytest.raises(InvalidValue, match="samples"):
        raters.energy_distance(maps(1, 2, shape=(5, 5)), maps(1, 2), classes=2)
    with pytest.raises(InvalidValue, match="N >= 1"):
        raters.energy_distance(maps(1, 2)[:0], maps(1, 2), classes=2)
    with pytest.raises(InvalidValue, match="uint8"):
        raters.common(np.zeros((2, 3, 3)))


def test_samples_become_classes_by_the_most_probable_one():
    p = np.array([[[0.5, 0.6, 0.2], [0.5, 0.4, 0.8]]])[:, :, None]
    assert raters.segmentations(p).tolist() == [[[0, 0, 1]]]  # exactly one half is background


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_correlations_equal_scipy(seed, size, tied):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, size))
    if tied:
        a, b = np.round(a), np.round(a + b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert raters.correlation(a, b) is None
        return
    assert raters.correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-10)
    assert raters.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-10)


def test_partial_correlation_is_the_textbook_formula():
    random = np.random.default_rng(5)
    area = random.normal(size=50)
    a, b = area + random.normal(size=50), area + random.normal(size=50)
    ab, az, bz = (np.corrcoef(x, y)[0, 1] for x, y in ((a, b), (a, area), (b, area)))
    formula = (ab - az * bz) / np.sqrt((1 - az**2) * (1 - bz**2))
    assert raters.partial_correlation(a, b, area) == pytest.approx(formula, abs=1e-10)
    assert raters.partial_correlation(a, 2 * area + 1, area) is None  # nothing is left of b
    assert raters.partial_correlation(a, b, np.ones(50)) == pytest.approx(ab)  # a constant takes nothing out


def test_a_map_correlates_with_itself_and_a_constant_one_with_nothing():
    truth = maps(8, 4, empty=0)
    soft, known = raters.vote_fractions(truth, classes=2)
    variance = raters.spread(soft)
    assert known.all()
    assert raters.correlation(variance, variance) == pytest.approx(1.0)  # NCC(a, a) = 1: the same ddof on both sides
    assert raters.correlation(variance, np.full(variance.shape, 0.1)) is None
    assert raters.correlation(np.full(variance.shape, 0.1) + 1e-17, variance) is None
    with pytest.raises(NonFiniteError):
        raters.correlation(variance, np.full(variance.shape, np.nan))
    with pytest.raises(InvalidValue, match="pairs"):
        raters.correlation(variance, variance[1:])


def test_spread_is_the_scaled_variance_of_the_votes():
    truth = maps(9, 4, empty=0)
    soft, _ = raters.vote_fractions(truth, classes=2)
    assert raters.spread(soft) == pytest.approx(4 * truth.var(axis=0, ddof=0))
    even = np.full((3, 2, 2), 1 / 3)
    assert raters.spread(even) == pytest.approx(np.ones((2, 2)))
    certain = np.zeros((3, 2, 2))
    certain[2] = 1
    assert raters.spread(certain) == pytest.approx(np.zeros((2, 2)))


def test_votes_are_shares_of_the_raters_who_annotated_the_pixel():
    truth = np.array([[[0, 1, 255, 255]], [[1, 1, 2, 255]], [[1, 0, 2, 255]]], np.uint8)
    soft, known = raters.vote_fractions(truth, classes=3)
    assert known.tolist() == [[True, True, True, False]]
    expected = np.array([[1, 2, 0], [1, 2, 0], [0, 0, 3], [0, 0, 0]]) / 3
    np.testing.assert_allclose(soft[:, 0].T, expected)
    with pytest.raises(InvalidValue, match="class ids"):
        raters.vote_fractions(truth, classes=2)


@pytest.mark.parametrize("classes", [2, 4])
def test_disagreement_equals_a_loop_over_pairs(classes):
    truth = maps(11, 4, classes=classes)
    truth[0] = 0
    found = []
    for i in range(4):
        for j in range(i):
            dice = []
            for c in range(1, classes):
                a, b = truth[i] == c, truth[j] == c
                dice.append(2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0)
            found.append(np.mean(dice))
    assert raters.disagreement(truth, classes=classes) == pytest.approx(1 - np.mean(found))
    assert raters.disagreement(truth[:1], classes=classes) is None
    assert raters.disagreement(np.zeros((3, 4, 4), np.uint8), classes=classes) == 0.0


def test_likelihood_and_brier_equal_loops_over_pixels():
    random = np.random.default_rng(2)
    truth = maps(12, 3, classes=3, empty=0)
    truth[1, 0] = 255
    logits = random.normal(size=(3, 6, 5))
    log_p = logits - np.log(np.exp(logits).sum(axis=0))
    p = np.exp(log_p)
    nll, brier, count = np.zeros(3), np.zeros(3), np.zeros(3, int)
    for r, y, x in product(range(3), range(6), range(5)):
        chosen = truth[r, y, x]
        if chosen != 255:
            nll[r] -= log_p[chosen, y, x]
            brier[r] += sum((p[c, y, x] - (c == chosen)) ** 2 for c in range(3)) / 2
            count[r] += 1
    for found, expected in ((raters.nll_of_raters(log_p, truth), nll), (raters.brier_of_raters(p, truth), brier)):
        assert found[0] == pytest.approx(expected)
        assert found[1].tolist() == count.tolist()
    log_p[0] = -np.inf
    with pytest.raises(NonFiniteError):
        raters.nll_of_raters(log_p, truth)


def test_brier_of_two_classes_is_the_squared_distance_of_the_foreground():
    p1 = np.array([[0.2, 0.7, 1.0]])
    truth = np.array([[[0, 1, 0]]], np.uint8)
    total, _ = raters.brier_of_raters(np.stack([1 - p1, p1]), truth)
    assert total == pytest.approx([0.2**2 + 0.3**2 + 1.0])
