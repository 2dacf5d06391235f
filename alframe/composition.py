"""What a campaign knows of an item: its committed answers composed into one label map (255 = not annotated).

Answers are immutable and are never merged on disk. Composition is a pure function of the answers in commit order, so that
regions, several raters, corrections and time travel are one mechanism (decision 4 of the design). Within one rater a
later answer overrides an earlier one; between raters each pixel takes the majority, and a tied vote goes to the class that
the earliest of the tied raters chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from alframe.metrics.fusion import majority
from alframe.ports import Artifacts, Pool
from alframe.types import UNANNOTATED, AnswerRecord, ArtifactRef, Box, LabelMap, Outcome

__all__ = [
    "CommittedLabels",
    "Placed",
    "compose",
    "compose_by_rater",
    "compose_contours",
    "contour_target",
    "contour_length",
    "label_arrays",
]

CONTOUR_RADIUS = 3
"""Pixels on each side of a border that count as contour (the disk of the DCAN targets)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """One answer's label map and where it lies: `labels` has the shape of `box`."""

    rater: str
    box: Box
    labels: LabelMap


def compose(shape: Sequence[int], answers: Sequence[Placed], *, instances: bool = False) -> LabelMap:
    """Compose answers, given in commit order, into the label map of an item of spatial `shape`.

    With `instances`, each pixel takes the object number from the earliest rater who voted for the winning class.
    """
    canvases = list(compose_by_rater(shape, answers, instances=instances).values())
    if not canvases:
        return LabelMap.blank(shape, instances=instances)
    if len(canvases) == 1:
        return canvases[0]
    classes = majority([canvas.classes for canvas in canvases])
    if not instances:
        return LabelMap(classes=classes)
    objects = np.zeros(classes.shape, np.int32)
    for canvas in reversed(canvases):
        agree = (canvas.classes == classes) & (classes != UNANNOTATED)
        assert canvas.instances is not None
        objects[agree] = canvas.instances[agree]
    return LabelMap(classes=classes, instances=objects)


def compose_by_rater(
    shape: Sequence[int], answers: Sequence[Placed], *, instances: bool = False
) -> dict[str, LabelMap]:
    """Each rater's own label map from answers in commit order; raters in the order of their first answers."""
    per_rater: dict[str, LabelMap] = {}
    for answer in answers:
        canvas = per_rater.setdefault(answer.rater, LabelMap.blank(shape, instances=instances))
        _paint(canvas, answer)
    return per_rater


def _paint(canvas: LabelMap, answer: Placed) -> None:
    marked = answer.labels.annotated
    canvas.classes[answer.box.slices][marked] = answer.labels.classes[marked]
    if canvas.instances is not None and answer.labels.instances is not None:
        canvas.instances[answer.box.slices][marked] = answer.labels.instances[marked]


