"""Uncertainty sampling of whole images and of regions: Algorithms 1 and 2 of Li & Alstrøm 2020 (arXiv 2007.06364).

Legend: ``S`` space ``(Z) Y X``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.ports import ItemView, Moments
from alframe.strategies import aggregation
from alframe.strategies.aggregation import AggregateName
from alframe.strategies.measures import MEASURES, MeasureName, epistemic_discounted, predicted
from alframe.strategies.regions import (
    check_extent,
    check_window,
    finite_map,
    image_row,
    model_moments,
    open_image,
    region_rows,
    region_scene,
)
from alframe.strategies.selectors import Selector, choose
from alframe.strategies.windows import window_sums
from alframe.types import Candidates

__all__ = ["Uncertainty"]

DEFAULT_QUANTILE = 0.9
DEFAULT_DISCOUNT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Query where a measure is highest.

    Without `window` whole images are queried, ranked by `aggregate` of the map: `quantile` belongs to
    ``top_quantile_mean`` (the mean above it, 0.9 when not given), `region` to ``max_region`` (its window).
    `discount` is the λ of ``epistemic_discounted`` (1 when not given): epistemic variance less λ times the disagreement of
    raters that the learner predicts, so that no budget goes where experts differ anyway.
    With `window` regions are queried, every `stride` pixels (a fifth of the window when not given), scored by their mean
    times their area, in which annotated pixels count 0; two regions share at most `max_overlap` of their area, and no
    item gives more than `candidates_per_item` of them to one batch (no such limit when not given).

    Raises:
        InvalidValue: for a value out of range, or one that the other fields leave without effect.
    """

    measure: MeasureName = "bald"
    discount: float | None = None
    window: tuple[int, ...] | int | None = None
    stride: tuple[int, ...] | int | None = None
    aggregate: AggregateName = "mean"
    quantile: float | None = None
    region: tuple[int, ...] | int | None = None
    selector: Selector = field(default_factory=Selector)
    max_overlap: float = 0.0
    candidates_per_item: int | None = None

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise InvalidValue(f"measure must be one of {', '.join(MEASURES)}, got {self.measure!r}")
        if self.discount is not None and self.measure != "epistemic_discounted":
            raise InvalidValue(f"discount is for measure epistemic_discounted, not for {self.measure}")
        if self.discount is not None and not (math.isfinite(self.discount) and self.discount >= 0.0):
            raise InvalidValue(f"discount must be 0 or more, got {self.discount}")
        check_window(self.window, self.stride, self.max_overlap, self.candidates_per_item)
        check_extent(self.region, "region")
        if self.aggregate not in ("sum", "mean", "max_region", "top_quantile_mean", "boundary_mean"):
            raise InvalidValue(f"unknown aggregate {self.aggregate!r}")
        if self.window is not None and self.aggregate != "mean":
            raise InvalidValue(
                f"regions are scored by mean x area; aggregate {self.aggregate} needs window to be absent"
            )
        if (self.region is None) == (self.aggregate == "max_region"):
            raise InvalidValue(
                f"region is for aggregate max_region and needed there; got {self.aggregate}, {self.region}"
            )
        if self.quantile is not None and self.aggregate != "top_quantile_mean":
            raise InvalidValue(f"quantile is for aggregate top_quantile_mean, not for {self.aggregate}")
        if self.quantile is not None and not 0.0 <= self.quantile < 1.0:
            raise InvalidValue(f"quantile must lie in [0, 1), got {self.quantile}")

    @property
    def needs_model(self) -> bool:
        """Always true."""
        return True

    @property
    def needs_votes(self) -> bool:
        """Whether the measure counts votes."""
        return MEASURES[self.measure].votes

    @property
    def needs_spread(self) -> bool:
        """Whether the measure is a variance, or looks at predicted disagreement."""
        return MEASURES[self.measure].spread

    @property
    def needs_truth(self) -> bool:
        """Always false."""
        return False

    def candidates(self, view: ItemView, *, count: int, seed: int) -> Candidates:
        """The item, or its best regions (at most `count`). The seed has no influence.

        Raises:
            InvalidValue: when the view has no moments, or window or stride do not fit its axes.
            NonFiniteError: when the measure is not finite.
        """
        del seed
        if view.annotated.all() or count < 1 or (self.window is None and not open_image(view)):
            return Candidates.empty(len(view.info.shape))
        moments = model_moments(view, self.measure)
        values = finite_map(self._map(moments), view, self.measure)
        if self.window is None:
            return image_row(view, max(self._utility(values, ~view.annotated, moments), 0.0))
        scene = region_scene(view, self.window, self.stride, self.max_overlap)
        scores = np.maximum(window_sums(np.where(view.annotated, 0.0, values), scene.grid), 0.0)
        limit = min(count, self.candidates_per_item or count)
        return region_rows(view, scene, scores, count=limit, max_overlap=self.max_overlap)

    def select(self, candidates: Candidates, *, count: int, seed: int) -> Candidates:
        """The selector's batch.

        Raises:
            InvalidValue: when `count` is negative.
            NonFiniteError: when a score is NaN or infinite.
        """
        return choose(candidates, selector=self.selector, count=count, seed=seed, max_overlap=self.max_overlap)

    def uncertainty(self, moments: Moments) -> NDArray[np.float32]:
        """The measure's map (S), for the eye: an unbiased variance may be a little below 0, which is shown as 0."""
        return np.maximum(self._map(moments), 0.0).astype(np.float32)

    def _map(self, moments: Moments) -> NDArray[np.float64]:
        if self.measure == "epistemic_discounted":
            return epistemic_discounted(moments, DEFAULT_DISCOUNT if self.discount is None else self.discount)
        return MEASURES[self.measure].function(moments)

    def _utility(self, values: NDArray[np.float64], valid: NDArray[np.bool_], moments: Moments) -> float:
        if self.aggregate == "sum":
            return aggregation.total(values, valid)
        if self.aggregate == "max_region" and self.region is not None:
            return aggregation.max_region(values, valid, self.region)
        if self.aggregate == "top_quantile_mean":
            quantile = DEFAULT_QUANTILE if self.quantile is None else self.quantile
            return aggregation.top_quantile_mean(values, valid, quantile)
        if self.aggregate == "boundary_mean":
            return aggregation.boundary_mean(values, valid, predicted(moments))
        return aggregation.mean(values, valid)
