"""Region strategies that balance classes: ClaSP PE (arXiv 2601.13677) and RIPU (Xie et al. 2022, arXiv 2111.12940).

Legend: ``C`` classes, ``S`` space ``(Z) Y X``, ``W`` grid of windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from alframe.errors import InvalidValue
from alframe.ports import ItemView, Moments
from alframe.strategies.measures import class_entropy, entropy, predicted
from alframe.strategies.regions import Scene, check_window, finite_map, joined, model_moments, region_rows, region_scene
from alframe.strategies.selectors import Batch, Selector, choose, fill_strata, row_keys, split_evenly
from alframe.strategies.windows import window_counts, window_sums
from alframe.types import Candidates

__all__ = ["ClassBalanced", "Ripu"]

MOST_CLASSES = np.iinfo(np.int8).max


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBalanced:
    """ClaSP PE: a `share` of the batch goes evenly to the predicted foreground classes, the rest to predictive entropy.

    For class c a region is scored by mean(H(p̄)·p̄_c) x area. Both parts add power noise with inverse scale `beta`; the
    paper lets it rise over the rounds, a campaign does so by changing this field.

    Raises:
        InvalidValue: for a value out of range.
    """

    window: tuple[int, ...] | int
    stride: tuple[int, ...] | int | None = None
    share: float = 0.66
    beta: float = 1.0
    max_overlap: float = 0.0
    candidates_per_item: int | None = None

    def __post_init__(self) -> None:
        check_window(self.window, self.stride, self.max_overlap, self.candidates_per_item)
        if not 0.0 <= self.share <= 1.0:
            raise InvalidValue(f"share is a fraction of the batch in [0, 1], got {self.share}")
        Selector(type="power", beta=self.beta)

    @property
    def needs_model(self) -> bool:
        """Always true."""
        return True

    @property
    def needs_votes(self) -> bool:
        """Always false."""
        return False

    @property
    def needs_spread(self) -> bool:
        """Always false."""
        return False

    @property
    def needs_truth(self) -> bool:
        """Always false: classes are the predicted ones."""
        return False

    def candidates(self, view: ItemView, *, count: int, seed: int) -> Candidates:
        """At most `count` windows for entropy (stratum 0) and for each class predicted in the item (stratum c).

        Raises:
            InvalidValue: when the view has no moments, classes exceed 127, or window or stride do not fit its axes.
            NonFiniteError: when the entropy is not finite.
        """
        del seed
        if view.annotated.all() or count < 1:
            return Candidates.empty(len(view.info.shape))
        moments = model_moments(view, "class_entropy")
        if len(moments.probability) > MOST_CLASSES + 1:
            raise InvalidValue(f"class-balanced selection handles {MOST_CLASSES} foreground classes at most")
        maps = finite_map(class_entropy(moments), view, "class_entropy")
        present = np.unique(predicted(moments)[~view.annotated])
        scene = region_scene(view, self.window, self.stride, self.max_overlap)
        limit = min(count, self.candidates_per_item or count)
        layers = {0: finite_map(entropy(moments), view, "entropy")} | {int(c): maps[c] for c in present if c > 0}
        parts = [
            region_rows(
                view,
                scene,
                window_sums(np.where(view.annotated, 0.0, values), scene.grid),
                count=limit,
                max_overlap=self.max_overlap,
                stratum=stratum,
            )
            for stratum, values in layers.items()
        ]
        return joined(parts, view)

    def select(self, candidates: Candidates, *, count: int, seed: int) -> Candidates:
        """Class quotas first, then entropy; the seed draws the noise and which classes get the remainder.

        Raises:
            InvalidValue: when `count` is negative.
            NonFiniteError: when a score is NaN or infinite.
        """
        batch = Batch(candidates, max_overlap=self.max_overlap)
        classes = np.unique(batch.rows.stratum[batch.rows.stratum > 0]).tolist()
        budget = round(self.share * count) if classes else 0
        quotas = split_evenly(budget, classes, seed=seed, purpose="class_balanced") if classes else {}
        quotas[0] = count - budget
        keys = row_keys(batch, Selector(type="power", beta=self.beta), seed=seed)
        fill_strata(batch, quotas, keys, count=count)
        return batch.table()

    def uncertainty(self, moments: Moments) -> NDArray[np.float32]:
        """Predictive entropy (S)."""
        return entropy(moments).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ripu:
    """Region impurity times prediction uncertainty, each divided by log C.

    A region scores mean(H(p̄)) x H(histogram of the predicted classes in it). Annotated pixels have entropy 0 and are
    not counted in the histogram.

    Raises:
        InvalidValue: for a value out of range.
    """

    window: tuple[int, ...] | int
    stride: tuple[int, ...] | int | None = None
    selector: Selector = field(default_factory=Selector)
    max_overlap: float = 0.0
    candidates_per_item: int | None = None

    def __post_init__(self) -> None:
        check_window(self.window, self.stride, self.max_overlap, self.candidates_per_item)

    @property
    def needs_model(self) -> bool:
        """Always true."""
        return True

    @property
    def needs_votes(self) -> bool:
        """Always false."""
        return False

    @property
    def needs_spread(self) -> bool:
        """Always false."""
        return False

    @property
    def needs_truth(self) -> bool:
        """Always false."""
        return False

    def candidates(self, view: ItemView, *, count: int, seed: int) -> Candidates:
        """The item's best windows, at most `count`. The seed has no influence.

        Raises:
            InvalidValue: when the view has no moments, or window or stride do not fit its axes.
            NonFiniteError: when the entropy is not finite.
        """
        del seed
        if view.annotated.all() or count < 1:
            return Candidates.empty(len(view.info.shape))
        moments = model_moments(view, "entropy")
        values = finite_map(entropy(moments), view, "entropy")
        scene = region_scene(view, self.window, self.stride, self.max_overlap)
        log_classes = np.log(len(moments.probability))
        uncertainty = window_sums(np.where(view.annotated, 0.0, values), scene.grid) / scene.grid.area
        scores = uncertainty * _impurity(moments, ~view.annotated, scene) / log_classes**2
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
        """Predictive entropy (S)."""
        return entropy(moments).astype(np.float32)


def _impurity(moments: Moments, valid: NDArray[np.bool_], scene: Scene) -> NDArray[np.float64]:
    """Entropy in nats (W) of the shares of the predicted classes among the valid pixels of each window."""
    classes = predicted(moments)
    total = np.maximum(window_counts(valid, scene.grid), 1)
    impurity = np.zeros(scene.grid.shape)
    for label in np.unique(classes):
        impurity += entr(window_counts(valid & (classes == label), scene.grid) / total)
    return impurity
