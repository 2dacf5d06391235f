"""Several raters of one image: how far predicted segmentations are from theirs, and whether uncertainty shows where they differ.

Legend: ``N`` samples, ``R`` raters, ``C`` classes, ``S`` the spatial axes ``(Z) Y X``, ``P`` pixels. A rater's map is ``uint8``,
255 where that rater said nothing. A rater who said nothing at all takes no part; of the others, the pixels that all of them
annotated count (:func:`common`).

Sources: Székely & Rizzo 2013 and Kohl et al. 2018 (arXiv 1806.05034) for GED²; Baumgartner et al. 2019 (arXiv 1906.04045) and
Hu et al. 2019 (arXiv 1907.01949) for NCC; Mirikharaji et al. 2021 (arXiv 2012.07206) for (y − p)²; Abutalip et al. 2024 for the
agreement of images and pixels.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from alframe.errors import InvalidValue, NonFiniteError
from alframe.types import UNANNOTATED

__all__ = [
    "brier_of_raters",
    "common",
    "correlation",
    "disagreement",
    "energy_distance",
    "iou_distances",
    "nll_of_raters",
    "partial_correlation",
    "rank_correlation",
    "segmentations",
    "spread",
    "vote_fractions",
]

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.uint8]


def segmentations(p_NCS: Floats) -> Labels:
    """The class of each pixel (N, S) in every sample: the most probable one, the smaller id when tied.

    With two classes this is p > 0.5.
    """
    return np.asarray(p_NCS.argmax(axis=1), np.uint8)


def common(raters_RS: Labels) -> tuple[Labels, NDArray[np.bool_]]:
    """The maps of the raters who said something, and the pixels (S) that all of them annotated.

    Raises:
        InvalidValue: when there is no map, or its type is not uint8.
    """
    if raters_RS.dtype != np.uint8 or raters_RS.ndim < 2 or not len(raters_RS):
        raise InvalidValue(f"raters' maps must be uint8 of shape (R >= 1, S), got {raters_RS.dtype} {raters_RS.shape}")
    known_RS = raters_RS != UNANNOTATED
    spoke_R = known_RS.reshape(len(raters_RS), -1).any(axis=1)
    return raters_RS[spoke_R], np.asarray(known_RS[spoke_R].all(axis=0) & spoke_R.any())


def iou_distances(a_NP: NDArray[np.bool_], b_RP: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 − IoU of every mask of one set with every mask of another (N, R); 0 when both are empty, 1 when one is."""
    shared_NR = a_NP.astype(np.float64) @ b_RP.astype(np.float64).T
    union_NR = a_NP.sum(axis=1, dtype=np.float64)[:, None] + b_RP.sum(axis=1, dtype=np.float64)[None] - shared_NR
    return np.asarray(1.0 - np.where(union_NR > 0, shared_NR / np.maximum(union_NR, 1.0), 1.0), np.float64)


def energy_distance(samples_NS: Labels, raters_RS: Labels, *, classes: int) -> NDArray[np.float64] | None:
    """GED² of each foreground class (C − 1): 2 E d(S, Y) − E d(S, S′) − E d(Y, Y′) with d of :func:`iou_distances`.

    The expectations run over all pairs, a mask paired with itself included, so the value depends on N: state it. None when no
    pixel is common to the raters. `samples_NS` are classes, see :func:`segmentations`.

    Raises:
        InvalidValue: when there is no sample, or shapes differ.
    """
    if not len(samples_NS) or samples_NS.shape[1:] != raters_RS.shape[1:]:
        raise InvalidValue(
            f"GED needs samples (N >= 1, S) of the raters' shape {raters_RS.shape[1:]}, got {samples_NS.shape}"
        )
    raters_RS, valid_S = common(raters_RS)
    if not valid_S.any():
        return None
    samples_NP, raters_RP = samples_NS[:, valid_S], raters_RS[:, valid_S]
    found = []
    for c in range(1, classes):
        s_NP, y_RP = samples_NP == c, raters_RP == c
        between, within, among = iou_distances(s_NP, y_RP), iou_distances(s_NP, s_NP), iou_distances(y_RP, y_RP)
        found.append(2 * between.mean() - within.mean() - among.mean())
    return np.array(found, np.float64)


