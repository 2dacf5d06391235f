"""Object metrics of the gland segmentation challenge (Sirinukunwattana et al. 2017, arXiv 1603.00275), as mergeable sums.

Legend: ``S`` the spatial axes ``(Z) Y X``, ``T`` true objects, ``O`` found (predicted) objects. Areas and distances are in
pixels or voxels. Objects are told apart by their numbers (any positive int32), never by connected components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from alframe.errors import InvalidValue

__all__ = ["hausdorff", "object_sums"]

Ints = NDArray[np.int32]


def object_sums(found_S: Ints, truth_S: Ints) -> NDArray[np.float64]:
    """The ten sums of ``state.OBJECT_SUMS`` for one image.

    The counterpart of an object is the object of the other map that shares most pixels with it (ties: the smaller number).
    A found object is a true positive when it covers more than half of its counterpart. Dice of an object without
    counterpart is 0; its Hausdorff distance is the smallest one to any object of the other map, and the image diagonal
    where that map is empty (counted in ``alone``). Dice and Hausdorff sums are weighted by the object's area.

    Raises:
        InvalidValue: when the shapes differ or a number is negative.
    """
    if found_S.shape != truth_S.shape:
        raise InvalidValue(f"found {found_S.shape} and true {truth_S.shape} objects differ in shape")
    found, truth = _Objects.of(found_S), _Objects.of(truth_S)
    true, other, shared = _overlaps(truth, found)
    between = _Distances(truth, found)
    forward = _match(truth, found, true, other, shared, between.distance)
    backward = _match(found, truth, other, true, shared, lambda i, j: between.distance(j, i))
    covered = backward.shared[backward.shared > 0] * 2 > truth.area[backward.counterpart[backward.shared > 0]]
    alone = forward.alone + backward.alone
    return np.array([covered.sum(), *forward.sums(truth), *backward.sums(found), alone], np.float64)


def hausdorff(a_S: Ints, b_S: Ints) -> float:
    """Hausdorff distance between the non-zero pixels of two maps, as sets of pixel centres (interiors included).

    Raises:
        InvalidValue: when the shapes differ or a map is empty.
    """
    if a_S.shape != b_S.shape or not a_S.any() or not b_S.any():
        raise InvalidValue(f"two non-empty maps of one shape are needed, got {a_S.shape} and {b_S.shape}")
    a, b = _Objects.of((a_S != 0).astype(np.int32)), _Objects.of((b_S != 0).astype(np.int32))
    return _Distances(a, b).distance(0, 0)


@dataclass(frozen=True, kw_only=True)
class _Objects:
    """The objects of one map, renumbered 1..count in the order of their numbers; positions in arrays run from 0."""

    numbers: Ints
    count: int

    @classmethod
    def of(cls, map_S: Ints) -> _Objects:
        if map_S.size and map_S.min() < 0:
            raise InvalidValue(f"object numbers must not be negative, found {map_S.min()}")
        present = (
            np.unique(map_S) if map_S.size and map_S.max() > map_S.size else np.flatnonzero(np.bincount(map_S.ravel()))
        )
        present = present[present > 0]
        if present.size and present[-1] == present.size:
            return cls(numbers=map_S, count=present.size)
        numbers = (np.searchsorted(present, map_S) + 1) * (map_S > 0)
        return cls(numbers=numbers.astype(np.int32), count=present.size)

    @cached_property
    def area(self) -> NDArray[np.int64]:
        area: NDArray[np.int64] = np.bincount(self.numbers.ravel(), minlength=self.count + 1)[1:]
        return area

    @cached_property
    def crops(self) -> list[tuple[slice, ...]]:
        return list(ndimage.find_objects(self.numbers, max_label=self.count))

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """(count, 2·D): bounding boxes."""
        rows = [[side for s in crop for side in (s.start, s.stop)] for crop in self.crops]
        return np.array(rows, np.int64).reshape(self.count, 2 * self.numbers.ndim)

    @cached_property
    def _edges(self) -> dict[int, NDArray[np.intp]]:
        return {}

    def points(self, position: int) -> NDArray[np.intp]:
        """Coordinates (n, D) of all pixels of an object."""
        crop = self.crops[position]
        return _coordinates(self.numbers[crop] == position + 1, crop)

    def edge(self, position: int) -> NDArray[np.intp]:
        """Coordinates of the pixels with a face neighbour outside the object; the nearest pixel to any outsider is one."""
        if position not in self._edges:
            crop = self.crops[position]
            mask = self.numbers[crop] == position + 1
            self._edges[position] = _coordinates(mask & ~ndimage.binary_erosion(mask), crop)
        return self._edges[position]


def _coordinates(mask: NDArray[np.bool_], crop: tuple[slice, ...]) -> NDArray[np.intp]:
    return np.asarray(np.argwhere(mask) + [side.start for side in crop], np.intp)


def _overlaps(a: _Objects, b: _Objects) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Positions in `a` and in `b`, and shared pixels, of every pair of objects that overlap."""
    both = (a.numbers > 0) & (b.numbers > 0)
    key = (a.numbers[both].astype(np.int64) - 1) * b.count + b.numbers[both] - 1
    if a.count * b.count <= both.size:
        count = np.bincount(key, minlength=a.count * b.count)
        pair = np.flatnonzero(count)
        count = count[pair]
    else:
        pair, count = np.unique(key, return_counts=True)
    return pair // max(b.count, 1), pair % max(b.count, 1), count.astype(np.int64)


