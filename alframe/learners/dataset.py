"""Training patches from partly labelled items: every patch holds an annotated pixel, none is invented.

Legend: ``C`` channels, ``S`` spatial axes ``(Z) Y X``, ``D`` their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.learners.normalise import Affine, intensity_affine, white_level
from alframe.learners.settings import NormaliseKind
from alframe.ports import FitTask, Pool
from alframe.types import UNANNOTATED, Box

__all__ = ["Patch", "TrainingSet"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """A piece of one item: raw `image` (C, S; float32, as ingested), `classes` and `contours` (S; uint8, 255 = no loss), and, where
    asked for, each rater's own classes in `raters` (one map a rater of this item)."""

    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    contours: NDArray[np.uint8] | None
    affine: Affine
    raters: tuple[NDArray[np.uint8], ...] = ()


class PixelIndex:
    """The n-th set pixel of a mask (S), found by counts per row instead of a list of all pixels."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        rows = mask.reshape(-1, mask.shape[-1])
        self._ends = np.cumsum(rows.sum(1, dtype=np.int64))
        self._shape = mask.shape
        self.count = int(self._ends[-1])

    def find(self, position: int, mask: NDArray[np.bool_]) -> tuple[int, ...]:
        """Coordinates of the set pixel number `position` in C order of the `mask` the index was made from."""
        row = int(np.searchsorted(self._ends, position, side="right"))
        before = int(self._ends[row - 1]) if row else 0
        column = int(np.flatnonzero(mask.reshape(-1, mask.shape[-1])[row])[position - before])
        outer = np.unravel_index(row, self._shape[:-1])
        return (*(int(axis) for axis in outer), column)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Item:
    id: str
    classes: NDArray[np.uint8]
    contours: NDArray[np.uint8] | None
    annotated: PixelIndex
    foreground: PixelIndex
    affine: Affine
    image: NDArray[Any] | None
    raters: tuple[NDArray[np.uint8], ...]


class TrainingSet:
    """The annotated items of a task, in memory up to a limit; the images beyond it are read patch by patch."""

    def __init__(
        self, task: FitTask, *, normalise: NormaliseKind, contours: bool, cache_mib: int, raters: bool = False
    ) -> None:
        """With `raters` the patches carry the raters' own labels too. Raises InvalidValue when nothing is annotated."""
        self._pool: Pool = task.pool
        self._items: list[_Item] = []
        self.white: float | None = None
        budget = cache_mib * 2**20
        for name in task.labels.items():
            classes = task.labels.labels(name).classes
            known = classes != UNANNOTATED
            if not known.any():
                continue
            image = task.pool.image(name)
            budget -= image.nbytes
            self.white = white_level(image.dtype)
            self._items.append(
                _Item(
                    id=name,
                    classes=classes,
                    contours=task.labels.contours(name) if contours else None,
                    annotated=PixelIndex(known),
                    foreground=PixelIndex(known & (classes > 0)),
                    affine=intensity_affine(image, normalise),
                    image=image if budget >= 0 else None,
                    raters=tuple(own.classes for own in task.labels.by_rater(name).values()) if raters else (),
                )
            )
        if not self._items:
            raise InvalidValue(
                "training needs at least one annotated pixel, the labels have none; label some items first"
            )

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"TrainingSet({', '.join(item.id for item in self._items)})"  # the same in every process

    @cached_property
    def rater_pixels(self) -> int:
        """Annotated pixels of all raters' maps, each map counted (0 when they were not asked for)."""
        return sum(int((own != UNANNOTATED).sum()) for item in self._items for own in item.raters)

    @property
    def raters(self) -> int:
        """The most raters of any item (0 when they were not asked for)."""
        return max(len(item.raters) for item in self._items)

    def draw(
        self, rng: np.random.Generator, *, patch: Sequence[int], source: Sequence[int], foreground: float
    ) -> Patch:
        """A random piece of shape `source` (S), centred on a patch of shape `patch` that holds an annotated pixel.

        Each annotated pixel is equally likely to be the one sought; with probability `foreground` only those of other
        classes than background are. The patch lies within the item where it fits; beyond the item the image is
        mirrored.
        """
        wanted = rng.random() < foreground
        counts = np.array([(item.foreground if wanted else item.annotated).count for item in self._items])
        if counts.sum() == 0:
            counts, wanted = np.array([item.annotated.count for item in self._items]), False
        ends = np.cumsum(counts)
        position = int(rng.integers(ends[-1]))
        number = int(np.searchsorted(ends, position, side="right"))
        item = self._items[number]
        position -= int(ends[number - 1]) if number else 0
        mask = item.classes != UNANNOTATED
        if wanted:
            mask &= item.classes > 0
        pixel = (item.foreground if wanted else item.annotated).find(position, mask)
        start = []
        for at, side, extent in zip(pixel, patch, item.classes.shape, strict=True):
            if side >= extent:
                start.append(-((side - extent) // 2))
            else:
                start.append(int(np.clip(at - rng.integers(side), 0, extent - side)))
        corner = [a - (wide - side) // 2 for a, wide, side in zip(start, source, patch, strict=True)]
        return self._cut(item, corner, source)

    def _cut(self, item: _Item, corner: Sequence[int], shape: Sequence[int]) -> Patch:
        """The piece of `item` at `corner`, which may lie outside: the image mirrored, the labels unannotated."""
        extent = item.classes.shape
        low = [min(max(a, 0), n - 1) for a, n in zip(corner, extent, strict=True)]
        high = [max(min(a + side, n), 1) for a, side, n in zip(corner, shape, extent, strict=True)]
        box = Box(start=tuple(low), stop=tuple(high))
        pad = [(a - c, c + side - b) for a, b, c, side in zip(low, high, corner, shape, strict=True)]
        image = self._pool.image(item.id, box) if item.image is None else item.image[(slice(None), *box.slices)]
        outside = any(before or after for before, after in pad)
        image = np.pad(image, [(0, 0), *pad], mode="symmetric") if outside else image

        def cut(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            inner = labels[box.slices]
            return np.pad(inner, pad, constant_values=UNANNOTATED) if outside else inner

        return Patch(
            image=image.astype(np.float32),
            classes=cut(item.classes),
            contours=None if item.contours is None else cut(item.contours),
            affine=item.affine,
            raters=tuple(cut(labels) for labels in item.raters),
        )
