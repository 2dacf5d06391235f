"""Uncertainty measures: moments of M predictions → a map, higher = more uncertain.

Sources: Li & Alstrøm 2020 (arXiv 2007.06364) for VarRatio, Entropy and BALD; Gal 2016 (thesis, section 3.3.1) for the
vote ratio; Houlsby et al. 2011 (arXiv 1112.5745) for BALD; ClaSP PE (arXiv 2601.13677) for the per-class entropy.
The first paper's equation 4 omits the 1/M of BALD's second term; it is restored here. The variances follow Hu et al. 2019
(arXiv 1907.01949, section 2.3), with the law of total variance nested: weights outside, latent codes inside, and the noise of a
finite number of latent draws taken off (an analysis of variance with random effects; Searle, Casella & McCulloch 1992).

Legend: ``M`` draws of the weights, ``K`` latent draws under each, ``C`` classes, ``S`` space ``(Z) Y X``, p̄ = (1/M) Σ_m p_m.
Entropies in nats, all maps float64. Variances are summed over classes and scaled by C/(C − 1), so that the total
C/(C − 1) Σ_c p̄_c (1 − p̄_c) runs from 0 to 1; with two classes that is 4p̄(1 − p̄).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies.moments import mean

__all__ = [
    "MEASURES",
    "Measure",
    "MeasureName",
    "aleatoric",
    "bald",
    "class_entropy",
    "entropy",
    "epistemic",
    "epistemic_discounted",
    "predicted",
    "rater_disagreement",
    "total_variance",
    "var_ratio",
    "vote_ratio",
]

MeasureName = Literal[
    "var_ratio",
    "vote_ratio",
    "entropy",
    "bald",
    "epistemic",
    "aleatoric",
    "rater_disagreement",
    "epistemic_discounted",
]


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


def total_variance(moments: Moments) -> NDArray[np.float64]:
    """C/(C − 1) Σ_c p̄_c (1 − p̄_c), shape S, in [0, 1]: the variance of a label drawn from the predictive distribution."""
    p = mean(moments)
    return np.asarray(_scale(moments) * (p * (1.0 - p)).sum(axis=0))


def epistemic(moments: Moments) -> NDArray[np.float64]:
    """The variance of p over the weights, shape S: C/(C − 1) Σ_c [Var_m(p_m; ddof 1) − mean_m(noise_m)].

    Unbiased for any M ≥ 2 and K ≥ 2, and therefore slightly negative where the truth is 0: clamp sums or means of it,
    never pixels, or noise adds up to uncertainty that is not there.

    Raises:
        InvalidValue: when the moments carry no squares, or are of fewer than two draws of the weights.
    """
    if moments.squares is None or moments.noise is None:
        raise InvalidValue("epistemic variance needs moments with squares and noise; predict with spread=True")
    count = moments.count
    if count < 2:
        raise InvalidValue(f"the variance over weights needs at least 2 draws or members, got {count}")
    p = mean(moments)
    between = (np.asarray(moments.squares, np.float64) - count * p**2) / (count - 1)
    return np.asarray(_scale(moments) * (between - np.asarray(moments.noise, np.float64) / count).sum(axis=0))


def aleatoric(moments: Moments) -> NDArray[np.float64]:
    """What is left of the total variance without the epistemic part, shape S: raters who disagree, noise, blurred borders.

    Raises:
        InvalidValue: as :func:`epistemic`.
    """
    return np.asarray(total_variance(moments) - epistemic(moments))


def rater_disagreement(moments: Moments) -> NDArray[np.float64]:
    """The predicted disagreement of raters, shape S, in [0, 1]: what the learner says of it, else the aleatoric part.

    Raises:
        InvalidValue: when the learner says nothing and the aleatoric part cannot be had.
    """
    if moments.disagreement is not None:
        return np.asarray(np.clip(np.asarray(moments.disagreement, np.float64) / max(moments.count, 1), 0.0, 1.0))
    return np.asarray(np.clip(aleatoric(moments), 0.0, 1.0))


def epistemic_discounted(moments: Moments, discount: float = 1.0) -> NDArray[np.float64]:
    """Epistemic variance less `discount` λ times the predicted disagreement of raters, shape S: epistemic + λ (1 − v).

    The constant λ changes no order among whole images and keeps regions honest: an annotated pixel, which counts 0, is
    never worth more than one on which experts will disagree.

    Raises:
        InvalidValue: as :func:`epistemic`.
    """
    return np.asarray(epistemic(moments) + discount * (1.0 - rater_disagreement(moments)))


def _scale(moments: Moments) -> float:
    classes = len(moments.probability)
    return classes / (classes - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A function of moments → map (S), and the optional sums that it needs."""

    function: Callable[[Moments], NDArray[np.float64]]
    votes: bool = False
    spread: bool = False


MEASURES: dict[MeasureName, Measure] = {
    "var_ratio": Measure(function=var_ratio),
    "vote_ratio": Measure(function=vote_ratio, votes=True),
    "entropy": Measure(function=entropy),
    "bald": Measure(function=bald),
    "epistemic": Measure(function=epistemic, spread=True),
    "aleatoric": Measure(function=aleatoric, spread=True),
    "rater_disagreement": Measure(function=rater_disagreement, spread=True),
    "epistemic_discounted": Measure(function=epistemic_discounted, spread=True),
}
