"""Values that travel between the rooms: frozen, keyword-only, validated at birth.

Legend of the shape suffixes used in the whole package: ``C`` classes or channels, ``S`` the spatial axes ``(Z) Y X``,
``D`` the number of spatial axes (2 or 3), ``N`` rows of a table, ``M`` members or stochastic passes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue

__all__ = [
    "UNANNOTATED",
    "Answer",
    "AnswerRecord",
    "ArtifactRef",
    "Bin",
    "Box",
    "Candidates",
    "Compute",
    "Confusion",
    "Intensities",
    "ItemInfo",
    "LabelMap",
    "Metric",
    "Outcome",
    "Phase",
    "Query",
    "Split",
    "display_window",
    "query_id",
]

UNANNOTATED = 255
"""The class value of a pixel or voxel that nobody annotated; it gives no loss and enters no metric."""


class Split(StrEnum):
    """Where an item belongs; frozen at ingest."""

    TRAIN = "train"
    VALIDATION = "val"
    TEST = "test"


class Outcome(StrEnum):
    """What a rater said about a query."""

    LABELED = "labeled"
    EMPTY_CONFIRMED = "empty_confirmed"
    AMBIGUOUS = "ambiguous"
    UNUSABLE = "unusable"
    SKIPPED = "skipped"

    @property
    def carries_label(self) -> bool:
        """Whether an answer with this outcome has a mask that may train a model."""
        return self in (Outcome.LABELED, Outcome.EMPTY_CONFIRMED)


class Phase(StrEnum):
    """The states of a round, in the order in which they are reached and persisted."""

    PLANNED = "planned"
    TRAINED = "trained"
    SCORED = "scored"
    SELECTED = "selected"
    ASKED = "asked"
    LABELLED = "labelled"
    COMMITTED = "committed"
    CALIBRATED = "calibrated"
    DONE = "done"

    @property
    def order(self) -> int:
        """Position in the round, from 0."""
        return list(Phase).index(self)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Box:
    """A half-open region ``[start, stop)`` of an item, in level-0 pixels or voxels, axes ``(Z) Y X``.

    Raises:
        InvalidValue: when the corners differ in length, are negative, or enclose nothing.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.start) != len(self.stop) or not self.start:
            raise InvalidValue(f"a box needs two corners of one length, got start={self.start}, stop={self.stop}")
        if any(a < 0 or b <= a for a, b in zip(self.start, self.stop, strict=True)):
            raise InvalidValue(f"a box needs 0 <= start < stop on every axis, got start={self.start}, stop={self.stop}")

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """The box that covers an item of spatial `shape`."""
        return cls(start=(0,) * len(shape), stop=tuple(int(n) for n in shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of pixels or voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index for an array whose last axes are the item's spatial axes: ``array[..., *box.slices]``."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def overlap(self, other: Box) -> int:
        """Pixels or voxels common to both boxes of one item (0 when disjoint)."""
        sides = [
            min(b, d) - max(a, c) for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True)
        ]
        return math.prod(sides) if all(side > 0 for side in sides) else 0

    def within(self, shape: Sequence[int]) -> bool:
        """Whether the box lies inside an item of spatial `shape`."""
        return len(shape) == len(self.stop) and all(b <= n for b, n in zip(self.stop, shape, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemInfo:
    """What the pool knows of one image or volume without reading its pixels.

    `shape` is spatial (``(Z) Y X``), `spacing` in the same axes (millimetres or micrometres, 1.0 when unknown), `group`
    the patient or slide that splits never separate, `raters` the names whose truth was ingested (may be empty),
    `instances` whether that truth tells objects of one class apart. `affine` places the grid in space: the first three rows,
    row by row, of the matrix from a voxel's (x, y, z, 1) to millimetres as NIfTI has it; empty when the files do not say.
    """

    id: str
    shape: tuple[int, ...]
    channels: int
    dtype: str
    split: Split
    group: str
    spacing: tuple[float, ...] = ()
    affine: tuple[float, ...] = ()
    raters: tuple[str, ...] = ()
    instances: bool = False

    def to_world(self, start: Sequence[int] = ()) -> NDArray[np.float64]:
        """The matrix (4, 4) from a voxel's (x, y, z, 1), counted from `start` (S), to millimetres.

        Where `affine` is unknown, the axes are those of the grid and the item's first voxel is the origin.
        """
        matrix = np.eye(4)
        if self.affine:
            matrix[:3] = np.reshape(self.affine, (3, 4))
        elif self.spacing:
            matrix[range(len(self.spacing)), range(len(self.spacing))] = self.spacing[::-1]
        offset = np.zeros(4)
        offset[: len(start)] = list(start)[::-1]
        matrix[:, 3] += matrix @ offset
        return matrix

    @property
    def size(self) -> int:
        """Number of pixels or voxels."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensities:
    """The values that one channel of an item has, in the image's own units: the least, the 1st and 99th percentile, the greatest.

    Of an item without a finite value all four are 0.
    """

    minimum: float
    low: float
    high: float
    maximum: float


def display_window(info: ItemInfo, channels: Sequence[Intensities]) -> tuple[float, float]:
    """What of an item is shown black and what white: all of 8-bit colour, else the 1st and 99th percentile of what is shown.

    Three channels are shown in colour, of any other number the first.
    """
    if info.channels == 3 and info.dtype == "uint8":
        return 0.0, 255.0
    shown = channels[:3] if info.channels == 3 else channels[:1]
    return min(one.low for one in shown), max(one.high for one in shown)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMap:
    """Classes per pixel, and object numbers where objects of one class are told apart.

    `classes` is ``uint8`` of shape ``S`` (255 = not annotated); `instances` is ``int32`` of the same shape
    (0 = no object), or None when the task has no objects.

    Raises:
        InvalidValue: on another dtype or on shapes that differ.
    """

    classes: NDArray[np.uint8]
    instances: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.classes.dtype != np.uint8:
            raise InvalidValue(f"label classes must be uint8, got {self.classes.dtype}")
        if self.instances is not None:
            if self.instances.dtype != np.int32:
                raise InvalidValue(f"label instances must be int32, got {self.instances.dtype}")
            if self.instances.shape != self.classes.shape:
                raise InvalidValue(f"instances {self.instances.shape} and classes {self.classes.shape} differ in shape")

    @classmethod
    def blank(cls, shape: Sequence[int], *, instances: bool = False) -> LabelMap:
        """A map on which nothing is annotated."""
        objects = np.zeros(shape, np.int32) if instances else None
        return cls(classes=np.full(shape, UNANNOTATED, np.uint8), instances=objects)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.classes.shape

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """Which pixels carry a class."""
        return np.asarray(self.classes != UNANNOTATED)

    def crop(self, box: Box) -> LabelMap:
        """The part inside `box` (a copy)."""
        objects = None if self.instances is None else self.instances[box.slices].copy()
        return LabelMap(classes=self.classes[box.slices].copy(), instances=objects)


def query_id(campaign: str, item: str, box: Box, *, again: int = 0) -> str:
    """The idempotency key of a query: one campaign puts one box of one item to its raters at most once.

    `again` numbers further queries about the same box, which ask other raters for their opinion.
    """
    text = f"{len(campaign)}:{campaign}/{len(item)}:{item}/{box.start}/{box.stop}" + (
        f"/again {again}" if again else ""
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A region (or a whole item) that somebody should label.

    `score` is the acquisition function's value (higher = more informative), `rank` its place in the batch from 0,
    `raters` the raters it is meant for (empty = anyone), `replicas` how many independent answers are wanted.
    `prefill` names the arrays ``classes`` (uint8 S) and ``uncertainty`` (float16 S) shown to the rater and ``mean`` (float32
    C S), the predicted probabilities before the answer; None before the first model exists.
    """

    id: str
    item: str
    box: Box
    score: float
    rank: int
    raters: tuple[str, ...] = ()
    replicas: int = 1
    prefill: ArtifactRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What one rater said about one query; `labels` has the box's shape and is None when the outcome carries none.

    `seconds` is the rater's active time (None when unknown; simulated raters give None).
    """

    query: str
    rater: str
    outcome: Outcome
    labels: LabelMap | None = None
    seconds: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.outcome.carries_label != (self.labels is not None):
            raise InvalidValue(
                f"answer to {self.query} by {self.rater}: outcome {self.outcome} "
                f"{'needs' if self.outcome.carries_label else 'cannot have'} a label map"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """Immutable bytes in the artifact store, named by their SHA-256 (hex)."""

    kind: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """An answer as the ledger keeps it: its pixels are in the artifact store under `mask` (None when it carries none).

    `sequence` is the commit order within the campaign, from 0; `round` the round whose query it answers.
    """

    sequence: int
    round: int
    query: str
    item: str
    box: Box
    rater: str
    outcome: Outcome
    mask: ArtifactRef | None
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """A table of boxes that a strategy could query, one row each, for any number of items.

    `item` (N, unicode), `start` and `stop` (N, D; int32), `score` (N; float64, higher = more informative), `stratum` (N; int8):
    strategies that divide their budget (classes, random strata) number the parts from 0; others leave 0 everywhere.
    All items of one table have the same number of spatial axes.

    Raises:
        InvalidValue: when the columns disagree in length.
        NonFiniteError: is *not* raised here; strategies check scores where item and measure are known.
    """

    item: NDArray[np.str_]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    score: NDArray[np.float64]
    stratum: NDArray[np.int8]

    def __post_init__(self) -> None:
        lengths = {len(self.item), len(self.start), len(self.stop), len(self.score), len(self.stratum)}
        if len(lengths) != 1 or self.start.shape != self.stop.shape or self.start.ndim != 2:
            raise InvalidValue(f"candidate columns disagree: lengths {sorted(lengths)}, start {self.start.shape}")

    def __len__(self) -> int:
        return len(self.item)

    @classmethod
    def empty(cls, axes: int) -> Candidates:
        """A table without rows for items of `axes` spatial axes."""
        corners = np.zeros((0, axes), np.int32)
        return cls(item=np.zeros(0, "U1"), start=corners, stop=corners, score=np.zeros(0), stratum=np.zeros(0, np.int8))

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """One table with the rows of all `parts` (at least one), in their order."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__})

    def take(self, rows: NDArray[np.intp] | Sequence[int]) -> Candidates:
        """The rows at the given positions, in that order."""
        index = np.asarray(rows, np.intp)
        return Candidates(**{name: getattr(self, name)[index] for name in self.__slots__})

    def box(self, row: int) -> Box:
        """The box of one row."""
        return Box(
            start=tuple(int(v) for v in self.start[row]),
            stop=tuple(int(v) for v in self.stop[row]),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """Flat columns for a Parquet table: ``item``, ``start_0`` …, ``stop_0`` …, ``score``, ``stratum``."""
        axes = range(self.start.shape[1])
        corners = {f"start_{d}": self.start[:, d] for d in axes} | {f"stop_{d}": self.stop[:, d] for d in axes}
        return {"item": self.item, **corners, "score": self.score, "stratum": self.stratum}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Candidates:
        """The inverse of :meth:`columns`."""
        axes = sum(name.startswith("start_") for name in columns)
        rows = len(columns["score"])
        corner = {
            side: np.stack([columns[f"{side}_{d}"] for d in range(axes)], axis=1).astype(np.int32).reshape(rows, axes)
            for side in ("start", "stop")
        }
        return cls(
            item=np.asarray(columns["item"], dtype=np.str_),
            start=corner["start"],
            stop=corner["stop"],
            score=np.asarray(columns["score"], np.float64),
            stratum=np.asarray(columns["stratum"], np.int8),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number, with the convention it was computed under.

    `scope` says where (``test``, ``val``, ``acquired``, ``pool``, ``campaign``), `label` which class (empty = all),
    `statistic` how items were combined (``pooled`` sums over pixels; ``mean``, ``p10``, ``p90`` over items). `value` is None
    where the metric is undefined (an empty set), never NaN.
    """

    name: str
    value: float | None
    convention: str
    label: str = ""
    statistic: str = "pooled"
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bin of a reliability diagram: `count` pixels with confidences summing to `confidence` and `correct` hits."""

    index: int
    lower: float
    upper: float
    count: float
    confidence: float
    correct: float
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """On how many `pixels` a rater chose class `chosen` where the majority of the other raters was `agreed`."""

    rater: str
    agreed: int
    chosen: int
    pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Where a function on a worker computes: torch device, intra-op threads, and ``fp32``, ``bf16`` or ``fp16``."""

    device: str = "cpu"
    threads: int = 1
    precision: str = "fp32"
