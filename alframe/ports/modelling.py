"""Fitting and predicting: learners, checkpoints, predictors and the moments of their passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alframe.ports.data import Labels, Pool
from alframe.teams import ALONE, Rank
from alframe.types import Compute

__all__ = ["Checkpoint", "FitTask", "Learner", "Moments", "Prediction", "Predictor", "Snapshot", "Snapshots"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sufficient statistics of M stochastic predictions of one item or box: a commutative monoid under ``merge``.

    `count` M; `probability` Σ_m p_m (C, S; float64 or float32); `entropy` Σ_m H(p_m) in nats (S); `votes` Σ_m
    [argmax p_m = c] (C, S) or None when not asked for; `log_probability` log Σ_m p_m (C, S; from log-softmax and
    logsumexp, so that it never underflows) or None when not asked for. The arithmetic lives in ``strategies.moments``.

    M counts draws of the *weights* (members, dropout passes) and nothing else. A generative model that also draws K latent
    codes for each gives p_m as their mean, so that ``entropy`` and BALD speak of the weights alone. When the spread is
    asked for, `squares` is Σ_m p_m² (C, S) and `noise` Σ_m Var_k(p_mk; ddof 1) / K (C, S), the variance that p_m has because it
    is the mean of only K draws (0 where a pass is exact); None otherwise. `disagreement` Σ_m v_m (S) is what a learner
    itself predicts of the raters' disagreement: v = C/(C − 1) · Σ_c ȳ_c (1 − ȳ_c) for vote shares ȳ, which is 4ȳ(1 − ȳ)
    with two classes, 0 = they agree, 1 = they are split evenly; None when not asked for or not predicted.
    """

    count: int
    probability: NDArray[np.floating[Any]]
    entropy: NDArray[np.floating[Any]]
    votes: NDArray[np.floating[Any]] | None = None
    log_probability: NDArray[np.floating[Any]] | None = None
    squares: NDArray[np.floating[Any]] | None = None
    noise: NDArray[np.floating[Any]] | None = None
    disagreement: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a predictor says of one item: moments over its passes, and the mean contour probability (S) or None."""

    moments: Moments
    contour: NDArray[np.float32] | None = None


class Predictor(Protocol):
    """A fitted model (one or many members, one or many stochastic passes)."""

    def predict(
        self,
        image: NDArray[Any],
        *,
        spacing: Sequence[float] = (),
        seed: int,
        votes: bool = False,
        log: bool = False,
        spread: bool = False,
    ) -> Prediction:
        """Predict a whole image of shape ``(C, *S)`` in its native dtype and range; large ones by sliding windows.

        `votes`, `log` and `spread` ask for the optional sums of :class:`Moments`. On one device type and thread count the
        result depends on `image`, `seed` and the checkpoints only.
        Raises NonFiniteError when a probability is NaN or infinite.
        """

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Probabilities (N, C, S) of N ≤ `count` segmentations that the model holds possible, of a whole image as above.

        Generative models draw weights and latent code anew for each; MC dropout makes a pass for each; an ensemble gives
        each member once. Raises NonFiniteError, or InvalidValue when `count` is below 1.
        """


class Snapshot(Protocol):
    """Where one training run leaves its progress, and finds it again when its process was lost.

    One blob, replaced as a whole. A cache: without it a run takes longer, and gives the same result.
    """

    def load(self) -> bytes | None:
        """What was saved last, or None. Raises StoreUnavailable."""

    def save(self, data: bytes) -> None:
        """Replace what was saved before. Raises StoreUnavailable; the former snapshot is still there then."""

    def clear(self) -> None:
        """Forget it. Idempotent. Raises StoreUnavailable."""


class Snapshots(Protocol):
    """The snapshots of all training runs of a store. Picklable, as each of them is."""

    def at(self, key: str) -> Snapshot:
        """The snapshot of a run; `key` is of lower-case letters, digits, ``.``, ``_`` and ``-``. Raises InvalidValue."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitTask:
    """Everything one training run depends on. One member, one restart; `seed` is its identity.

    `labels` are the campaign's (training items), `validation` names items of the validation split, labelled by
    ``pool.truth``. `initial` are the weights of the previous round for a warm start, or None for from scratch.
    `rank` is this process's place where several train the member together. A long run leaves its progress in `snapshot`
    every `snapshot_seconds` and goes on from there; whether it had to is not seen in its result.
    """

    pool: Pool
    labels: Labels
    validation: tuple[str, ...]
    member: int
    restart: int
    seed: int
    compute: Compute
    initial: bytes | None = None
    rank: Rank = ALONE
    snapshot: Snapshot | None = None
    snapshot_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained member: safetensors bytes, its validation loss (lower = better), and the curve of its training.

    `history` has one mapping an epoch, at least ``epoch``, ``train_loss``, ``val_loss``, ``seconds``.
    """

    weights: bytes
    validation_loss: float
    history: tuple[Mapping[str, float], ...] = ()


class Learner(Protocol):
    """Fits members and rebuilds predictors from their bytes. Holds parameters only; no weights, no state."""

    @property
    def members(self) -> int:
        """How many independently trained members a predictor needs (1 for MC dropout)."""

    @property
    def restarts(self) -> int:
        """How many times each member is trained; the campaign keeps the best by validation loss."""

    @property
    def warm_start(self) -> bool:
        """Whether the campaign should pass the last round's weights as `FitTask.initial`."""

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member. `progress` receives the fraction done.

        A learner with an attribute ``works_in_teams`` that is True also trains as one of ``task.rank.count`` processes, over
        torch's default process group; all of them return the same. Others are only ever given a rank of 1.
        Raises NonFiniteError on a NaN loss, InvalidValue when the pool does not fit the network, PeerLost.
        """

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """A predictor from `members` checkpoints, in member order."""
