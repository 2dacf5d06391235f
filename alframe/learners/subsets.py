"""Disjoint, non-contradictory subsets of many raters' annotations: of each image, every subset holds at most one mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.composition import contour_target
from alframe.ports import Labels
from alframe.seeding import generator
from alframe.types import Box, LabelMap

__all__ = ["SubsetLabels", "subset_of"]


def subset_of(item: str, position: int, subsets: int, seed: int) -> int | None:
    """The subset that gets the mask of the item's rater number `position` (by first answer), or None beyond `subsets` raters.

    Each item has a random order of all subsets of its own, so that the masks of items with few raters spread evenly. It
    depends on item and seed alone: a mask keeps its subset when further raters answer.
    """
    order = generator("subsets", seed, item).permutation(subsets)
    return int(order[position]) if position < subsets else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubsetLabels:
    """The :class:`~alframe.ports.Labels` of subset number `subset` of `subsets`."""

    source: Labels
    subset: int
    subsets: int
    seed: int

    def items(self) -> tuple[str, ...]:
        """Items with a mask in this subset, sorted."""
        return tuple(item for item in self.source.items() if (own := self._own(item)) and own[1].annotated.any())

    def labels(self, item: str) -> LabelMap:
        """That mask; nothing is annotated when the subset has none of the item."""
        own = self._own(item)
        return own[1] if own else LabelMap.blank(self.source.labels(item).shape)

    def by_rater(self, item: str) -> Mapping[str, LabelMap]:
        """That mask under its rater's name."""
        own = self._own(item)
        return {own[0]: own[1]} if own else {}

    def contours(self, item: str) -> NDArray[np.uint8]:
        """The contour target of that mask."""
        return contour_target(self.labels(item))

    def history(self, item: str) -> tuple[Box, ...]:
        """Boxes that were queried."""
        return self.source.history(item)

    def retired(self, item: str) -> bool:
        """Whether the item is not to be used."""
        return self.source.retired(item)

    def _own(self, item: str) -> tuple[str, LabelMap] | None:
        for position, (rater, labels) in enumerate(self.source.by_rater(item).items()):
            if subset_of(item, position, self.subsets, self.seed) == self.subset:
                return rater, labels
        return None
