"""How a rater errs: shifted boundaries and missed objects. Pure functions of a label map and a generator.

``S`` stands for the spatial axes ``(Z) Y X``, ``D`` for their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from alframe.types import UNANNOTATED, Box, LabelMap

__all__ = ["displaced", "displacement", "without_objects"]

_REACH = 3.0
"""No pixel moves further than this many times the root mean square."""


def displacement(shape: Sequence[int], shift: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth random vector field (D, S) in pixels with a root mean square length of `shift` along each axis.

    White noise under a Gaussian whose width is four shifts, at least four pixels: wide enough that neighbours keep their
    order and a boundary bends without tearing.
    """
    width = max(4.0, 4.0 * shift)
    field = np.stack([ndimage.gaussian_filter(rng.standard_normal(tuple(shape)), width, mode="wrap") for _ in shape])
    spread = np.sqrt(np.mean(np.square(field), axis=tuple(range(1, field.ndim)), keepdims=True))
    limited: NDArray[np.float64] = np.clip(field / np.maximum(spread, 1e-12), -_REACH, _REACH)
    return limited * shift


def displaced(labels: LabelMap, box: Box, shift: float, rng: np.random.Generator) -> LabelMap:
    """The part of `labels` inside `box` as somebody draws it whose boundaries are off by about `shift` pixels.

    Each pixel takes the class and object of the pixel that the field points to, which may lie outside the box but not
    outside the map; nothing new appears and objects keep their numbers.
    """
    field = displacement(box.shape, shift, rng)
    source = []
    for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True)):
        line = np.arange(start, stop).reshape([-1 if a == axis else 1 for a in range(len(box.start))])
        source.append(np.clip(np.rint(line + field[axis]), 0, labels.shape[axis] - 1).astype(np.intp))
    index = tuple(source)
    objects = None if labels.instances is None else labels.instances[index]
    return LabelMap(classes=labels.classes[index], instances=objects)


def without_objects(labels: LabelMap, probability: float, rng: np.random.Generator) -> LabelMap:
    """`labels` with each object turned into background with `probability`.

    Objects are the numbered ones, and where there are no numbers the connected pieces of each class (neighbours share an
    edge or face). Draws go through the objects in the order of their numbers.
    """
    foreground = (labels.classes != 0) & (labels.classes != UNANNOTATED)
    numbers = labels.instances if labels.instances is not None else _pieces(labels.classes, foreground)
    present = np.unique(numbers[foreground & (numbers > 0)])
    missed = present[rng.random(len(present)) < probability]
    gone = foreground & np.isin(numbers, missed)
    classes = labels.classes.copy()
    classes[gone] = 0
    if labels.instances is None:
        return LabelMap(classes=classes)
    return LabelMap(classes=classes, instances=np.where(gone, 0, labels.instances).astype(np.int32))


def _pieces(classes: NDArray[np.uint8], foreground: NDArray[np.bool_]) -> NDArray[np.int32]:
    numbers = np.zeros(classes.shape, np.int32)
    count = 0
    for value in np.unique(classes[foreground]):
        pieces, found = ndimage.label(classes == value)
        numbers[pieces > 0] = pieces[pieces > 0] + count
        count += found
    return numbers
