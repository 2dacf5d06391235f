"""Random controls, without which no claim about a strategy is worth anything (nnActive, Lüth et al. 2025).

A region's score is a random key, drawn for each window of the grid; the greedy selection by such keys is sequential
sampling without replacement among the windows that are still allowed, with the given weights (Efraimidis & Spirakis
2006, in the Gumbel form log w + G). So a random batch goes the same way as any other. Legend: ``S`` space ``(Z) Y X``,
``W`` the grid of windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.ports import ItemView, Moments
from alframe.seeding import generator
from alframe.strategies.measures import entropy
from alframe.strategies.regions import Scene, check_window, image_row, joined, open_image, region_rows, region_scene
from alframe.strategies.selectors import Batch, Selector, choose, fill_strata, split_evenly
from alframe.strategies.windows import Grid
from alframe.types import Candidates, LabelMap

__all__ = ["Random", "RandomForeground"]

ANYWHERE, INSIDE, BORDER = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Whole images, or with `window` regions, uniformly at random (regions: uniform over all windows of all items).

    Raises:
        InvalidValue: for a value out of range, or one that has no effect without a window.
    """

    window: tuple[int, ...] | int | None = None
    stride: tuple[int, ...] | int | None = None
    max_overlap: float = 0.0

    def __post_init__(self) -> None:
        check_window(self.window, self.stride, self.max_overlap, None)

    @property
    def needs_model(self) -> bool:
        """Always false."""
        return False

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
        """The item or at most `count` of its windows, with random scores in [0, 1).

        Raises:
            InvalidValue: when window or stride do not fit the item's axes.
        """
        if view.annotated.all() or count < 1 or (self.window is None and not open_image(view)):
            return Candidates.empty(len(view.info.shape))
        draw = generator(seed, "random", view.info.id)
        if self.window is None:
            return image_row(view, float(draw.random()))
        scene = region_scene(view, self.window, self.stride, self.max_overlap)
        return region_rows(view, scene, draw.random(scene.grid.shape), count=count, max_overlap=self.max_overlap)

    def select(self, candidates: Candidates, *, count: int, seed: int) -> Candidates:
        """The largest random scores.

        Raises:
            InvalidValue: when `count` is negative.
            NonFiniteError: when a score is NaN or infinite.
        """
        return choose(candidates, selector=Selector(), count=count, seed=seed, max_overlap=self.max_overlap)

    def uncertainty(self, moments: Moments) -> NDArray[np.float32]:
        """Predictive entropy (S): this strategy has no measure of its own."""
        return entropy(moments).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomForeground:
    """Random regions: a third anywhere, a third on objects, a third on borders of objects. It looks at the truth.

    For an object (or border) region one of its pixels is drawn, uniformly over all pixels of all items that are not yet
    annotated, and the window is taken whose centre is nearest. A border pixel belongs to an object and has a face
    neighbour of another class or object. Where a kind runs out, windows anywhere take its place.

    Raises:
        InvalidValue: for a value out of range.
    """

    window: tuple[int, ...] | int
    stride: tuple[int, ...] | int | None = None
    max_overlap: float = 0.0

    def __post_init__(self) -> None:
        check_window(self.window, self.stride, self.max_overlap, None)

    @property
    def needs_model(self) -> bool:
        """Always false."""
        return False

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
        """Always true: only a simulation can run it."""
        return True

    def candidates(self, view: ItemView, *, count: int, seed: int) -> Candidates:
        """At most `count` windows of each kind; the stratum says which: 0 anywhere, 1 object, 2 border.

        Raises:
            InvalidValue: when the view has no truth, or window or stride do not fit the item's axes.
        """
        if view.truth is None:
            raise InvalidValue(
                f"item {view.info.id}: random_foreground looks at the truth; only a simulation can run it"
            )
        if view.annotated.all() or count < 1:
            return Candidates.empty(len(view.info.shape))
        scene = region_scene(view, self.window, self.stride, self.max_overlap)
        objects, border = foreground_and_border(view.truth)
        masks = {ANYWHERE: None, INSIDE: objects & ~view.annotated, BORDER: border & ~view.annotated}
        parts = []
        for stratum, mask in masks.items():
            noise = generator(seed, "random_foreground", view.info.id, stratum).gumbel(size=scene.grid.shape)
            if mask is not None:
                weight = nearest_counts(mask, scene.grid)
                noise += np.log(np.maximum(weight, 1))
                scene_here = Scene(grid=scene.grid, closed=scene.closed | (weight == 0))
            else:
                scene_here = scene
            parts.append(
                region_rows(view, scene_here, noise, count=count, max_overlap=self.max_overlap, stratum=stratum)
            )
        return joined(parts, view)

    def select(self, candidates: Candidates, *, count: int, seed: int) -> Candidates:
        """A third of each kind, in the order border, object, anywhere; the seed draws which kinds get the remainder.

        Raises:
            InvalidValue: when `count` is negative.
            NonFiniteError: when a score is NaN or infinite.
        """
        quotas = split_evenly(count, [BORDER, INSIDE, ANYWHERE], seed=seed, purpose="random_foreground")
        batch = Batch(candidates, max_overlap=self.max_overlap)
        fill_strata(batch, quotas, batch.rows.score, count=count)
        return batch.table()

    def uncertainty(self, moments: Moments) -> NDArray[np.float32]:
        """Predictive entropy (S): this strategy has no measure of its own."""
        return entropy(moments).astype(np.float32)


def foreground_and_border(truth: LabelMap) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Object pixels (S) and those of them that touch another class or object; 255 is neither and makes no border."""
    known = truth.annotated
    objects = known & (truth.classes > 0)
    layers: list[NDArray[Any]] = [truth.classes] if truth.instances is None else [truth.classes, truth.instances]
    border = np.zeros(truth.shape, bool)
    for axis in range(len(truth.shape)):
        mark, certain = border.swapaxes(0, axis), known.swapaxes(0, axis)
        differs = np.zeros_like(mark[1:])
        for layer in layers:
            lead = layer.swapaxes(0, axis)
            differs |= lead[1:] != lead[:-1]
        differs &= certain[1:] & certain[:-1]
        mark[1:] |= differs
        mark[:-1] |= differs
    return objects, border & objects


def nearest_counts(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.int64]:
    """How many set pixels of `mask` (S) have each window (W) as the one with the nearest centre, axis by axis."""
    counts = mask.astype(np.int64)
    for axis, (starts, extent) in enumerate(zip(grid.starts, grid.extent, strict=True)):
        centres = starts + (extent - 1) / 2
        first = np.searchsorted(np.arange(counts.shape[axis]), (centres[1:] + centres[:-1]) / 2, side="right")
        counts = np.add.reduceat(counts, np.concatenate([[0], first]), axis=axis)
    return counts