def contour_target(labels: LabelMap, *, radius: int = CONTOUR_RADIUS) -> NDArray[np.uint8]:
    """Contour target (S): 1 within `radius` of an object's border, else 0, 255 where not annotated.

    Sobel magnitude > 0 on the object numbers (on the classes where the task has none), dilated with a disk or ball
    (Li & Alstrøm 2020, DCAN targets). Pixels beyond the map's edge and unannotated pixels repeat their nearest
    annotated neighbour, so that the frame of a region is never taken for the border of an object.
    """
    annotated = labels.annotated
    target = np.full(labels.shape, UNANNOTATED, np.uint8)
    if not annotated.any():
        return target
    values = labels.classes.astype(np.int32) if labels.instances is None else labels.instances
    if not annotated.all():
        nearest = ndimage.distance_transform_edt(~annotated, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    # a Sobel response is zero exactly where the 3^D neighbourhood is balanced; the range filter has no such blind spots
    span = ndimage.maximum_filter(values, 3, mode="nearest") > ndimage.minimum_filter(values, 3, mode="nearest")
    near = ndimage.distance_transform_edt(~span) <= radius if span.any() else span
    target[annotated] = near[annotated]
    return target


def compose_contours(shape: Sequence[int], answers: Sequence[Placed]) -> NDArray[np.uint8]:
    """Contour target of an item, taken answer by answer: the seam between two regions is no border of an object."""
    target = np.full(tuple(shape), UNANNOTATED, np.uint8)
    for answer in answers:
        part = contour_target(answer.labels)
        marked = part != UNANNOTATED
        target[answer.box.slices][marked] = part[marked]
    return target


def contour_length(labels: LabelMap) -> int:
    """Pixels of foreground that touch another class or object along an axis: a proxy for the clicks of an annotator."""
    values = labels.classes.astype(np.int32)
    values[values == UNANNOTATED] = 0
    if labels.instances is not None:
        values = np.where(values > 0, labels.instances, 0)
    border = np.zeros(values.shape, bool)
    for axis in range(values.ndim):
        ahead = [slice(None)] * values.ndim
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = values[tuple(ahead)] != values[tuple(behind)]
        border[tuple(ahead)] |= differs
        border[tuple(behind)] |= differs
    return int(np.count_nonzero(border & (values > 0)))


def label_arrays(labels: LabelMap) -> dict[str, NDArray[np.uint8] | NDArray[np.int32]]:
    """The arrays under which a label map is stored as an artifact: ``classes`` and, for objects, ``instances``."""
    if labels.instances is None:
        return {"classes": labels.classes}
    return {"classes": labels.classes, "instances": labels.instances}


@dataclass(frozen=True, kw_only=True, eq=False)
class CommittedLabels:
    """The :class:`~alframe.ports.Labels` of a campaign before some round: ledger rows plus the masks they name.

    `answers` are in commit order. `queried` are the boxes asked for, by item. Picklable: masks are read where needed.
    """

    pool: Pool
    artifacts: Artifacts
    answers: tuple[AnswerRecord, ...]
    queried: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)

    @cached_property
    def _by_item(self) -> dict[str, list[AnswerRecord]]:
        found: dict[str, list[AnswerRecord]] = {}
        for record in self.answers:
            found.setdefault(record.item, []).append(record)
        return found

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in ("pool", "artifacts", "answers", "queried")}

    def items(self) -> tuple[str, ...]:
        """Items with a mask, sorted; retired ones excluded."""
        return tuple(
            item
            for item in sorted(self._by_item)
            if not self.retired(item) and any(record.mask for record in self._by_item[item])
        )

    def labels(self, item: str) -> LabelMap:
        """The composed label map of `item` (all 255 when nothing was committed). Raises NotFound, ArtifactDamaged."""
        info = self.pool.info(item)
        return compose(info.shape, self._placed(item), instances=info.instances)

    def by_rater(self, item: str) -> dict[str, LabelMap]:
        """Each rater's composed label map of `item`."""
        info = self.pool.info(item)
        return compose_by_rater(info.shape, self._placed(item), instances=info.instances)

    def contours(self, item: str) -> NDArray[np.uint8]:
        """The composed contour target of `item`."""
        return compose_contours(self.pool.info(item).shape, self._placed(item))

    def history(self, item: str) -> tuple[Box, ...]:
        """Boxes queried before, in commit order."""
        return self.queried.get(item, ())

    def retired(self, item: str) -> bool:
        """Whether a rater called the item unusable."""
        return any(record.outcome is Outcome.UNUSABLE for record in self._by_item.get(item, ()))

    def annotated_pixels(self) -> int:
        """Pixels or voxels that carry a class, over all items: the union of all answers."""
        return sum(int(np.count_nonzero(self.labels(item).annotated)) for item in self._by_item)

    def rated_pixels(self) -> int:
        """Pixels or voxels that carry a class, added up over the answers: what the raters' work was."""
        return sum(
            int(np.count_nonzero(self._mask(one.mask).annotated)) for one in self.answers if one.mask is not None
        )

    def _placed(self, item: str) -> list[Placed]:
        return [
            Placed(rater=record.rater, box=record.box, labels=self._mask(record.mask))
            for record in self._by_item.get(item, ())
            if record.mask is not None
        ]

    def _mask(self, ref: ArtifactRef) -> LabelMap:
        arrays = self.artifacts.get_arrays(ref)
        return LabelMap(classes=arrays["classes"], instances=arrays.get("instances"))
