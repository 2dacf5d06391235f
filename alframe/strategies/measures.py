"""Uncertainty measures: moments of M predictions → a map, higher = more uncertain.

Sources: Li & Alstrøm 2020 (arXiv 2007.06364) for VarRatio, Entropy and BALD; Gal 2016 (thesis, section 3.3.1) for the
vote ratio; Houlsby et al. 2011 (arXiv 1112.5745) for BALD; ClaSP PE (arXiv 2601.13677) for the per-class entropy.
The first paper's equation 4 omits the 1/M of BALD's second term; it is restored here.

Legend: ``M`` passes, ``C`` classes, ``S`` space ``(Z) Y X``, p̄ = (1/M) Σ_m p_m. Entropies in nats, all maps float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies.moments import mean

__all__ = ["MEASURES", "MeasureName", "bald", "class_entropy", "entropy", "predicted", "var_ratio", "vote_ratio"]

MeasureName = Literal["var_ratio", "vote_ratio", "entropy", "bald"]


def var_ratio(moments: Moments) -> NDArray[np.float64]:
    """1 − max_c p̄(c), shape S, in [0, 1 − 1/C]."""
    return np.asarray(np.maximum(1.0 - mean(moments).max(axis=0), 0.0))


def vote_ratio(moments: Moments) -> NDArray[np.float64]:
    """1 − (share of passes that vote for the most voted class), shape S: at most M distinct values.

    Raises:
        InvalidValue: when the moments carry no votes.
    """
    if moments.votes is None:
        raise InvalidValue("vote_ratio needs moments with votes; predict with votes=True")
    if moments.count < 1:
        raise InvalidValue("vote_ratio of no prediction is undefined; add at least one pass")
    return np.asarray(1.0 - np.asarray(moments.votes, np.float64).max(axis=0) / moments.count)


def entropy(moments: Moments) -> NDArray[np.float64]:
    """Predictive entropy H(p̄) = −Σ_c p̄ log p̄, shape S, in [0, log C]."""
    return np.asarray(np.maximum(entr(mean(moments)).sum(axis=0), 0.0))


def bald(moments: Moments) -> NDArray[np.float64]:
    """Mutual information H(p̄) − (1/M) Σ_m H(p_m), shape S, clamped at 0 against rounding."""
    expected = np.asarray(moments.entropy, np.float64) / max(moments.count, 1)
    return np.asarray(np.maximum(entr(mean(moments)).sum(axis=0) - expected, 0.0))


def class_entropy(moments: Moments) -> NDArray[np.float64]:
    """H(p̄)·p̄_c for every class, shape ``(C, *S)``; over C it sums to the predictive entropy."""
    return np.asarray(entropy(moments)[None] * mean(moments))


def predicted(moments: Moments) -> NDArray[np.intp]:
    """The predicted class of each pixel, shape S; the lowest class wins a tie."""
    return np.asarray(np.argmax(moments.probability, axis=0), np.intp)


MEASURES: dict[MeasureName, tuple[Callable[[Moments], NDArray[np.float64]], bool]] = {
    "var_ratio": (var_ratio, False),
    "vote_ratio": (vote_ratio, True),
    "entropy": (entropy, False),
    "bald": (bald, False),
}
"""Name → (function of moments, whether the moments must carry votes)."""
