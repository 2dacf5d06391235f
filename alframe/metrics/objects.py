"""Object metrics of the gland segmentation challenge (Sirinukunwattana et al. 2017, arXiv 1603.00275), as mergeable sums.

Legend: ``S`` the spatial axes ``(Z) Y X``, ``T`` true objects, ``O`` found (predicted) objects. Areas and distances are in
pixels or voxels. Objects are told apart by their numbers (any positive int32), never by connected components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics.shapes import Distances, ObjectMap

__all__ = ["object_sums"]

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
    found, truth = ObjectMap.of(found_S), ObjectMap.of(truth_S)
    true, other, shared = _overlaps(truth, found)
    between = Distances(truth, found)
    forward = _match(truth, found, true, other, shared, between.distance)
    backward = _match(found, truth, other, true, shared, lambda i, j: between.distance(j, i))
    covered = backward.shared[backward.shared > 0] * 2 > truth.area[backward.counterpart[backward.shared > 0]]
    alone = forward.alone + backward.alone
    return np.array([covered.sum(), *forward.sums(truth), *backward.sums(found), alone], np.float64)


def _overlaps(a: ObjectMap, b: ObjectMap) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
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


@dataclass(frozen=True, kw_only=True)
class _Matches:
    """Per object: its counterpart's position, the pixels they share (0 = no counterpart), Dice and Hausdorff distance."""

    counterpart: NDArray[np.intp]
    shared: NDArray[np.int64]
    dice: NDArray[np.float64]
    distance: NDArray[np.float64]
    alone: int

    def sums(self, objects: ObjectMap) -> tuple[float, float, float, float]:
        area = objects.area
        return float(objects.count), float(area.sum()), float(area @ self.dice), float(area @ self.distance)


def _match(
    objects: ObjectMap,
    others: ObjectMap,
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


def _nearest(objects: ObjectMap, position: int, others: ObjectMap, distance: Callable[[int, int], float]) -> float:
    """Smallest Hausdorff distance to any of `others`.

    Two sets are at least as far apart as any side of their bounding boxes, so most candidates need no distance.
    """
    low, high = objects.low[position], objects.high[position]
    bound = np.maximum(np.abs(others.low - low), np.abs(others.high - high)).max(axis=1)
    best = math.inf
    for candidate in np.argsort(bound, kind="stable"):
        if bound[candidate] >= best:
            break
        best = min(best, distance(position, int(candidate)))
    return best
