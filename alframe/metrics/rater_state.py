"""The mergeable state behind the metrics of several raters.

Legend: ``N`` items, ``R`` raters, ``C`` classes, ``F`` fine bins. The last axis (2) of each array is the exact pair of
:mod:`alframe.metrics.exact`.
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

__all__ = ["ITEM_SUMS", "RATER_SUMS", "RaterSpec", "RaterState"]

ITEM_SUMS = (
    "seen",
    "energies",
    "ncc",
    "ncc_defined",
    "agreement",
    "agreement_defined",
    "compared",
    "disagreement",
    "uncertainty",
    "foreground",
)
"""Of each item: how often it was seen and its GED² was defined, and sum and number of its two correlations. `compared` counts
sights with two raters or more; the sums of their disagreement, mean uncertainty and mean foreground share follow."""
RATER_SUMS = ("pixels", "nll", "brier")
_PER_ITEM, _PER_RATER, _POOLED = ("scores", "energy"), ("likelihood", "overlap"), ("top",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterSpec:
    """How raters are compared with a model: `samples` N of GED², and the class names and bins of the ordinary metrics.

    Raises:
        InvalidValue: as MetricSpec, and for fewer than one sample.
    """

    classes: tuple[str, ...]
    bins: int = 10
    samples: int = 50

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InvalidValue(f"GED² needs at least 1 sample, got {self.samples}")
        MetricSpec(classes=self.classes, bins=self.bins)

    @property
    def fine_bins(self) -> int:
        """As :attr:`alframe.metrics.MetricSpec.fine_bins`."""
        return MetricSpec(classes=self.classes, bins=self.bins).fine_bins


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaterState:
    """Sums over items and raters: a commutative monoid under :meth:`merge`, exact to the last bit.

    Rows follow `items` and `raters`, both sorted. `scores` (N, 10: see ``ITEM_SUMS``), `energy` (N, C − 1: Σ GED² of each
    foreground class), `likelihood` (R, 3: see ``RATER_SUMS``), `overlap` (R, C, 3: intersection, predicted, drawn), `top` (F, 3:
    count, Σ confidence, Σ correct over pixels and raters). All int64 with a last axis of 2.
    """

    spec: RaterSpec
    items: tuple[str, ...]
    raters: tuple[str, ...]
    scores: NDArray[np.int64]
    energy: NDArray[np.int64]
    likelihood: NDArray[np.int64]
    overlap: NDArray[np.int64]
    top: NDArray[np.int64]

    @classmethod
    def empty(cls, spec: RaterSpec) -> RaterState:
        """The neutral element: nothing observed."""
        classes = len(spec.classes)
        shapes = {
            "scores": (0, len(ITEM_SUMS)),
            "energy": (0, classes - 1),
            "likelihood": (0, len(RATER_SUMS)),
            "overlap": (0, classes, 3),
            "top": (spec.fine_bins, 3),
        }
        arrays = {name: np.zeros((*shape, 2), np.int64) for name, shape in shapes.items()}
        return cls(spec=spec, items=(), raters=(), **arrays)

    def merge(self, *others: RaterState) -> RaterState:
        """All observations of all states; sums of one item and of one rater add up.

        Raises:
            InvalidValue: when a state was made for another specification.
        """
        states = (self, *others)
        for other in others:
            if other.spec != self.spec:
                raise InvalidValue(f"states of different metrics cannot merge: {self.spec} and {other.spec}")
        items, of_items = _union([state.items for state in states])
        raters, of_raters = _union([state.raters for state in states])
        arrays = {name: _gather(states, name, len(items), of_items) for name in _PER_ITEM}
        arrays |= {name: _gather(states, name, len(raters), of_raters) for name in _PER_RATER}
        arrays |= {name: carry(np.sum([getattr(state, name) for state in states], axis=0)) for name in _POOLED}
        return RaterState(spec=self.spec, items=items, raters=raters, **arrays)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Numeric arrays that hold the whole state (text as UTF-8 bytes in uint8), for an artifact."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in (*_PER_ITEM, *_PER_RATER, *_POOLED)}
        return arrays | {
            "spec": _to_bytes(asdict(self.spec)),
            "items": _to_bytes(self.items),
            "raters": _to_bytes(self.raters),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> RaterState:
        """The inverse of :meth:`to_arrays`.

        Raises:
            InvalidValue: when an array is missing or has another shape than the specification implies.
        """
        names = (*_PER_ITEM, *_PER_RATER, *_POOLED)
        missing = sorted({"spec", "items", "raters", *names} - set(arrays))
        if missing:
            raise InvalidValue(f"a state of raters needs the arrays {missing}, got {sorted(arrays)}")
        fields = json.loads(arrays["spec"].tobytes())
        spec = RaterSpec(**fields | {"classes": tuple(fields["classes"])})
        rows = {name: tuple(json.loads(arrays[name].tobytes())) for name in ("items", "raters")}
        neutral = cls.empty(spec)
        for name in names:
            like = getattr(neutral, name).shape
            count = {"items": _PER_ITEM, "raters": _PER_RATER}
            first = next((len(rows[kind]) for kind, members in count.items() if name in members), like[0])
            if arrays[name].shape != (first, *like[1:]):
                raise InvalidValue(
                    f"state of raters: {name} must have the shape {(first, *like[1:])}, got {arrays[name].shape}"
                )
        return cls(spec=spec, **rows, **{name: np.asarray(arrays[name], np.int64) for name in names})  # type: ignore[arg-type]


def _union(groups: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """All names, sorted, and the row of each given one."""
    names = tuple(sorted({name for group in groups for name in group}))
    row = {name: position for position, name in enumerate(names)}
    return names, np.array([row[name] for group in groups for name in group], np.intp)


def _gather(states: Sequence[RaterState], name: str, count: int, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    parts = [getattr(state, name) for state in states]
    out = np.zeros((count, *parts[0].shape[1:]), np.int64)
    np.add.at(out, rows, np.concatenate(parts))
    return carry(out)


def _to_bytes(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value, sort_keys=True).encode(), np.uint8)
