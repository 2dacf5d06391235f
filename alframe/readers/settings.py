"""How a data set on disk is described: which files, which raters, which classes, which splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from alframe.errors import InvalidValue
from alframe.types import UNANNOTATED

__all__ = ["IGNORE", "DataSettings", "Limits", "SplitSettings"]

IGNORE = "ignore"
"""Name for `values` that stands for no class: such pixels count as not annotated (255)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may at most decode to; checked on the header, before anything is decoded."""

    pixels: int = 500_000_000
    megabytes: int = 4096

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.megabytes < 1:
            raise InvalidValue(f"limits must be at least 1, got pixels={self.pixels}, megabytes={self.megabytes}")

    @property
    def bytes(self) -> int:
        """The byte limit."""
        return self.megabytes * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How items are divided, once and for all. Items of one group stay together.

    With a CSV that has the column `column`, its values count (`names` maps other words to ``train``, ``val``, ``test``);
    if it names no validation item, the share `validation` of the training items is carved from them by group. Otherwise the
    fractions `train`, `val`, `test` hold. `shared_groups` allows a group in several splits of the CSV: some published
    splits do that, and their test figures are then optimistic.

    Raises:
        InvalidValue: when the fractions are not a division into parts, or a name maps to no split.
    """

    column: str = "split"
    names: Mapping[str, str] = field(default_factory=dict)
    train: float = 0.7
    val: float = 0.15
    test: float = 0.15
    validation: float = 0.15
    seed: int = 0
    shared_groups: bool = False

    def __post_init__(self) -> None:
        parts = (self.train, self.val, self.test)
        if min(parts) < 0 or self.train <= 0 or not math.isclose(sum(parts), 1, abs_tol=1e-6):
            raise InvalidValue(f"train, val and test must be fractions that sum to 1 with train > 0, got {parts}")
        if not 0 <= self.validation < 1:
            raise InvalidValue(f"validation must be a fraction in [0, 1), got {self.validation}")
        wrong = sorted(set(self.names.values()) - {"train", "val", "test"})
        if wrong:
            raise InvalidValue(f"split names must map to train, val or test, got {wrong}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """A data set to ingest.

    Without `manifest`, `images` and `masks` are globs below `root`; the id of an image is its file name without the suffix, or
    what ``{id}`` stands for in the pattern, and a mask belongs to the image with its id. With `manifest` (a CSV: ``id`` or
    ``name``, then ``image``, ``mask`` or ``mask:<rater>``, ``group``, ``split``), the patterns are optional and may name
    its columns: ``images/{id}.png``.

    `masks` is one pattern (the rater is then called ``expert``) or a mapping from rater to pattern. `masks_required` says
    whether each item needs a mask by ``all`` of them, by ``any``, or by ``none``. `values` maps pixel values of masks to
    class names, class ids or ``ignore``; without it the values are class ids. With `instances` mask values are object
    numbers: 0 is background, everything else is class 1. `axes` gives the order on disk where the format does not say it
    (``YX``, ``YXC``, ``CYX``, ``ZYX``, ``XYZ`` …). `spacing` is in ``(Z) Y X`` and overrides the files'. `groups` is a
    column of the CSV or a regular expression with one group, searched in the id.

    Raises:
        InvalidValue: when fields contradict each other.
    """

    classes: tuple[str, ...]
    root: str = "."
    images: str = ""
    masks: str | Mapping[str, str] = ""
    masks_required: Literal["all", "any", "none"] = "all"
    manifest: str = ""
    values: Mapping[int, int | str] = field(default_factory=dict)
    instances: bool = False
    axes: str = ""
    spacing: tuple[float, ...] = ()
    groups: str = ""
    splits: SplitSettings = field(default_factory=SplitSettings)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._check_classes()
        if not self.images and not self.manifest:
            raise InvalidValue("data needs `images` (a glob) or `manifest` (a CSV file), got neither")
        if isinstance(self.masks, Mapping) and not all(self.masks):
            raise InvalidValue("a rater in `masks` has an empty name")
        letters = set(self.axes)
        if self.axes and (len(letters) != len(self.axes) or not {"Y", "X"} <= letters <= set("CZYX")):
            raise InvalidValue(f"axes are Y and X with at most one Z and one C, each once, got {self.axes!r}")
        if any(not math.isfinite(step) or step <= 0 for step in self.spacing):
            raise InvalidValue(f"spacing must be positive numbers, got {self.spacing}")

    def _check_classes(self) -> None:
        names = self.classes
        if not 2 <= len(names) <= UNANNOTATED or len(set(names)) != len(names) or not all(names) or IGNORE in names:
            expected = f"2 to {UNANNOTATED} different names, background first, none of them {IGNORE!r}"
            raise InvalidValue(f"classes must be {expected}, got {names}")
        for value, meaning in self.values.items():
            known = meaning == IGNORE or (meaning in names if isinstance(meaning, str) else 0 <= meaning < len(names))
            if not known:
                raise InvalidValue(f"values: {value} is mapped to {meaning!r}, which is no class of {names}")
            if self.instances and meaning != IGNORE:
                raise InvalidValue(
                    f"with `instances`, values may only name numbers to {IGNORE}, got {value}: {meaning!r}"
                )
        if self.instances and len(names) != 2:
            raise InvalidValue(f"with `instances` there are two classes, background and the objects', got {names}")

    @property
    def class_ids(self) -> dict[int, int]:
        """`values` as pixel value → class id (255 for ``ignore``)."""
        ids = {name: index for index, name in enumerate(self.classes)} | {IGNORE: UNANNOTATED}
        return {value: ids[meaning] if isinstance(meaning, str) else meaning for value, meaning in self.values.items()}
