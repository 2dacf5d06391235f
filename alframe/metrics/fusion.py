"""One truth from several raters: the shares of their votes, the majority, or STAPLE.

Legend: ``R`` raters, ``C`` classes, ``S`` the spatial axes ``(Z) Y X``. A rater's map is ``uint8``, 255 where that rater said
nothing. Raw maps are always kept elsewhere: fusing throws away what raters disagree about.

Source: Warfield et al. 2004 (STAPLE), in SimpleITK's implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.types import UNANNOTATED

__all__ = ["FUSIONS", "Fusion", "Staple", "fuse", "majority", "staple", "staple_applies"]

Fusion: TypeAlias = Literal["majority", "staple"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
Labels = NDArray[np.uint8]

STAPLE_RATERS = 3
"""Fewer raters than this give no estimate of their quality: of two nested masks STAPLE returns the union."""


def majority(maps: Sequence[Labels]) -> Labels:
    """Per-pixel majority (S) over maps in rater order; ties go to the tied class that the earliest rater chose."""
    best = np.full(maps[0].shape, UNANNOTATED, np.uint8)
    votes = np.zeros(maps[0].shape, np.int32)
    for candidate in maps:
        count = sum((other == candidate).astype(np.int32) for other in maps)
        better = (count > votes) & (candidate != UNANNOTATED)
        best[better] = candidate[better]
        votes[better] = count[better]
    return best


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staple:
    """What STAPLE estimates for one class against the rest: its probability (S), and each rater's quality (R)."""

    probability: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]


def staple_applies(raters_RS: Labels, *, label: int) -> bool:
    """Whether STAPLE may be asked for a class: three raters or more, who drew every pixel, each of them some of the class."""
    return len(raters_RS) >= STAPLE_RATERS and not np.any(raters_RS == UNANNOTATED) and _all_drew(raters_RS, label)


def _all_drew(raters_RS: Labels, label: int) -> bool:
    return bool((raters_RS == label).reshape(len(raters_RS), -1).any(axis=1).all())


def staple(raters_RS: Labels, *, label: int) -> Staple:
    """STAPLE of one class against the rest, from whole maps.

    Raises:
        InvalidValue: where :func:`staple_applies` says no (measured: two nested masks give their union, two shifted ones their
            intersection, empty ones NaN).
    """
    if not staple_applies(raters_RS, label=label):
        raise InvalidValue(
            f"STAPLE of class {label} needs {STAPLE_RATERS} raters or more who annotated every pixel and each drew the class; "
            "fuse by majority, or keep the shares of the votes"
        )
    import SimpleITK

    pictures = [SimpleITK.GetImageFromArray((one == label).astype(np.uint8)) for one in raters_RS]
    estimate = SimpleITK.STAPLEImageFilter()
    estimate.SetForegroundValue(1.0)
    probability = np.asarray(SimpleITK.GetArrayFromImage(estimate.Execute(pictures)), np.float64)
    return Staple(
        probability=probability,
        sensitivity=np.array(estimate.GetSensitivity(), np.float64),
        specificity=np.array(estimate.GetSpecificity(), np.float64),
    )


def fuse(raters_RS: Labels, *, classes: int, how: Fusion = "majority") -> tuple[Labels, bool]:
    """One label map (S), and whether it was fused as asked.

    `staple` gives each pixel the foreground class of highest probability if that reaches ½, else background. Where it does not
    apply to a class that somebody drew, the majority stands in and the second value is False. (Soft labels, the default for
    training and scoring, are :func:`alframe.metrics.raters.vote_fractions`.)

    Raises:
        InvalidValue: for an unknown `how`.
    """
    if how not in FUSIONS:
        raise InvalidValue(f"raters are fused by {' or '.join(FUSIONS)}, got {how!r}")
    if how == "majority":
        return majority(list(raters_RS)), True
    drawn = [c for c in range(1, classes) if np.any(raters_RS == c)]
    if not all(staple_applies(raters_RS, label=c) for c in drawn):
        return majority(list(raters_RS)), False
    fused = np.zeros(raters_RS.shape[1:], np.uint8)
    best = np.zeros(fused.shape)
    for c in drawn:
        probability = staple(raters_RS, label=c).probability
        better = (probability >= 0.5) & (probability > best)
        fused[better], best[better] = c, probability[better]
    return fused, True
