"""Calibration and proper scores from binned sums.

Legend: ``C`` classes, ``F`` fine bins, ``K`` bins. A reliability table (K, 3) holds count, Σ confidence and Σ correct; a
one-vs-rest table (C, K, 5) holds count, Σp, Σp², Σy and Σpy.

Sources: Guo et al. 2017 (arXiv 1706.04599) for ECE and MCE, Nixon et al. 2019 (arXiv 1904.01685) for bins of equal mass,
Murphy 1973 and Stephenson et al. 2008 for the Brier decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.metrics.spec import Binning

__all__ = ["BrierTerms", "brier_terms", "cells", "expected_error", "maximum_error", "rebin"]

Table = NDArray[np.float64]


def cells(count_F: NDArray[np.float64], bins: int, binning: Binning) -> NDArray[np.intp]:
    """Which of `bins` bins each fine bin goes to (F, non-decreasing).

    Equal mass puts a fine bin where its middle pixel falls among all pixels in order of confidence; a fine bin is never
    split, so bins may come out empty where one confidence dominates.
    """
    if binning == "equal_width":
        return np.arange(count_F.size) // (count_F.size // bins)
    total = count_F.sum()
    if not total:
        return np.zeros(count_F.size, np.intp)
    middle = np.cumsum(count_F) - count_F / 2
    return np.asarray(np.minimum(middle / total * bins, bins - 1), np.intp)


def rebin(table: Table, bins: int, binning: Binning) -> Table:
    """A fine table (F, k) summed to (K, k)."""
    out = np.zeros((bins, table.shape[1]))
    np.add.at(out, cells(table[:, 0], bins, binning), table)
    return out


def _gaps(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    filled = table[table[:, 0] > 0]
    return filled[:, 0], np.abs(filled[:, 2] - filled[:, 1]) / filled[:, 0]


def expected_error(table: Table) -> float | None:
    """Σ_k n_k/n · |accuracy_k − confidence_k| of a reliability table; None when it is empty."""
    count, gap = _gaps(table)
    return float(count @ gap / count.sum()) if count.size else None


def maximum_error(table: Table) -> float | None:
    """max_k |accuracy_k − confidence_k| over the filled bins; None when there is none."""
    _, gap = _gaps(table)
    return float(gap.max()) if gap.size else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierTerms:
    """The multi-class Brier score and its exact decomposition, each summed over classes:

    ``score = reliability − resolution + uncertainty + within_variance − within_covariance``.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float


def brier_terms(table: NDArray[np.float64]) -> BrierTerms | None:
    """Decompose a one-vs-rest table (C, K, 5); None when it is empty.

    Per class, with N pixels, bin mean f_b, bin frequency o_b and frequency ō: reliability Σ n_b (f_b − o_b)² / N,
    resolution Σ n_b (o_b − ō)² / N, uncertainty ō(1 − ō), within_variance mean (p − f_b)², within_covariance
    2·mean (p − f_b)(y − o_b).
    """
    n_CK, p_CK, pp_CK, y_CK, py_CK = (table[..., column] for column in range(5))
    total = n_CK[0].sum()
    if not total:
        return None
    n_filled = np.maximum(n_CK, 1)
    f_CK, o_CK = p_CK / n_filled, y_CK / n_filled
    o_C = y_CK.sum(axis=1) / total
    return BrierTerms(
        score=float((pp_CK - 2 * py_CK + y_CK).sum() / total),
        reliability=float((n_CK * (f_CK - o_CK) ** 2).sum() / total),
        resolution=float((n_CK * (o_CK - o_C[:, None]) ** 2).sum() / total),
        uncertainty=float((o_C * (1 - o_C)).sum()),
        within_variance=float((pp_CK - n_CK * f_CK**2).sum() / total),
        within_covariance=float(2 * (py_CK - n_CK * f_CK * o_CK).sum() / total),
    )
