"""How good raters are, as far as other raters of the same pixels can tell.

Legend: ``R`` raters, ``C`` classes, ``S`` the spatial axes ``(Z) Y X`` of a box. A rater's map is ``uint8``, 255 where that rater
said nothing. Nobody is judged by a consensus that holds the own vote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.metrics.fusion import staple, staple_applies
from alframe.types import UNANNOTATED

__all__ = ["RaterQuality", "consensus_of_others", "rater_quality"]

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaterQuality:
    """One rater against the others, over the `boxes` that somebody else labelled too.

    `confusion` (C, C) counts pixels by (the others' majority, the rater's choice). `agreement` is the mean over boxes of the Dice
    with that majority (mean of the foreground classes, both empty = 1). `sensitivity` and `specificity` are STAPLE's, means over
    the boxes and foreground classes where it applies; None where there was none.
    """

    rater: str
    boxes: int
    agreement: float
    confusion: NDArray[np.int64]
    sensitivity: float | None
    specificity: float | None


def consensus_of_others(maps_RS: Labels, rater: int, *, classes: int) -> Labels:
    """The class that most of the others chose (S); 255 where they are tied, or none of them said anything."""
    others = np.delete(maps_RS, rater, axis=0)
    votes_CS = np.stack([(others == c).sum(axis=0) for c in range(classes)])
    best = votes_CS.argmax(axis=0)
    top = votes_CS.max(axis=0)
    clear = (top > 0) & ((votes_CS == top).sum(axis=0) == 1)
    return np.where(clear, best, UNANNOTATED).astype(np.uint8)


class _Tally:
    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.dice: list[float] = []
        self.staple: list[tuple[float, float]] = []


def rater_quality(boxes: Iterable[Mapping[str, Labels]], *, classes: int) -> tuple[RaterQuality, ...]:
    """The quality of every rater who shares a pixel with another one, by name. `boxes` holds each rater's map (S) of a box."""
    tallies: dict[str, _Tally] = {}
    for box in boxes:
        spoke = sorted(name for name, labels in box.items() if np.any(labels != UNANNOTATED))
        if len(spoke) < 2:
            continue
        maps_RS = np.stack([box[name] for name in spoke])
        for r, name in enumerate(spoke):
            confusion = _confusion(consensus_of_others(maps_RS, r, classes=classes), maps_RS[r], classes)
            if confusion.any():
                tally = tallies.setdefault(name, _Tally(classes))
                tally.confusion += confusion
                tally.dice.append(_dice(confusion))
        for c in range(1, classes):
            if staple_applies(maps_RS, label=c):
                found = staple(maps_RS, label=c)
                for name, one, two in zip(spoke, found.sensitivity, found.specificity, strict=True):
                    tallies.setdefault(name, _Tally(classes)).staple.append((float(one), float(two)))
    return tuple(_quality(name, tallies[name]) for name in sorted(tallies) if tallies[name].dice)


def _confusion(agreed_S: Labels, chosen_S: Labels, classes: int) -> NDArray[np.int64]:
    known = (agreed_S != UNANNOTATED) & (chosen_S != UNANNOTATED)
    pairs = agreed_S[known].astype(np.intp) * classes + chosen_S[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _dice(confusion: NDArray[np.int64]) -> float:
    size = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(np.where(size > 0, 2 * confusion.diagonal() / np.maximum(size, 1), 1.0)[1:]))


def _quality(name: str, tally: _Tally) -> RaterQuality:
    means = np.mean(tally.staple, axis=0) if tally.staple else None
    return RaterQuality(
        rater=name,
        boxes=len(tally.dice),
        agreement=float(np.mean(tally.dice)),
        confusion=tally.confusion,
        sensitivity=None if means is None else float(means[0]),
        specificity=None if means is None else float(means[1]),
    )
