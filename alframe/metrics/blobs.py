"""Blobs of a logit map: their confidence, whether they are true, AUROC and FROC (Guerrero & Chang, "Beyond binary masks").

The papers' 30 logit maps of a stochastic ensemble are averaged; a blob is a component of positive mean logit. The criterion of a
true blob, the components' connectivity and the temperature of a blob's confidence are choices of ours, stated at each function.

Legend: ``S`` the spatial axes ``(Z) Y X``, ``B`` blobs, ``T`` true objects. Logits are natural log odds of foreground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.special import expit

from alframe.errors import InvalidValue, NonFiniteError
from alframe.types import UNANNOTATED

__all__ = [
    "BlobTable",
    "Froc",
    "LogitStatistics",
    "area_under_roc",
    "confidence",
    "find_blobs",
    "fit_temperature",
    "froc",
    "logit_statistics",
    "match_blobs",
]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitStatistics:
    """Moments of the positive logits of a map: `count` of them, `mean`, `skewness` and `excess_kurtosis` (population forms).

    NaN where undefined: the mean of none, and the shape of fewer than two different values.
    """

    count: int
    mean: float
    skewness: float
    excess_kurtosis: float


def logit_statistics(logit_S: Floats) -> LogitStatistics:
    """The distribution of a logit map (S) over its voxels with logit > 0; skewness m₃/m₂^1.5 and kurtosis m₄/m₂² − 3.

    Raises:
        NonFiniteError: when a logit is NaN or infinite.
    """
    _require_finite(logit_S)
    values = np.asarray(logit_S, np.float64)[np.asarray(logit_S) > 0]
    if not values.size:
        return LogitStatistics(count=0, mean=math.nan, skewness=math.nan, excess_kurtosis=math.nan)
    mean = float(values.mean())
    centred = values - mean
    second = float(np.mean(centred**2))
    if second <= 1e-24 * max(1.0, mean**2):
        return LogitStatistics(count=values.size, mean=mean, skewness=math.nan, excess_kurtosis=math.nan)
    skewness = float(np.mean(centred**3)) / second**1.5
    kurtosis = float(np.mean(centred**4)) / second**2 - 3
    return LogitStatistics(count=values.size, mean=mean, skewness=skewness, excess_kurtosis=kurtosis)


def find_blobs(
    logit_S: Floats, *, min_size: int = 1
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """The blobs of a logit map (S): numbers 1, 2, … in raster order (int32 S, 0 = none), mean logit (B) and size (B).

    A blob is a component of logit > 0 that touches by faces, edges or corners (8 neighbours in 2-D, 26 in 3-D) with at least
    `min_size` pixels.

    Raises:
        NonFiniteError: when a logit is NaN or infinite.
        InvalidValue: when `min_size` is below 1.
    """
    _require_finite(logit_S)
    if min_size < 1:
        raise InvalidValue(f"min_size must be at least 1, got {min_size}")
    numbers, count = ndimage.label(logit_S > 0, structure=np.ones((3,) * logit_S.ndim))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept = sizes >= min_size
    kept[0] = False
    renumbered = np.where(kept, np.cumsum(kept), 0)[numbers].astype(np.int32)
    size = np.asarray(sizes[kept], np.int64)
    weights = np.asarray(logit_S, np.float64).ravel()
    sums = np.bincount(renumbered.ravel(), weights=weights, minlength=len(size) + 1)[1:]
    return renumbered, sums / np.maximum(size, 1), size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlobTable:
    """The blobs of one image or volume: mean `logit` (B), `size` (B) and whether each is `true` (B); and of its T true objects,
    the highest mean logit of the true blobs that found each (`found`, T; −inf for none)."""

    logit: NDArray[np.float64]
    size: NDArray[np.int64]
    true: NDArray[np.bool_]
    found: NDArray[np.float64]

    @classmethod
    def concatenate(cls, tables: Sequence[BlobTable]) -> BlobTable:
        """The blobs and objects of all `tables` (at least one)."""
        return cls(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in cls.__slots__})


def match_blobs(
    logit_S: Floats, truth_S: NDArray[np.integer[Any]], *, overlap: float = 0.1, min_size: int = 1
) -> BlobTable:
    """The blobs of a logit map against true classes (S; 0 = background, 255 = not annotated).

    True objects are components (as in :func:`find_blobs`) of the true foreground, all classes together. A blob is true when its
    intersection over union with some true object is at least `overlap`, and it has found every such object. Pixels without
    annotation take part in neither; a blob without an annotated pixel is left out.

    Raises:
        InvalidValue: when the shapes differ or `overlap` is not above 0 and at most 1.
        NonFiniteError: when a logit is NaN or infinite.
    """
    if logit_S.shape != truth_S.shape:
        raise InvalidValue(f"logits {logit_S.shape} and truth {truth_S.shape} differ in shape")
    if not 0 < overlap <= 1:
        raise InvalidValue(f"overlap must be above 0 and at most 1, got {overlap}")
    known = truth_S != UNANNOTATED
    numbers, logit, size = find_blobs(logit_S, min_size=min_size)
    objects, count = ndimage.label((truth_S > 0) & known, structure=np.ones((3,) * truth_S.ndim))
    pairs = numbers[known].astype(np.int64) * (count + 1) + objects[known]
    shared = np.bincount(pairs, minlength=(len(logit) + 1) * (count + 1)).reshape(len(logit) + 1, count + 1)
    blob_area, object_area = shared.sum(1), shared.sum(0)
    inner = shared[1:, 1:]
    union = blob_area[1:, None] + object_area[None, 1:] - inner
    hit = (inner > 0) & (inner >= overlap * union)
    found = np.where(hit, logit[:, None], -np.inf).max(axis=0, initial=-np.inf)
    seen = blob_area[1:] > 0
    return BlobTable(logit=logit[seen], size=size[seen], true=hit.any(axis=1)[seen], found=found)


def fit_temperature(logit_B: Floats, true_B: NDArray[np.bool_]) -> float:
    """The τ > 0 for which ``sigmoid(mean logit / τ)`` is the most likely confidence of these blobs to be true.

    The likelihood is concave in 1/τ, which is sought within 1e-4 … 1e4. Blobs have positive mean logits, so a confidence is
    never below ½: where fewer than half are true, the largest τ (every confidence ½) is the best there is.

    Raises:
        InvalidValue: when there is no blob, or the lengths differ.
        NonFiniteError: when a logit is NaN or infinite.
    """
    if not len(logit_B) or len(logit_B) != len(true_B):
        raise InvalidValue(
            f"fitting a temperature needs blobs, each true or false; got {len(logit_B)} and {len(true_B)}"
        )
    _require_finite(logit_B)
    signed = np.where(true_B, logit_B, -np.asarray(logit_B, np.float64))

    def loss(log_inverse: float) -> float:
        return float(np.logaddexp(0, -signed * math.exp(log_inverse)).sum())

    edge = math.log(1e4)
    best = optimize.minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-6})
    return math.exp(-float(best.x))


def confidence(logit_B: Floats, temperature: float) -> NDArray[np.float64]:
    """The confidence of blobs, ``sigmoid(mean logit / temperature)``. Raises InvalidValue for a temperature not above 0."""
    if not temperature > 0:
        raise InvalidValue(f"a temperature must be above 0, got {temperature}")
    return np.asarray(expit(np.asarray(logit_B, np.float64) / temperature))


def area_under_roc(score_B: Floats, true_B: NDArray[np.bool_]) -> float:
    """The probability that a true blob scores above a false one, ties counting one half; NaN when either kind is absent."""
    true_B = np.asarray(true_B, bool)
    positives, negatives = int(true_B.sum()), int((~true_B).sum())
    if not positives or not negatives:
        return math.nan
    values, rank = np.unique(np.asarray(score_B, np.float64), return_inverse=True)
    of_true = np.bincount(rank[true_B], minlength=len(values))
    of_false = np.bincount(rank[~true_B], minlength=len(values))
    below = np.cumsum(of_false) - of_false
    return float((of_true * (below + of_false / 2)).sum() / (positives * negatives))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Froc:
    """A free-response curve: at each `threshold` on the mean logit (falling), the mean number of `false_positives` an image and
    the `sensitivity`, the share of true objects that were found."""

    threshold: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    sensitivity: NDArray[np.float64]

    def at(self, false_positives: float) -> float:
        """The best sensitivity with at most so many false positives an image; 0 when no threshold has as few."""
        within = self.false_positives <= false_positives
        return float(self.sensitivity[within].max(initial=0.0))


def froc(tables: Sequence[BlobTable]) -> Froc:
    """The free-response curve over one table an image: one point for every different mean logit.

    Raises:
        InvalidValue: when there is no image, or no true object in any.
    """
    if not tables or not sum(len(table.found) for table in tables):
        raise InvalidValue("a FROC curve needs at least one image and one true object")
    every = BlobTable.concatenate(tables)
    thresholds = np.unique(every.logit)[::-1]
    false = np.sort(every.logit[~every.true])
    found = np.sort(every.found)
    return Froc(
        threshold=thresholds,
        false_positives=(len(false) - np.searchsorted(false, thresholds, side="left")) / len(tables),
        sensitivity=(len(found) - np.searchsorted(found, thresholds, side="left")) / len(found),
    )


def _require_finite(values: Floats) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteError("a logit is NaN or infinite; look at the model")
