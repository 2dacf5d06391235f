"""Objects from foreground and contour probabilities (DCAN: Chen et al. 2016, arXiv 1604.02677, section 2.3).

Legend: ``S`` the spatial axes ``(Z) Y X``; sizes in pixels or voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from alframe.errors import InvalidValue

__all__ = ["instances_from"]

Floats = NDArray[np.floating[Any]]


def instances_from(
    foreground: Floats, contour: Floats | None, *, threshold: float = 0.5, min_size: int = 0, dilate: float = 0.0
) -> NDArray[np.int32]:
    """Number objects 1, 2, … in raster order; 0 is background. Works in two and three dimensions.

    An object is a face-connected component of ``foreground >= threshold`` and ``contour < threshold``. Its holes are filled
    (another object inside a hole keeps its own number), objects below `min_size` are dropped, and the rest grow by
    `dilate` pixels (Euclidean) to take back what the contour cut off, without running into each other.

    Raises:
        InvalidValue: when the shapes differ or an option is negative.
    """
    if contour is not None and contour.shape != foreground.shape:
        raise InvalidValue(f"contour {contour.shape} and foreground {foreground.shape} differ in shape")
    if min_size < 0 or dilate < 0:
        raise InvalidValue(f"min_size and dilate must not be negative, got {min_size} and {dilate}")
    inside = foreground >= threshold
    if contour is not None:
        inside &= contour < threshold
    numbers = np.zeros(inside.shape, np.int32)
    count = ndimage.label(inside, output=numbers)
    _fill_holes(numbers)
    numbers = _drop_small(numbers, count, min_size)
    return _grow(numbers, dilate) if dilate else numbers


def _fill_holes(numbers: NDArray[np.int32]) -> None:
    """Give background enclosed by one object to it, in place."""
    for number, crop in enumerate(ndimage.find_objects(numbers), start=1):
        view = numbers[crop]
        outside, _ = ndimage.label(np.pad(view != number, 1, constant_values=True))
        hole = (outside != outside.flat[0])[(slice(1, -1),) * view.ndim]
        view[hole & (view == 0)] = number


def _drop_small(numbers: NDArray[np.int32], count: int, min_size: int) -> NDArray[np.int32]:
    size = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = size >= min_size
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[numbers]


def _grow(numbers: NDArray[np.int32], distance: float) -> NDArray[np.int32]:
    if not numbers.any():
        return numbers
    far, nearest = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    return np.where(far <= distance, numbers[tuple(nearest)], 0).astype(np.int32)
