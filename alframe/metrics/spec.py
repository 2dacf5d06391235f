"""What to measure and under which convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alframe.errors import InvalidValue
from alframe.types import UNANNOTATED

__all__ = ["Binning", "BothEmpty", "MetricSpec"]

Binning = Literal["equal_width", "equal_mass"]
BothEmpty = Literal["one", "nan"]

_FINE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """Which metrics are computed, and their conventions.

    `classes` are the class names (position = class id, position 0 = background). `bins` confidence bins over [0, 1] of
    equal width, or of equal mass (cut from a fine histogram, so that they still merge). `both_empty` is the Dice and
    Jaccard of a class that neither the prediction nor the truth holds: 1, or left out and counted. `objects` turns on
    the object metrics; `min_object` is the smallest predicted object that is kept (pixels or voxels).

    Raises:
        InvalidValue: on fewer than two classes, repeated names, or a number out of its range.
    """

    classes: tuple[str, ...]
    bins: int = 10
    binning: Binning = "equal_width"
    both_empty: BothEmpty = "one"
    objects: bool = False
    min_object: int = 64

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= UNANNOTATED or len(set(self.classes)) != len(self.classes):
            raise InvalidValue(f"metrics need 2 to {UNANNOTATED} different class names, got {self.classes}")
        if not 1 <= self.bins <= _FINE:
            raise InvalidValue(f"bins must lie in 1..{_FINE}, got {self.bins}")
        if self.binning not in ("equal_width", "equal_mass"):
            raise InvalidValue(f"binning must be equal_width or equal_mass, got {self.binning!r}")
        if self.both_empty not in ("one", "nan"):
            raise InvalidValue(f"both_empty must be one or nan, got {self.both_empty!r}")
        if self.min_object < 0:
            raise InvalidValue(f"min_object must not be negative, got {self.min_object}")

    @property
    def fine_bins(self) -> int:
        """Bins of the fine histogram: at least 1000, and a multiple of `bins` so that equal-width bins are unions of them."""
        return self.bins * -(-_FINE // self.bins)

    @property
    def class_bins(self) -> int:
        """Bins of the one-vs-rest histograms."""
        return self.bins if self.binning == "equal_width" else self.fine_bins
