"""The mergeable state behind every metric.

Legend: ``N`` items, ``C`` classes, ``K`` bins, ``F`` fine bins, ``B`` one-vs-rest bins. The last axis (2) of each array is the
exact pair of :mod:`alframe.metrics.exact`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics.exact import carry
from alframe.metrics.spec import MetricSpec

__all__ = ["OBJECT_SUMS", "PIXEL_SUMS", "EvaluationState"]

PIXEL_SUMS = ("pixels", "pixels_with_log", "nll", "brier")
OBJECT_SUMS = (
    "true_positives",
    "truth_objects",
    "truth_area",
    "truth_dice",
    "truth_hausdorff",
    "found_objects",
    "found_area",
    "found_dice",
    "found_hausdorff",
    "alone",
)
_PER_ITEM = ("pixels", "item_bins", "overlap")
_POOLED = ("top", "classwise", "objects")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationState:
    """Sums over pixels and objects: a commutative monoid under :meth:`merge`, exact to the last bit.

    Per item (rows follow `items`, which is sorted): `pixels` (N, 4: count, count with log-probabilities, Σ−log p_y, Σ Brier),
    `item_bins` (N, K, 3: count, Σ confidence, Σ correct; equal width) and `overlap` (N, C, 3: intersection, predicted,
    true). Over all items: `top` (F, 3: as item_bins), `classwise` (C, B, 5: count, Σp, Σp², Σy, Σpy) and `objects`
    (10: see ``OBJECT_SUMS``). All int64 with a last axis of 2.
    """

    spec: MetricSpec
    items: tuple[str, ...]
    pixels: NDArray[np.int64]
    item_bins: NDArray[np.int64]
    overlap: NDArray[np.int64]
    top: NDArray[np.int64]
    classwise: NDArray[np.int64]
    objects: NDArray[np.int64]

    @classmethod
    def empty(cls, spec: MetricSpec) -> EvaluationState:
        """The neutral element: nothing observed."""
        classes = len(spec.classes)
        shapes = {
            "pixels": (0, len(PIXEL_SUMS)),
            "item_bins": (0, spec.bins, 3),
            "overlap": (0, classes, 3),
            "top": (spec.fine_bins, 3),
            "classwise": (classes, spec.class_bins, 5),
            "objects": (len(OBJECT_SUMS),),
        }
        arrays = {name: np.zeros((*shape, 2), np.int64) for name, shape in shapes.items()}
        return cls(spec=spec, items=(), **arrays)

    def merge(self, *others: EvaluationState) -> EvaluationState:
        """All observations of both (or all) states; sums of one item id add up. One call for many states is the fast way.

        Raises:
            InvalidValue: when a state was made for another specification.
        """
        states = (self, *others)
        for other in others:
            if other.spec != self.spec:
                raise InvalidValue(f"states of different metrics cannot merge: {self.spec} and {other.spec}")
        items = tuple(sorted({name for state in states for name in state.items}))
        position = {name: row for row, name in enumerate(items)}
        rows = np.array([position[name] for state in states for name in state.items], np.intp)
        arrays = {
            name: _add_rows(len(items), rows, [getattr(state, name) for state in states]) for name in _PER_ITEM
        } | {name: carry(np.sum([getattr(state, name) for state in states], axis=0)) for name in _POOLED}
        return EvaluationState(spec=self.spec, items=items, **arrays)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Numeric arrays that hold the whole state (text as UTF-8 bytes in uint8), for an artifact."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in (*_PER_ITEM, *_POOLED)}
        return arrays | {"spec": _to_bytes(asdict(self.spec)), "items": _to_bytes(self.items)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> EvaluationState:
        """The inverse of :meth:`to_arrays`.

        Raises:
            InvalidValue: when an array is missing or has another shape than the specification implies.
        """
        missing = sorted({"spec", "items", *_PER_ITEM, *_POOLED} - set(arrays))
        if missing:
            raise InvalidValue(f"an evaluation state needs the arrays {missing}, got {sorted(arrays)}")
        fields = json.loads(arrays["spec"].tobytes())
        spec = MetricSpec(**fields | {"classes": tuple(fields["classes"])})
        items = tuple(json.loads(arrays["items"].tobytes()))
        neutral = cls.empty(spec)
        for name in (*_PER_ITEM, *_POOLED):
            like = getattr(neutral, name).shape
            expected = (len(items), *like[1:]) if name in _PER_ITEM else like
            if arrays[name].shape != expected:
                raise InvalidValue(f"evaluation state: {name} must have the shape {expected}, got {arrays[name].shape}")
        return cls(
            spec=spec,
            items=items,
            **{name: np.asarray(arrays[name], np.int64) for name in (*_PER_ITEM, *_POOLED)},
        )


def _add_rows(count: int, rows: NDArray[np.intp], parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    out = np.zeros((count, *parts[0].shape[1:]), np.int64)
    np.add.at(out, rows, np.concatenate(parts))
    return carry(out)


def _to_bytes(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value, sort_keys=True).encode(), np.uint8)