def vote_fractions(raters_RS: Labels, *, classes: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Soft labels ȳ (C, S), the share of raters who chose each class, and the pixels (S) where they are defined.

    A pixel's share is taken over the raters who annotated it; elsewhere ȳ is 0.

    Raises:
        InvalidValue: for a class id of `classes` or more (other than 255).
    """
    known_S = (raters_RS != UNANNOTATED).sum(axis=0)
    votes_CS = np.stack([(raters_RS == c).sum(axis=0) for c in range(classes)])
    if np.any(votes_CS.sum(axis=0) != known_S):
        raise InvalidValue(f"raters' class ids must be 0..{classes - 1} or {UNANNOTATED}, found others")
    return np.asarray(votes_CS / np.maximum(known_S, 1), np.float64), np.asarray(known_S > 0)


def spread(p_CS: Floats) -> NDArray[np.float64]:
    """Variance of the class that a distribution (C, S) draws, scaled to 0 … 1: C/(C − 1) · Σ_c p_c (1 − p_c).

    For two classes it is 4 p (1 − p). Of raters' :func:`vote_fractions` it is their variance (ddof 0), of a predicted mean
    the predictive variance; the two are correlated by NCC. Class ids are never averaged.
    """
    classes = len(p_CS)
    return np.asarray((p_CS * (1.0 - p_CS)).sum(axis=0) * classes / (classes - 1), np.float64)


def _centred(values: Floats) -> NDArray[np.float64] | None:
    flat = np.asarray(values, np.float64).ravel()
    if not np.isfinite(flat).all():
        raise NonFiniteError("a correlation of NaN or infinity is undefined; look for such values in the maps")
    if flat.size < 2 or np.ptp(flat) <= 1e-12 * np.abs(flat).max():
        return None
    return np.asarray(flat - flat.mean())


def correlation(a: Floats, b: Floats) -> float | None:
    """Pearson's correlation of two equally long sets of values; None when one of them is constant.

    Raises:
        InvalidValue: when the sizes differ.
        NonFiniteError: on NaN or infinity.
    """
    if a.size != b.size:
        raise InvalidValue(f"a correlation needs values in pairs, got {a.size} and {b.size}")
    x, y = _centred(a), _centred(b)
    if x is None or y is None:
        return None
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's correlation: :func:`correlation` of the ranks (ties share their mean rank)."""
    if a.size != b.size:
        raise InvalidValue(f"a correlation needs values in pairs, got {a.size} and {b.size}")
    return correlation(rankdata(a), rankdata(b))


def partial_correlation(a: Floats, b: Floats, given: Floats) -> float | None:
    """Pearson's correlation of `a` and `b` with what is linear in `given` taken out of both; None when nothing is left.

    A constant `given` takes nothing out.
    """
    rest = [_residual(values, given) for values in (a, b)]
    if any(one is None for one in rest):
        return None
    return correlation(*(one for one in rest if one is not None))


def _residual(values: Floats, given: Floats) -> NDArray[np.float64] | None:
    """What a straight line through `given` does not explain; None when that is rounding noise only."""
    y, x = _centred(values), _centred(given)
    if y is None:
        return None
    left = y if x is None else y - x * ((x @ y) / (x @ x))
    return None if left @ left <= 1e-18 * (y @ y) else np.asarray(left)


def disagreement(raters_RS: Labels, *, classes: int) -> float | None:
    """1 − the mean Dice over all pairs of raters; None with fewer than two of them or no common pixel.

    The Dice of a pair is the mean over the foreground classes; a class that neither drew counts 1.
    """
    raters_RS, valid_S = common(raters_RS)
    if len(raters_RS) < 2 or not valid_S.any():
        return None
    raters_RP = raters_RS[:, valid_S]
    pairs = [_dice(one, other, classes) for one, other in combinations(raters_RP, 2)]
    return 1.0 - float(np.mean(pairs))


def _dice(a_P: Labels, b_P: Labels, classes: int) -> float:
    found = []
    for c in range(1, classes):
        a, b = a_P == c, b_P == c
        size = int(a.sum()) + int(b.sum())
        found.append(2.0 * int((a & b).sum()) / size if size else 1.0)
    return float(np.mean(found))


def nll_of_raters(log_p_CS: Floats, raters_RS: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Σ −log p_y over the pixels each rater annotated, and their number (both R)."""
    total, count = np.zeros(len(raters_RS)), np.zeros(len(raters_RS), np.int64)
    for r, labels_S in enumerate(raters_RS):
        known_S = labels_S != UNANNOTATED
        picked = np.take_along_axis(log_p_CS[:, known_S], labels_S[known_S][None].astype(np.intp), axis=0)
        total[r], count[r] = -float(picked.sum(dtype=np.float64)), picked.size
    if not np.isfinite(total).all():
        raise NonFiniteError("a log-probability of a class that a rater chose is NaN or infinite")
    return total, count


def brier_of_raters(p_CS: Floats, raters_RS: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Σ ½ Σ_c (p_c − y_c)² over the pixels each rater annotated, and their number (both R).

    For two classes this is D-LEMA's (y − p)²: half of the multi-class score.
    """
    total, count = np.zeros(len(raters_RS)), np.zeros(len(raters_RS), np.int64)
    for r, labels_S in enumerate(raters_RS):
        known_S = labels_S != UNANNOTATED
        p_CP, y_P = np.asarray(p_CS[:, known_S], np.float64), labels_S[known_S].astype(np.intp)
        chosen = np.take_along_axis(p_CP, y_P[None], axis=0)
        total[r] = 0.5 * float((p_CP * p_CP).sum() - 2 * chosen.sum() + y_P.size)
        count[r] = y_P.size
    return total, count
