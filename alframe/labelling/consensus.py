"""Several raters' labels of one box: how much they agree, and the labels that stand for all of them. Pure functions.

``S`` are the spatial axes of the box; 255 marks pixels that a rater left open, which take no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import ndimage

from alframe.composition import Placed, compose
from alframe.types import UNANNOTATED, Box, LabelMap, Outcome

__all__ = ["agreement", "disagreement", "fused", "outcome_of", "with_objects"]


def agreement(one: LabelMap | None, other: LabelMap | None) -> float:
    """Agreement of two answers, 0 to 1: the Dice of each foreground class that either used, averaged (Dice 1945).

    Only pixels that both annotated count; two empty masks agree (1). None is an answer without labels: two of them agree,
    and none agrees with labels.
    """
    if one is None or other is None:
        return float(one is None and other is None)
    both = one.annotated & other.annotated
    a, b = one.classes[both], other.classes[both]
    used = [value for value in np.union1d(a, b) if value != 0]
    if not used:
        return 1.0
    return float(np.mean([2 * np.sum((a == v) & (b == v)) / (np.sum(a == v) + np.sum(b == v)) for v in used]))


def disagreement(answers: Sequence[LabelMap | None]) -> float:
    """1 − the mean of :func:`agreement` over all pairs; 0 for fewer than two answers."""
    pairs = [agreement(one, other) for one, other in combinations(answers, 2)]
    return 1.0 - float(np.mean(pairs)) if pairs else 0.0


def fused(labels: Mapping[str, LabelMap]) -> LabelMap:
    """The majority of each pixel over raters, in their order; ties go to the earliest of them (as in the pool's composition)."""
    first = next(iter(labels.values()))
    whole = Box.whole(first.shape)
    instances = all(one.instances is not None for one in labels.values())
    placed = [Placed(rater=rater, box=whole, labels=one) for rater, one in labels.items()]
    return compose(first.shape, placed, instances=instances)


def outcome_of(labels: LabelMap) -> Outcome:
    """What these labels say: something, nothing, or (when every pixel was left open) that it cannot be told."""
    marked = labels.classes[labels.annotated]
    if marked.size == 0:
        return Outcome.AMBIGUOUS
    return Outcome.LABELED if np.any(marked != 0) else Outcome.EMPTY_CONFIRMED


def with_objects(labels: LabelMap) -> LabelMap:
    """`labels` with object numbers: those it has, else the connected pieces of each foreground class (sharing an edge or face)."""
    if labels.instances is not None:
        return labels
    numbers = np.zeros(labels.shape, np.int32)
    count = 0
    for value in np.unique(labels.classes):
        if value in (0, UNANNOTATED):
            continue
        pieces, found = ndimage.label(labels.classes == value)
        numbers[pieces > 0] = pieces[pieces > 0] + count
        count += found
    return replace(labels, instances=numbers)
