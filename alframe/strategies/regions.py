"""What all strategies share: reading an item's view with suspicion, and turning scores into rows of candidates.

Legend: ``S`` space ``(Z) Y X``, ``W`` grid of windows, ``D`` spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import ItemView, Moments
from alframe.strategies.moments import check_finite
from alframe.strategies.windows import Grid, greedy, window_counts, window_grid
from alframe.types import Candidates

__all__ = [
    "Extent",
    "Scene",
    "check_extent",
    "check_window",
    "finite_map",
    "image_row",
    "joined",
    "model_moments",
    "open_image",
    "region_rows",
    "region_scene",
]

Extent = tuple[int, ...] | int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """The windows of one item and which of them (W, bool) are closed by history or hold nothing to annotate."""

    grid: Grid
    closed: NDArray[np.bool_]


def check_window(window: Extent | None, stride: Extent | None, max_overlap: float, per_item: int | None) -> None:
    """Validate the fields that every region strategy has.

    Raises:
        InvalidValue: for numbers out of range, or region parameters without a window.
    """
    if window is None and (stride is not None or max_overlap or per_item is not None):
        raise InvalidValue(
            "stride, max_overlap and candidates_per_item need a window; without one whole images are queried"
        )
    check_extent(window, "window")
    check_extent(stride, "stride")
    if not 0.0 <= max_overlap < 1.0:
        raise InvalidValue(f"max_overlap is a fraction of the window in [0, 1), got {max_overlap}")
    if per_item is not None and per_item < 1:
        raise InvalidValue(f"candidates_per_item must be at least 1, got {per_item}")


def check_extent(value: Extent | None, name: str) -> None:
    """Validate a size in pixels, one number or one for each axis; None is allowed.

    Raises:
        InvalidValue: for a number below 1 or no number at all.
    """
    numbers = (value,) if isinstance(value, int) else value
    if numbers is not None and (not numbers or any(number < 1 for number in numbers)):
        raise InvalidValue(f"{name} must be at least 1 on every axis, got {value}")


def model_moments(view: ItemView, measure: str) -> Moments:
    """The moments of the item's prediction, from which `measure` will be computed.

    Raises:
        InvalidValue: when they are missing or have another shape than the item.
        NonFiniteError: naming item and measure, when they hold NaN or infinity (a clamp could hide it later).
    """
    if view.moments is None:
        raise InvalidValue(
            f"item {view.info.id}: this strategy needs a model's prediction, but the view has no moments"
        )
    if view.moments.entropy.shape != view.info.shape:
        raise InvalidValue(f"item {view.info.id} has shape {view.info.shape}, its moments {view.moments.entropy.shape}")
    try:
        check_finite(view.moments, item=view.info.id)
    except NonFiniteError as error:
        raise NonFiniteError(f"{measure} is undefined: {error}") from error
    return view.moments


def finite_map(values: NDArray[np.float64], view: ItemView, measure: str) -> NDArray[np.float64]:
    """`values` as they are.

    Raises:
        NonFiniteError: naming the item and the measure, when one is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"item {view.info.id}: the {measure} map holds NaN or infinity; look at the model's output"
        )
    return values


def open_image(view: ItemView) -> bool:
    """Whether the whole item may be queried: nobody was asked for a part of it, and something is left to annotate."""
    return not view.history and not view.annotated.all()


def image_row(view: ItemView, score: float) -> Candidates:
    """One row: the whole item."""
    shape = np.asarray([view.info.shape], np.int32)
    return Candidates(
        item=np.array([view.info.id]),
        start=np.zeros_like(shape),
        stop=shape,
        score=np.array([score], np.float64),
        stratum=np.zeros(1, np.int8),
    )


def region_scene(view: ItemView, window: Extent, stride: Extent | None, max_overlap: float) -> Scene:
    """The windows of the item; closed are those with history beyond `max_overlap` and those wholly annotated.

    Raises:
        InvalidValue: when window or stride do not fit the item's axes.
    """
    try:
        grid = window_grid(view.info.shape, window, stride)
    except InvalidValue as error:
        raise InvalidValue(f"item {view.info.id}: {error}") from error
    closed = np.zeros(grid.shape, bool)
    if view.annotated.any():
        closed |= window_counts(~view.annotated, grid) == 0
    for box in view.history:
        part, fraction = grid.overlap(box)
        closed[part] |= fraction > max_overlap
    return Scene(grid=grid, closed=closed)


def region_rows(
    view: ItemView, scene: Scene, scores: NDArray[np.float64], *, count: int, max_overlap: float, stratum: int = 0
) -> Candidates:
    """The item's greedy best windows by `scores` (W), at most `count`, none sharing more than `max_overlap` with another."""
    flat = greedy(scores, scene.grid, count=count, max_overlap=max_overlap, closed=scene.closed)
    start = scene.grid.corners(flat)
    return Candidates(
        item=np.full(len(flat), view.info.id),
        start=start,
        stop=(start + np.asarray(scene.grid.extent)).astype(np.int32),
        score=scores.reshape(-1)[flat].astype(np.float64),
        stratum=np.full(len(flat), stratum, np.int8),
    )


def joined(parts: Sequence[Candidates], view: ItemView) -> Candidates:
    """One table of `parts`, which may be none."""
    return Candidates.concatenate(parts) if parts else Candidates.empty(len(view.info.shape))
