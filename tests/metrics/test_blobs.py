"""Blobs against brute force, SciPy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics.blobs import (
    BlobTable,
    area_under_roc,
    confidence,
    find_blobs,
    fit_temperature,
    froc,
    logit_statistics,
    match_blobs,
)


def field(seed: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.0)) * 5 - 1.0


def flooded(mask: NDArray[np.bool_]) -> list[set[tuple[int, ...]]]:
    """Components by flood fill over all neighbours, in raster order of their first pixel."""
    left = {tuple(int(v) for v in at) for at in np.argwhere(mask)}
    steps = [tuple(int(v) - 1 for v in at) for at in np.ndindex((3,) * mask.ndim)]
    found = []
    for at in sorted(left):
        if at in left:
            left.discard(at)
            blob, waiting = set(), [at]
            while waiting:
                here = waiting.pop()
                blob.add(here)
                for step in steps:
                    near = tuple(a + b for a, b in zip(here, step, strict=True))
                    if near in left:
                        left.discard(near)
                        waiting.append(near)
            found.append(blob)
    return found


@pytest.mark.parametrize("shape", [(17, 23), (7, 12, 11)])
@pytest.mark.parametrize("min_size", [1, 4])
def test_blobs_are_components_by_all_neighbours(shape: tuple[int, ...], min_size: int) -> None:
    logit = field(3, shape)
    numbers, mean, size = find_blobs(logit, min_size=min_size)
    expected = [blob for blob in flooded(logit > 0) if len(blob) >= min_size]
    assert len(expected) == len(mean) > 1
    for number, blob in enumerate(expected, start=1):
        assert {tuple(int(v) for v in at) for at in np.argwhere(numbers == number)} == blob
        assert size[number - 1] == len(blob)
        assert mean[number - 1] == pytest.approx(np.mean([logit[at] for at in blob]))


def test_corners_join_a_blob() -> None:
    logit = np.full((3, 3, 3), -1.0)
    logit[0, 0, 0] = logit[1, 1, 1] = 2.0
    assert len(find_blobs(logit)[1]) == 1


@pytest.mark.parametrize("shape", [(17, 23), (7, 12, 11)])
def test_matching_equals_brute_force(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    for seed in range(6):
        logit = field(seed, shape)
        truth = np.where(field(seed, shape) + rng.normal(0, 1.0, shape) > 0.5, rng.integers(1, 3, shape), 0).astype(
            np.uint8
        )
        truth[rng.random(shape) < 0.1] = 255
        table = match_blobs(logit, truth, overlap=0.2)
        known = {tuple(int(v) for v in at) for at in np.argwhere(truth != 255)}
        objects = flooded((truth > 0) & (truth != 255))
        blobs = [blob & known for blob in flooded(logit > 0)]
        means = [np.mean([logit[at] for at in blob]) for blob in flooded(logit > 0)]
        hits = [[bool(b & o) and len(b & o) / len(b | o) >= 0.2 for o in objects] for b in blobs]
        seen = [k for k, blob in enumerate(blobs) if blob]
        np.testing.assert_array_equal(table.true, [any(hits[k]) for k in seen])
        np.testing.assert_allclose(table.logit, [means[k] for k in seen])
        best = [
            max((m for m, h in zip(means, hits, strict=True) if h[o]), default=-math.inf) for o in range(len(objects))
        ]
        np.testing.assert_allclose(table.found, best)


def test_no_blob_and_no_object() -> None:
    nothing = match_blobs(np.full((5, 5), -1.0), np.zeros((5, 5), np.uint8))
    assert len(nothing.logit) == len(nothing.found) == 0
    missed = match_blobs(np.full((5, 5), -1.0), np.ones((5, 5), np.uint8))
    np.testing.assert_array_equal(missed.found, [-np.inf])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_area_under_roc_equals_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    score, true = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    if true.all() or not true.any():
        assert math.isnan(area_under_roc(score, true))
    else:
        assert area_under_roc(score, true) == pytest.approx(roc_auc_score(true, score))


def test_temperature_equals_a_logistic_regression_without_intercept() -> None:
    rng = np.random.default_rng(7)
    logit = rng.gamma(2.0, 2.0, 4000)
    true = rng.random(4000) < confidence(logit, 3.0)
    found = fit_temperature(logit, true)
    outside = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit[:, None], true)
    assert found == pytest.approx(1 / outside.coef_[0, 0], rel=1e-3)
    assert found == pytest.approx(3.0, rel=0.1)


def test_blobs_that_are_mostly_false_have_no_confidence() -> None:
    tau = fit_temperature(np.array([1.0, 2.0, 3.0]), np.array([False, False, True]))
    np.testing.assert_allclose(confidence(np.array([5.0]), tau), 0.5, atol=1e-2)


@pytest.mark.parametrize("shape", [(40, 50), (9, 20, 20)])
def test_statistics_equal_scipy(shape: tuple[int, ...]) -> None:
    logit = np.exp(field(2, shape) / 4) - 1
    found = logit_statistics(logit)
    values = logit[logit > 0]
    assert found.count == values.size
    assert found.mean == pytest.approx(values.mean())
    assert found.skewness == pytest.approx(stats.skew(values))
    assert found.excess_kurtosis == pytest.approx(stats.kurtosis(values))


def test_statistics_of_nothing_and_of_a_constant() -> None:
    assert logit_statistics(np.full((3, 3), -1.0)).count == 0
    constant = logit_statistics(np.full((3, 3), 2.0))
    assert constant.mean == 2.0
    assert math.isnan(constant.skewness)


def test_froc_equals_brute_force() -> None:
    tables = [
        match_blobs(field(seed, (24, 24)), (field(seed + 1, (24, 24)) > 0).astype(np.uint8), overlap=0.05)
        for seed in range(8)
    ]
    curve = froc(tables)
    assert len(curve.threshold) > 10
    for t, false, sensitivity in zip(curve.threshold, curve.false_positives, curve.sensitivity, strict=True):
        wrong = sum(int(((table.logit >= t) & ~table.true).sum()) for table in tables)
        right = sum(int((table.found >= t).sum()) for table in tables)
        assert false == pytest.approx(wrong / 8)
        assert sensitivity == pytest.approx(right / sum(len(table.found) for table in tables))
    assert curve.at(1e9) == curve.sensitivity[-1]
    assert curve.at(-1) == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(NonFiniteError, match="NaN"):
        find_blobs(np.full((3, 3), np.nan))
    with pytest.raises(InvalidValue, match="shape"):
        match_blobs(np.zeros((3, 3)), np.zeros((3, 4), np.uint8))
    with pytest.raises(InvalidValue, match="needs blobs"):
        fit_temperature(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(InvalidValue, match="true object"):
        froc([BlobTable(logit=np.ones(1), size=np.ones(1, np.int64), true=np.zeros(1, bool), found=np.zeros(0))])
    with pytest.raises(InvalidValue, match="temperature"):
        confidence(np.ones(1), 0.0)
    with pytest.raises(InvalidValue, match="overlap"):
        match_blobs(np.zeros((3, 3)), np.zeros((3, 3), np.uint8), overlap=0)
