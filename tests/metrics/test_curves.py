"""Budget curves against closed forms, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics import area_under_budget_curve, budget_to_reach, paired_difference


def test_area_of_a_constant_a_line_and_a_part():
    assert area_under_budget_curve([10, 20, 70], [0.4, 0.4, 0.4]) == pytest.approx(0.4)
    assert area_under_budget_curve([0, 3, 10], [0, 0.3, 1]) == pytest.approx(0.5)
    assert area_under_budget_curve([0, 3, 10], [0, 0.3, 1], span=(2, 6)) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 1)), min_size=2, max_size=12))
def test_area_equals_scikit_learn_and_ignores_the_unit_of_the_budget(points):
    from sklearn.metrics import auc

    budget = np.cumsum([step for step, _ in points])
    value = [v for _, v in points]
    area = area_under_budget_curve(budget, value)
    assert area == pytest.approx(auc((budget - budget[0]) / (budget[-1] - budget[0]), value), abs=1e-9)
    assert area == pytest.approx(area_under_budget_curve(budget * 1e6, value), abs=1e-9)


def test_budget_to_reach_is_that_of_the_first_round_that_does():
    budget, value = [1, 2, 3, 4], [0.2, 0.6, 0.5, 0.7]
    assert budget_to_reach(budget, value, 0.6) == 2
    assert budget_to_reach(budget, value, 0.65) == 4
    assert budget_to_reach(budget, value, 0.9) is None
    assert budget_to_reach(budget, [-v for v in value], -0.65, higher_is_better=False) == 4


def test_paired_difference_equals_scipy():
    from scipy.stats import bootstrap

    random = np.random.default_rng(1)
    first = random.normal(0.8, 0.05, 12)
    second = first - random.normal(0.03, 0.02, 12)
    got = paired_difference(first, second, seed=3, resamples=40_000)
    other = bootstrap((first - second,), np.mean, method="percentile", n_resamples=40_000, rng=random)
    assert got.mean == pytest.approx(np.mean(first - second))
    assert got.deviation == pytest.approx(np.std(first - second, ddof=1))
    assert got.lower == pytest.approx(other.confidence_interval.low, abs=5e-4)
    assert got.upper == pytest.approx(other.confidence_interval.high, abs=5e-4)
    assert (got.pairs, got.level) == (12, 0.95)


def test_paired_difference_depends_on_its_seed_only():
    arms = ([0.7, 0.8, 0.75], [0.6, 0.9, 0.7])
    assert paired_difference(*arms, seed=1) == paired_difference(*arms, seed=1)
    assert paired_difference(*arms, seed=1, resamples=20) != paired_difference(*arms, seed=2, resamples=20)


def test_a_pairing_removes_what_the_seeds_share():
    shared = np.random.default_rng(2).normal(0, 1, 8)
    got = paired_difference(shared + 0.1, shared, seed=1)
    assert (got.lower, got.upper) == pytest.approx((0.1, 0.1))
    single = paired_difference([0.5], [0.3], seed=1)
    assert (single.deviation, single.lower, single.upper) == pytest.approx((0, 0.2, 0.2))


def test_wrong_curves_are_refused():
    for budget, value in (([1, 1], [0, 1]), ([1, 2], [0]), ([], []), ([3], [1])):
        with pytest.raises(InvalidValue):
            area_under_budget_curve(budget, value)
    with pytest.raises(InvalidValue, match="range within the curve"):
        area_under_budget_curve([1, 2], [0, 1], span=(0, 2))
    with pytest.raises(NonFiniteError):
        budget_to_reach([1, 2], [0, float("nan")], 1)
    with pytest.raises(InvalidValue, match="same seeds"):
        paired_difference([1, 2], [1], seed=0)
    with pytest.raises(InvalidValue, match="level"):
        paired_difference([1, 2], [1, 2], seed=0, level=1.0)
    with pytest.raises(NonFiniteError):
        paired_difference([1, float("inf")], [1, 2], seed=0)
