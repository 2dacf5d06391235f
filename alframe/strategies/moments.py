"""Arithmetic of :class:`~alframe.ports.Moments`: the sums of M predictions that merge in any order and any sharding.

``empty`` is the neutral element and ``merge`` commutes; it is associative up to the rounding of float64 additions (and
exactly, when the sums are exactly representable). The M x C x S stack of predictions is never kept.

Legend: ``M`` members or passes, ``K`` latent draws of one pass, ``C`` classes, ``S`` space ``(Z) Y X``. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import Moments

__all__ = ["add", "add_group", "check_finite", "empty", "log_mean", "mean", "merge"]

NORMALISATION_TOLERANCE = 1e-2
"""How far the probabilities of a pixel may be from a sum of 1 (a softmax in bfloat16 stays within this)."""


def empty(
    classes: int,
    shape: Sequence[int],
    *,
    votes: bool = False,
    log: bool = False,
    spread: bool = False,
    disagreement: bool = False,
) -> Moments:
    """The moments of no prediction: `classes` C and spatial `shape` S; the flags ask for the optional sums.

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
        squares=np.zeros(full) if spread else None,
        noise=np.zeros(full) if spread else None,
        disagreement=np.zeros(tuple(shape)) if disagreement else None,
    )


def add(
    moments: Moments,
    log_p_CS: NDArray[np.floating[Any]],
    *,
    noise: NDArray[np.floating[Any]] | None = None,
    disagreement: NDArray[np.floating[Any]] | None = None,
) -> Moments:
    """Moments with one more prediction, given as log-probabilities of shape ``(C, *S)`` (a log-softmax over C).

    A probability of exactly 0 (log −inf) is allowed and contributes no entropy. A tied argmax votes for the lowest class.
    `noise` (C, S) is the variance of an inexact p (0 when not given), `disagreement` (S) what the pass predicts of the raters.

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
        squares=None if moments.squares is None else p**2,
        noise=None if moments.noise is None else np.zeros_like(p) if noise is None else np.asarray(noise, np.float64),
        disagreement=None
        if moments.disagreement is None or disagreement is None
        else np.asarray(disagreement, np.float64),
    )
    return merge(moments, one)


def add_group(
    moments: Moments, log_p_KCS: NDArray[np.floating[Any]], *, disagreement: NDArray[np.floating[Any]] | None = None
) -> Moments:
    """Moments with one more draw of the weights, under which K latent codes were drawn: p_m is the mean of the K.

    Raises:
        InvalidValue: for fewer than two latent draws, whose variance is unknown; otherwise as :func:`add`.
    """
    draws = len(log_p_KCS)
    if draws < 2:
        raise InvalidValue(f"the noise of a mean over latent draws needs at least 2 of them, got {draws}")
    log_p = np.asarray(log_p_KCS, np.float64)
    if not (log_p < np.inf).all():
        raise NonFiniteError("a log-probability is NaN or +inf; check the network's output")
    noise = np.exp(log_p).var(axis=0, ddof=1) / draws
    mean_log = np.logaddexp.reduce(log_p, axis=0) - np.log(draws)
    return add(moments, mean_log, noise=noise, disagreement=disagreement)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the predictions of both.

    Raises:
        InvalidValue: when shapes differ or only one of them carries an optional sum.
    """
    if a.probability.shape != b.probability.shape:
        raise InvalidValue(f"cannot merge moments of shapes {a.probability.shape} and {b.probability.shape}")
    return Moments(
        count=a.count + b.count,
        probability=np.add(a.probability, b.probability, dtype=np.float64),
        entropy=np.add(a.entropy, b.entropy, dtype=np.float64),
        votes=_combine(a.votes, b.votes, np.add, "votes"),
        log_probability=_combine(a.log_probability, b.log_probability, np.logaddexp, "log-probabilities"),
        squares=_combine(a.squares, b.squares, np.add, "squares"),
        noise=_combine(a.noise, b.noise, np.add, "noise"),
        disagreement=_combine(a.disagreement, b.disagreement, np.add, "predicted disagreement"),
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
    for name in ("probability", "entropy", "votes", "squares", "noise", "disagreement"):
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
