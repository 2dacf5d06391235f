"""Utility of a whole image: an uncertainty map (S) and the mask of pixels that count → one number.

`sum` is Algorithm 1 of Li & Alstrøm 2020 and favours large images; `mean` does not. Sums are exact (see
:mod:`alframe.strategies.windows`), so that two machines rank the same images. Legend: ``S`` space ``(Z) Y X``.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.strategies.windows import exact_sum, window_grid, window_sums

__all__ = ["AggregateName", "boundary", "boundary_mean", "max_region", "mean", "total", "top_quantile_mean"]

AggregateName = Literal["sum", "mean", "max_region", "top_quantile_mean", "boundary_mean"]


def total(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> float:
    """Σ over the valid pixels."""
    return exact_sum(values[valid])


def mean(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> float:
    """Mean over the valid pixels.

    Raises:
        InvalidValue: when no pixel is valid.
    """
    chosen = values[valid]
    if not chosen.size:
        raise InvalidValue("an image without valid pixels has no mean; leave it out of the candidates")
    return exact_sum(chosen) / chosen.size


def max_region(values: NDArray[np.float64], valid: NDArray[np.bool_], region: tuple[int, ...] | int) -> float:
    """The best mean of a window of `region` at any position (stride 1); pixels that are not valid count as 0."""
    grid = window_grid(values.shape, region, 1)
    return float(window_sums(np.where(valid, values, 0.0), grid).max()) / grid.area


def top_quantile_mean(values: NDArray[np.float64], valid: NDArray[np.bool_], quantile: float) -> float:
    """Mean of the ⌈(1 − quantile)·n⌉ largest of the n valid values (at least one).

    Raises:
        InvalidValue: when no pixel is valid.
    """
    chosen = values[valid]
    if not chosen.size:
        raise InvalidValue("an image without valid pixels has no quantile; leave it out of the candidates")
    # the tolerance keeps (1 - 0.9) * 10 = 0.99…98 or 1.00…02 from moving the rank by one
    kept = max(1, math.ceil((1.0 - quantile) * chosen.size - 1e-9))
    top = np.partition(chosen, chosen.size - kept)[chosen.size - kept :]
    return exact_sum(top) / kept


def boundary_mean(values: NDArray[np.float64], valid: NDArray[np.bool_], classes: NDArray[Any]) -> float:
    """Mean over the valid pixels on the predicted boundary, so that an image is not chosen for its long outlines.

    `classes` (S) is the predicted class map. An image without a predicted boundary gets its mean over valid pixels.
    """
    edge = boundary(classes) & valid
    return mean(values, edge if edge.any() else valid)


def boundary(classes: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels (S) with a face neighbour of another class; both sides of a border are marked."""
    edge = np.zeros(classes.shape, bool)
    for axis in range(classes.ndim):
        lead, mark = classes.swapaxes(0, axis), edge.swapaxes(0, axis)
        differs = lead[1:] != lead[:-1]
        mark[1:] |= differs
        mark[:-1] |= differs
    return edge
