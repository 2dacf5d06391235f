"""The objects of a map as sets of pixels, and the exact Hausdorff distance between two of them.

Legend: ``S`` the spatial axes ``(Z) Y X``, ``D`` their number, ``n`` pixels of an object, ``m`` blocks of an object. Distances are
between pixel centres, in pixels or voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from alframe.errors import InvalidValue

__all__ = ["Distances", "ObjectMap", "hausdorff"]

Ints = NDArray[np.int32]

_BLOCK = {1: 64, 2: 16, 3: 8}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Region:
    """The pixels of one object, grouped in blocks, so that whole blocks can be ruled out at once.

    `points` (n, D) block by block; block k holds the points ``begin[k]:begin[k + 1]``, all within its inclusive corners
    `low[k]` and `high[k]` (m, D). `edge` are the points with a face neighbour outside the object.
    """

    points: Ints
    begin: NDArray[np.intp]
    low: Ints
    high: Ints
    edge: Ints

    @classmethod
    def of(cls, mask: NDArray[np.bool_], origin: tuple[int, ...]) -> _Region:
        inner = np.argwhere(mask).astype(np.int32)
        size = _BLOCK[mask.ndim]
        grid = tuple(-(-n // size) for n in mask.shape)
        narrow = np.uint16 if np.prod(grid) < 2**16 else np.int64  # sorts in linear time
        block = np.asarray(np.ravel_multi_index(tuple((inner // size).T), grid), narrow)
        order = np.argsort(block, kind="stable")
        points = inner[order] + np.array(origin, np.int32)
        begin = np.flatnonzero(np.diff(block[order].astype(np.int64), prepend=-1))
        edge = np.argwhere(mask & ~_interior(mask)) + np.array(origin)
        return cls(
            points=points,
            begin=np.append(begin, len(points)),
            low=np.minimum.reduceat(points, begin),
            high=np.maximum.reduceat(points, begin),
            edge=edge.astype(np.int32),
        )

    def far_from(self, low: Ints, high: Ints) -> Ints:
        """The points that can be farthest from a non-empty set with the inclusive corners `low` and `high`.

        The distance to the set is at least that to its bounding box, and at most that to the box's farthest corner. A
        block whose upper bound is below the lower bound of some pixel cannot hold the maximum. Squared, in integers: exact.
        """
        first = self.points[self.begin[:-1]].astype(np.int64)
        least = (np.maximum(np.maximum(low - first, first - high), 0) ** 2).sum(axis=1).max()
        reach = np.maximum(np.abs(self.high - low), np.abs(high - self.low)).astype(np.int64)
        kept = (reach**2).sum(axis=1) >= least
        return self.points if kept.all() else self.points[np.repeat(kept, np.diff(self.begin))]


def _interior(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask whose face neighbours all belong to it."""
    padded, inner = np.pad(mask, 1), mask.copy()
    for axis, length in enumerate(mask.shape):
        for shift in (0, 2):
            index = [slice(1, -1)] * mask.ndim
            index[axis] = slice(shift, shift + length)
            inner &= padded[tuple(index)]
    return inner


@dataclass(frozen=True, kw_only=True)
class ObjectMap:
    """The objects of one map, renumbered 1..count in the order of their numbers; positions in arrays run from 0."""

    numbers: Ints
    count: int

    @classmethod
    def of(cls, map_S: Ints) -> ObjectMap:
        """Raises InvalidValue on negative numbers."""
        if map_S.size and map_S.min() < 0:
            raise InvalidValue(f"object numbers must not be negative, found {map_S.min()}")
        sparse = map_S.size and map_S.max() > map_S.size
        present = np.unique(map_S) if sparse else np.flatnonzero(np.bincount(map_S.ravel()))
        present = present[present > 0]
        if not present.size or present[-1] == present.size:
            return cls(numbers=map_S, count=present.size)
        numbers = (np.searchsorted(present, map_S) + 1) * (map_S > 0)
        return cls(numbers=numbers.astype(np.int32), count=present.size)

    @cached_property
    def area(self) -> NDArray[np.int64]:
        """(count): pixels of each object."""
        area: NDArray[np.int64] = np.bincount(self.numbers.ravel(), minlength=self.count + 1)[1:]
        return area

    @cached_property
    def crops(self) -> list[tuple[slice, ...]]:
        """Bounding boxes as slices."""
        return list(ndimage.find_objects(self.numbers)) if self.count else []

    @cached_property
    def low(self) -> Ints:
        """(count, D): inclusive lower corners."""
        rows = [[side.start for side in crop] for crop in self.crops]
        return np.array(rows, np.int32).reshape(self.count, self.numbers.ndim)

    @cached_property
    def high(self) -> Ints:
        """(count, D): inclusive upper corners."""
        rows = [[side.stop - 1 for side in crop] for crop in self.crops]
        return np.array(rows, np.int32).reshape(self.count, self.numbers.ndim)

    @cached_property
    def _regions(self) -> dict[int, _Region]:
        return {}

    def region(self, position: int) -> _Region:
        """The pixels of one object; built when first asked for."""
        if position not in self._regions:
            crop = self.crops[position]
            origin = tuple(side.start for side in crop)
            self._regions[position] = _Region.of(self.numbers[crop] == position + 1, origin)
        return self._regions[position]


class Distances:
    """Hausdorff distances between the objects of two maps of one shape, each computed once."""

    def __init__(self, a: ObjectMap, b: ObjectMap) -> None:
        self._a, self._b = a, b
        self._known: dict[tuple[int, int], float] = {}

    def distance(self, i: int, j: int) -> float:
        """Between object i of the first and object j of the second map."""
        if (i, j) not in self._known:
            self._known[i, j] = max(_directed(self._a, i, self._b, j), _directed(self._b, j, self._a, i))
        return self._known[i, j]


def hausdorff(a_S: Ints, b_S: Ints) -> float:
    """Hausdorff distance between the non-zero pixels of two maps, as sets of pixel centres (interiors included).

    Raises:
        InvalidValue: when the shapes differ or a map is empty.
    """
    if a_S.shape != b_S.shape or not a_S.any() or not b_S.any():
        raise InvalidValue(f"two non-empty maps of one shape are needed, got {a_S.shape} and {b_S.shape}")
    a, b = ObjectMap.of((a_S != 0).astype(np.int32)), ObjectMap.of((b_S != 0).astype(np.int32))
    return Distances(a, b).distance(0, 0)


def _directed(a: ObjectMap, i: int, b: ObjectMap, j: int) -> float:
    """Largest distance from a pixel of a_i to the set b_j: 0 for shared pixels, reached at b_j's edge for the others."""
    points = a.region(i).far_from(b.low[j], b.high[j])
    outside = points[b.numbers[tuple(points.T)] != j + 1]
    if not outside.size:
        return 0.0
    return float(directed_hausdorff(outside.astype(np.float64), b.region(j).edge.astype(np.float64))[0])
