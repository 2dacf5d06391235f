"""Simulated raters: a label map as somebody else would have drawn it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from alframe.errors import InvalidValue
from alframe.seeding import generator
from alframe.types import UNANNOTATED, LabelMap

__all__ = ["Habits", "redraw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a rater departs from the truth.

    `shift` moves every border outwards (pixels; negative = inwards), `wobble` is the standard deviation of a smooth
    displacement on top, `smooth` its length; `miss` is the chance to overlook an object, `split` the chance to draw one
    object as two.

    Raises:
        InvalidValue: when a chance is outside [0, 1] or a length is negative.
    """

    shift: float = 0.0
    wobble: float = 0.0
    smooth: float = 5.0
    miss: float = 0.0
    split: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.miss <= 1 and 0 <= self.split <= 1 and self.wobble >= 0 and self.smooth > 0):
            raise InvalidValue(f"chances must be in [0, 1] and lengths positive, got {self}")


def redraw(labels: LabelMap, habits: Habits, *identity: str | int) -> LabelMap:
    """The map as a rater with these `habits` draws it, the same for the same `identity` (seed, rater, item).

    Needs instances whose objects have class 1 each; pixels without annotation stay so.

    Raises:
        InvalidValue: when the map has no instances.
    """
    if labels.instances is None:
        raise InvalidValue("a simulated rater needs instances to tell the objects apart")
    rng = generator("rater", *identity)
    objects = labels.instances.copy()
    for number in np.unique(objects[objects > 0]):
        chance = rng.random(2)
        if chance[0] < habits.miss:
            objects[objects == number] = 0
        elif chance[1] < habits.split:
            _cut(objects, int(number), rng)
    if habits.shift or habits.wobble:
        objects = _move_borders(objects, habits, rng)
    unknown = ~labels.annotated
    objects[unknown] = 0
    classes = np.where(unknown, UNANNOTATED, objects > 0).astype(np.uint8)
    return LabelMap(classes=classes, instances=objects)


def _cut(objects: NDArray[np.int32], number: int, rng: np.random.Generator) -> None:
    """Part an object by a plane through its middle: a gap of about two pixels, and a new number on one side."""
    inside = objects == number
    places = np.argwhere(inside)
    normal = rng.normal(0, 1, objects.ndim)
    side = (places - places.mean(0)) @ (normal / np.linalg.norm(normal))
    objects[tuple(places[np.abs(side) < 1].T)] = 0
    objects[tuple(places[side >= 1].T)] = int(objects.max()) + 1


def _move_borders(objects: NDArray[np.int32], habits: Habits, rng: np.random.Generator) -> NDArray[np.int32]:
    """Grow or shrink by a smooth amount; every pixel that is won goes to the nearest object."""
    if not objects.any() or objects.all():  # no border to move
        return objects
    outside, nearest = ndimage.distance_transform_edt(objects == 0, return_indices=True)
    inside = ndimage.distance_transform_edt(_framed(objects))
    depth = np.where(objects > 0, 0.5 - inside[(slice(1, -1),) * objects.ndim], outside - 0.5)
    field = ndimage.gaussian_filter(rng.normal(0, 1, objects.shape), habits.smooth)
    field *= habits.wobble / max(float(field.std()), 1e-12)
    won = objects[tuple(nearest)]
    return np.where(depth < habits.shift + field, won, 0).astype(np.int32)


def _framed(objects: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Foreground that goes on beyond the image's edge, so that a border is only where two things meet."""
    return np.pad(objects > 0, 1, mode="edge")
