"""Learning curves over the annotation budget, and how two arms of a study differ.

Legend: ``R`` rounds of one campaign, ``A`` campaigns (seeds) of one arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.seeding import generator

__all__ = ["PairedDifference", "area_under_budget_curve", "budget_to_reach", "paired_difference"]


def _curve(budget_R: Sequence[float], value_R: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    budget, value = np.asarray(budget_R, np.float64), np.asarray(value_R, np.float64)
    if budget.shape != value.shape or budget.ndim != 1 or budget.size < 1:
        raise InvalidValue(f"a curve needs as many budgets as values, got {budget.shape} and {value.shape}")
    if not (np.isfinite(budget).all() and np.isfinite(value).all()):
        raise NonFiniteError("a curve holds NaN or infinity; leave out the rounds where the metric is undefined")
    if np.any(np.diff(budget) <= 0):
        raise InvalidValue(f"budgets must increase from round to round, got {budget.tolist()}")
    return budget, value


def area_under_budget_curve(
    budget_R: Sequence[float], value_R: Sequence[float], *, span: tuple[float, float] | None = None
) -> float:
    """AUBC: the trapezoid area below value over budget, with the budget rescaled to [0, 1] (Zhan et al. 2021).

    It is a mean value over the budget, so a constant curve has its own height. `span` compares arms over one common range
    (values at its ends by linear interpolation); by default it is the whole curve.

    Raises:
        InvalidValue: when the curve has fewer than two points, budgets do not increase, or `span` leaves the curve.
        NonFiniteError: on NaN or infinity.
    """
    budget, value = _curve(budget_R, value_R)
    low, high = span if span is not None else (float(budget[0]), float(budget[-1]))
    if not budget[0] <= low < high <= budget[-1]:
        raise InvalidValue(f"an area needs a range within the curve {budget[0]}..{budget[-1]}, got {low}..{high}")
    inner = (budget > low) & (budget < high)
    x = np.array([low, *budget[inner], high])
    y = np.array([np.interp(low, budget, value), *value[inner], np.interp(high, budget, value)])
    return float(np.trapezoid(y, (x - low) / (high - low)))


def budget_to_reach(
    budget_R: Sequence[float], value_R: Sequence[float], target: float, *, higher_is_better: bool = True
) -> float | None:
    """Budget of the first round whose value meets `target`, as in the tables of Li & Alstrøm 2020; None when none does.

    Raises:
        InvalidValue: when budgets do not increase.
        NonFiniteError: on NaN or infinity.
    """
    budget, value = _curve(budget_R, value_R)
    reached = np.flatnonzero(value >= target if higher_is_better else value <= target)
    return float(budget[reached[0]]) if reached.size else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean of ``first − second`` over pairs that share a seed, its standard deviation (ddof 1; 0 for one pair), and a
    percentile bootstrap interval of the mean at `level`.
    """

    mean: float
    deviation: float
    lower: float
    upper: float
    level: float
    pairs: int


def paired_difference(
    first_A: Sequence[float], second_A: Sequence[float], *, seed: int, level: float = 0.95, resamples: int = 10_000
) -> PairedDifference:
    """Compare two arms seed by seed: pairs are resampled with replacement (Efron 1979, percentile interval).

    With three seeds there are only ten different resamples: read the interval as a description, not as a test.

    Raises:
        InvalidValue: when the arms differ in length or are empty, or `level` or `resamples` is out of range.
        NonFiniteError: on NaN or infinity.
    """
    first, second = np.asarray(first_A, np.float64), np.asarray(second_A, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise InvalidValue(f"two arms need the same seeds, got {first.shape} and {second.shape} values")
    if not 0 < level < 1 or resamples < 1:
        raise InvalidValue(f"level must lie in (0, 1) and resamples be positive, got {level} and {resamples}")
    difference = first - second
    if not np.isfinite(difference).all():
        raise NonFiniteError("an arm holds NaN or infinity; leave out that seed from both arms")
    draws = generator("paired_difference", seed).integers(0, difference.size, (resamples, difference.size))
    lower, upper = np.percentile(difference[draws].mean(axis=1), [50 * (1 - level), 50 * (1 + level)])
    return PairedDifference(
        mean=float(difference.mean()),
        deviation=float(difference.std(ddof=1)) if difference.size > 1 else 0.0,
        lower=float(lower),
        upper=float(upper),
        level=level,
        pairs=difference.size,
    )
