"""Arithmetic of :class:`~alframe.ports.Moments`: the sums of M predictions that merge in any order and any sharding.

``empty`` is the neutral element and ``merge`` commutes; it is associative up to the rounding of float64 additions (and
exactly, when the sums are exactly representable). The M x C x S stack of predictions is never kept.

Legend: ``M`` members or passes, ``C`` classes, ``S`` the spatial axes ``(Z) Y X``. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import Moments

__all__ = ["add", "check_finite", "empty", "log_mean", "mean", "merge"]

NORMALISATION_TOLERANCE = 1e-2
"""How far the probabilities of a pixel may be from a sum of 1 (a softmax in bfloat16 stays within this)."""


def empty(classes: int, shape: Sequence[int], *, votes: bool = False, log: bool = False) -> Moments:
    """The moments of no prediction: `classes` C and spatial `shape` S; `votes` and `log` ask for the optional sums.

    Raises:
        InvalidValue: for fewer than two classes.
    """
    if classes < 2:
        raise InvalidValue(f"moments need at least 2 classes (background counts as one), got {classes}")
    full = (classes, *shape)
    return Moments(
        count=0,
        probability=np.zeros(full),
        entropy=np.zeros(tuple(shape)),
        votes=np.zeros(full) if votes else None,
        log_probability=np.full(full, -np.inf) if log else None,
    )


def add(moments: Moments, log_p_CS: NDArray[np.floating[Any]]) -> Moments:
    """Moments with one more prediction, given as log-probabilities of shape ``(C, *S)`` (a log-softmax over C).

    A probability of exactly 0 (log −inf) is allowed and contributes no entropy. A tied argmax votes for the lowest class.

    Raises:
        InvalidValue: when the shape differs, or exp(log_p) does not sum to 1 over C (logits were given).
        NonFiniteError: when a log-probability is NaN or +inf.
    """
    if log_p_CS.shape != moments.probability.shape:
        raise InvalidValue(f"expected log-probabilities of shape {moments.probability.shape}, got {log_p_CS.shape}")
    log_p = np.asarray(log_p_CS, np.float64)
    if not (log_p < np.inf).all():
        raise NonFiniteError("a log-probability is NaN or +inf; check the network's output")
    p = np.exp(log_p)
    error = float(np.abs(p.sum(axis=0) - 1.0).max(initial=0.0))
    if error > NORMALISATION_TOLERANCE:
        raise InvalidValue(
            f"probabilities must sum to 1 over classes, they are off by {error:.3g}; apply log_softmax first"
        )
    terms = np.multiply(p, log_p, out=np.zeros_like(p), where=p > 0)
    one = Moments(
        count=1,
        probability=p,
        entropy=-terms.sum(axis=0),
        votes=None if moments.votes is None else _one_hot(log_p),
        log_probability=None if moments.log_probability is None else log_p,
    )
    return merge(moments, one)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the predictions of both.

    Raises:
        InvalidValue: when shapes differ or only one of them carries votes or log-probabilities.
    """
    if a.probability.shape != b.probability.shape:
        raise InvalidValue(f"cannot merge moments of shapes {a.probability.shape} and {b.probability.shape}")
    return Moments(
        count=a.count + b.count,
        probability=np.add(a.probability, b.probability, dtype=np.float64),
        entropy=np.add(a.entropy, b.entropy, dtype=np.float64),
        votes=_combine(a.votes, b.votes, np.add, "votes"),
        log_probability=_combine(a.log_probability, b.log_probability, np.logaddexp, "log-probabilities"),
    )


def mean(moments: Moments) -> NDArray[np.float64]:
    """p̄ = (1/M) Σ_m p_m of shape ``(C, *S)``.

    Raises:
        InvalidValue: when nothing was added.
    """
    _require_some(moments)
    return np.asarray(moments.probability / np.float64(moments.count), np.float64)


def log_mean(moments: Moments) -> NDArray[np.float64]:
    """log p̄ of shape ``(C, *S)``, which stays finite where p̄ underflows.

    Raises:
        InvalidValue: when nothing was added or log-probabilities were not asked for.
    """
    _require_some(moments)
    if moments.log_probability is None:
        raise InvalidValue("these moments carry no log-probabilities; accumulate them with log=True")
    return np.asarray(moments.log_probability - np.log(np.float64(moments.count)), np.float64)


def check_finite(moments: Moments, *, item: str) -> None:
    """Refuse moments with NaN or infinite sums (−inf is a legal log-probability).

    Raises:
        NonFiniteError: naming the item and the sum.
    """
    for name in ("probability", "entropy", "votes"):
        values = getattr(moments, name)
        if values is not None and not np.isfinite(values).all():
            raise NonFiniteError(
                f"item {item}: the {name} sums of its prediction hold NaN or infinity; look at the model"
            )
    log_p = moments.log_probability
    if log_p is not None and not (log_p < np.inf).all():
        raise NonFiniteError(f"item {item}: the log-probability sums hold NaN or +infinity; look at the model")


def _require_some(moments: Moments) -> None:
    if moments.count < 1:
        raise InvalidValue("moments of no prediction have no mean; add at least one pass")


def _one_hot(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    votes = np.zeros_like(log_p)
    np.put_along_axis(votes, log_p.argmax(axis=0)[None], 1.0, axis=0)
    return votes


def _combine(
    a: NDArray[np.floating[Any]] | None, b: NDArray[np.floating[Any]] | None, function: np.ufunc, name: str
) -> NDArray[np.float64] | None:
    if (a is None) != (b is None):
        raise InvalidValue(f"cannot merge moments with {name} and moments without; ask for them everywhere or nowhere")
    if a is None or b is None:
        return None
    return np.asarray(function(a, b, dtype=np.float64), np.float64)
