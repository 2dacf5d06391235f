"""What the page paints, worked out apart from it: a pixel belongs to a shape when its centre does. All in whole numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]


def snapped(x: float, y: float, diameter: int) -> Point:
    """Where the brush sits (x, y): odd diameters on pixel centres, even ones on corners; halves go up as in JavaScript."""
    if diameter % 2:
        return (math.floor(x) + 0.5, math.floor(y) + 0.5)
    return (math.floor(x + 0.5), math.floor(y + 0.5))


def capsule(a: Point, b: Point, diameter: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels within half a diameter of the segment from `a` to `b`, on the grid of :func:`snapped`.

    Doubled coordinates are whole.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(object)
    px, py = 2 * columns + 1, 2 * rows + 1
    (ax, ay), (bx, by) = ((int(2 * x), int(2 * y)) for x, y in (a, b))
    dx, dy = bx - ax, by - ay
    along, length = (px - ax) * dx + (py - ay) * dy, dx * dx + dy * dy
    to_a, to_b = (px - ax) ** 2 + (py - ay) ** 2, (px - bx) ** 2 + (py - by) ** 2
    across = ((px - ax) * dy - (py - ay) * dx) ** 2
    limit = diameter**2
    near_ends = (to_a <= limit) | (to_b <= limit)
    return np.asarray(near_ends | ((along > 0) & (along < length) & (across <= limit * length)), bool)


def stroke(points: Sequence[Point], diameter: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A brush stroke through points in image coordinates."""
    path = [snapped(x, y, diameter) for x, y in points]
    painted = capsule(path[0], path[0], diameter, shape)
    for a, b in itertools.pairwise(path):
        painted |= capsule(a, b, diameter, shape)
    return painted


def polygon(points: Sequence[tuple[int, int]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre is inside by the even-odd rule: the edges to the left of it are counted, exactly."""
    inside = np.zeros(shape, bool)
    for row in range(shape[0]):
        y = Fraction(2 * row + 1, 2)
        crossings = []
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
            if (ay <= y) != (by <= y):
                crossings.append(ax + (y - ay) * (bx - ax) / (by - ay))
        for column in range(shape[1]):
            inside[row, column] = sum(at <= Fraction(2 * column + 1, 2) for at in crossings) % 2 == 1
    return inside
