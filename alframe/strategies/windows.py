"""Windows over an item: where they lie, what they sum to, and which of them a batch may take.

Window sums use a summed-area table (Crow 1984), one axis at a time: O(pixels), whatever the window. The table is in
fixed point (int64): integer sums are exact, so windows with equal content have equal scores whatever lies around them,
ties are true ties, and every machine gets the same bits. With 62 bits for the sum of a whole window, a 150 x 150 window
resolves differences of 1e-13.

Legend: ``S`` space ``(Z) Y X``, ``D`` its axes, ``W`` the grid of windows (one position count per axis of S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.types import Box

__all__ = ["Grid", "exact_sum", "greedy", "per_axis", "union_size", "window_counts", "window_grid", "window_sums"]

SUM_BITS = 62
LARGEST_EXPECTED = 8.0
"""Measures lie below this (log 255 < 5.6), so that all items of a campaign share one resolution."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """All windows of one extent over an item: the product of `starts`, one ascending array for each axis."""

    extent: tuple[int, ...]
    starts: tuple[NDArray[np.int64], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """W: how many positions each axis has."""
        return tuple(len(axis) for axis in self.starts)

    @property
    def area(self) -> int:
        """Pixels or voxels of one window."""
        return math.prod(self.extent)

    def corners(self, flat: NDArray[np.intp]) -> NDArray[np.int32]:
        """First corners (N, D) of the windows at the given flat positions of W."""
        index = np.unravel_index(flat, self.shape)
        columns = [axis[i] for axis, i in zip(self.starts, index, strict=True)]
        return np.stack(columns, axis=1).astype(np.int32)

    def overlap(self, box: Box) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
        """The part of W whose windows touch `box`, and the fraction of each of these windows that lies in it."""
        parts: list[slice] = []
        fraction: NDArray[np.float64] = np.ones(())
        for axis, extent, a, b in zip(self.starts, self.extent, box.start, box.stop, strict=True):
            low, high = np.searchsorted(axis, (a - extent + 1, b))
            near = axis[low:high]
            side = np.minimum(near + extent, b) - np.maximum(near, a)
            parts.append(slice(int(low), int(high)))
            fraction = np.multiply.outer(fraction, side)
        return tuple(parts), fraction / self.area


def per_axis(value: tuple[int, ...] | int, axes: int, *, name: str) -> tuple[int, ...]:
    """`value` for each of `axes` spatial axes.

    Raises:
        InvalidValue: when a tuple has another length or a number is below 1.
    """
    result = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(result) != axes:
        raise InvalidValue(f"{name} {value} has {len(result)} numbers, but the item has {axes} spatial axes")
    if any(number < 1 for number in result):
        raise InvalidValue(f"{name} must be at least 1 on every axis, got {value}")
    return result


def window_grid(
    shape: Sequence[int], window: tuple[int, ...] | int, stride: tuple[int, ...] | int | None = None
) -> Grid:
    """Windows every `stride` pixels, plus the last position of each axis, so that the border is covered.

    An axis shorter than the window clips it. Without `stride` it is a fifth of the window (the paper's 30 for 150).

    Raises:
        InvalidValue: as :func:`per_axis`.
    """
    sizes = per_axis(window, len(shape), name="window")
    steps = (
        tuple(max(1, size // 5) for size in sizes) if stride is None else per_axis(stride, len(shape), name="stride")
    )
    extent = tuple(min(size, int(length)) for size, length in zip(sizes, shape, strict=True))
    starts = tuple(_starts(int(n), k, s) for n, k, s in zip(shape, extent, steps, strict=True))
    return Grid(extent=extent, starts=starts)


def window_sums(values: NDArray[np.floating[Any]], grid: Grid) -> NDArray[np.float64]:
    """Sum of a finite map (S) in each window (= windowed mean x area), shape W, exact up to one rounding of each value.

    Raises:
        NonFiniteError: when a value is NaN or infinite.
    """
    fixed, bits = _fixed_point(values, grid.area)
    return np.multiply(_sums(fixed, grid), math.ldexp(1.0, -bits), dtype=np.float64)


def window_counts(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.int64]:
    """Number of set pixels of a mask (S) in each window, shape W."""
    return _sums(mask.astype(np.int64), grid)


def exact_sum(values: NDArray[np.floating[Any]]) -> float:
    """Sum of finite values that does not depend on their order or on the machine.

    Raises:
        NonFiniteError: when a value is NaN or infinite.
    """
    fixed, bits = _fixed_point(values, max(values.size, 1))
    return math.ldexp(float(fixed.sum(dtype=np.int64)), -bits)


def greedy(
    scores: NDArray[np.float64],
    grid: Grid,
    *,
    count: int,
    max_overlap: float,
    closed: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Flat positions of at most `count` windows, best first; each shares at most `max_overlap` of its area with another.

    `scores` (W) are finite; `closed` (W) names windows that may not be taken. Of equal scores the first start wins.
    """
    live = scores.copy()
    if closed is not None:
        live[closed] = -np.inf
    chosen: list[int] = []
    while len(chosen) < count:
        best = int(live.argmax())
        if live.flat[best] == -np.inf:
            break
        chosen.append(best)
        start = grid.corners(np.array([best], np.intp))[0]
        box = Box(start=tuple(start.tolist()), stop=tuple((start + grid.extent).tolist()))
        part, fraction = grid.overlap(box)
        live[part][fraction > max_overlap] = -np.inf
    return np.array(chosen, np.intp)


def union_size(boxes: Sequence[Box]) -> int:
    """Pixels or voxels in the union of boxes of one item, by coordinate compression (the item may be any size)."""
    if not boxes:
        return 0
    edges = [
        np.unique([corner[axis] for box in boxes for corner in (box.start, box.stop)])
        for axis in range(len(boxes[0].start))
    ]
    covered = np.zeros([len(edge) - 1 for edge in edges], bool)
    for box in boxes:
        cells = [
            np.searchsorted(edge, ab) for edge, ab in zip(edges, zip(box.start, box.stop, strict=True), strict=True)
        ]
        covered[tuple(slice(int(a), int(b)) for a, b in cells)] = True
    sizes: NDArray[np.int64] = covered.astype(np.int64)
    for edge in reversed(edges):
        sizes = sizes @ np.diff(edge)
    return int(sizes)


def _starts(length: int, extent: int, stride: int) -> NDArray[np.int64]:
    last = length - extent
    starts = np.arange(0, last + 1, stride, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def _fixed_point(values: NDArray[np.floating[Any]], terms: int) -> tuple[NDArray[np.int64], int]:
    """Integers and the number of fractional bits, such that a sum of `terms` of them stays below 2**62."""
    wide = np.asarray(values, np.float64)
    largest = float(np.maximum(wide.max(initial=LARGEST_EXPECTED), -wide.min(initial=0.0)))
    if not math.isfinite(largest):
        raise NonFiniteError("a map holds NaN or infinity and has no window sums")
    bits = SUM_BITS - math.frexp(largest)[1] - (terms - 1).bit_length()
    scaled = wide * math.ldexp(1.0, bits)
    return np.rint(scaled, out=scaled).astype(np.int64), bits


def _sums(values: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Window sums, one axis after the other. A running sum may wrap around 2**64: differences stay exact."""
    for axis, (starts, extent) in enumerate(zip(grid.starts, grid.extent, strict=True)):
        running = _running(values, axis)
        if len(starts) == values.shape[axis] - extent + 1:
            lead = running.swapaxes(0, axis)
            values = (lead[extent:] - lead[:-extent]).swapaxes(0, axis)
        else:
            values = running.take(starts + extent, axis=axis) - running.take(starts, axis=axis)
    return values


def _running(values: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Sums of the first 0, 1, … n values along `axis`, which grows by one."""
    shape = list(values.shape)
    shape[axis] += 1
    running = np.empty(shape, np.int64)
    total, lead = running.swapaxes(0, axis), values.swapaxes(0, axis)
    total[0] = 0
    if axis == values.ndim - 1:
        np.cumsum(values, axis=axis, out=total[1:].swapaxes(0, axis))
    else:  # whole rows at once: numpy's cumsum along another axis than the last walks through memory in strides
        for step, row in enumerate(lead):
            np.add(total[step], row, out=total[step + 1])
    return running