class _Distances:
    """Hausdorff distances between the objects of two maps, each computed once."""

    def __init__(self, a: _Objects, b: _Objects) -> None:
        self._a, self._b = a, b
        self._known: dict[tuple[int, int], float] = {}

    def distance(self, i: int, j: int) -> float:
        if (i, j) not in self._known:
            self._known[i, j] = max(_directed(self._a, i, self._b, j), _directed(self._b, j, self._a, i))
        return self._known[i, j]


@dataclass(frozen=True, kw_only=True)
class _Matches:
    """Per object: its counterpart's position, the pixels they share (0 = no counterpart), Dice and Hausdorff distance."""

    counterpart: NDArray[np.intp]
    shared: NDArray[np.int64]
    dice: NDArray[np.float64]
    distance: NDArray[np.float64]
    alone: int

    def sums(self, objects: _Objects) -> tuple[float, float, float, float]:
        area = objects.area
        return float(objects.count), float(area.sum()), float(area @ self.dice), float(area @ self.distance)


def _match(
    objects: _Objects,
    others: _Objects,
    position: NDArray[np.intp],
    other: NDArray[np.intp],
    shared: NDArray[np.int64],
    distance: Callable[[int, int], float],
) -> _Matches:
    counterpart, most = np.zeros(objects.count, np.intp), np.zeros(objects.count, np.int64)
    worst_first = np.lexsort((-other, shared, position))
    counterpart[position[worst_first]], most[position[worst_first]] = other[worst_first], shared[worst_first]
    if not others.count:
        far = np.full(objects.count, math.hypot(*objects.numbers.shape))
        dice = np.zeros(objects.count)
        return _Matches(counterpart=counterpart, shared=most, dice=dice, distance=far, alone=objects.count)
    apart = [
        distance(row, int(match)) if n else _nearest(objects, row, others, distance)
        for row, (match, n) in enumerate(zip(counterpart, most, strict=True))
    ]
    dice = 2 * most / (objects.area + others.area[counterpart])
    return _Matches(counterpart=counterpart, shared=most, dice=dice, distance=np.array(apart, np.float64), alone=0)


def _nearest(objects: _Objects, position: int, others: _Objects, distance: Callable[[int, int], float]) -> float:
    """Smallest Hausdorff distance to any of `others`.

    Two sets are at least as far apart as any side of their bounding boxes, so most candidates need no distance.
    """
    bound = np.abs(others.corners - objects.corners[position]).max(axis=1)
    best = math.inf
    for candidate in np.argsort(bound, kind="stable"):
        if bound[candidate] >= best:
            break
        best = min(best, distance(position, int(candidate)))
    return best


def _directed(a: _Objects, i: int, b: _Objects, j: int) -> float:
    """Largest distance from a pixel of a_i to the set b_j: 0 for shared pixels, reached at b_j's edge for the others."""
    points = a.points(i)
    outside = points[b.numbers[tuple(points.T)] != j + 1]
    if not outside.size:
        return 0.0
    return float(directed_hausdorff(outside.astype(np.float64), b.edge(j).astype(np.float64))[0])
