"""A real but tiny learner: logistic regression on pixel features with a Gaussian over its weights. No torch.

It makes campaigns of a second or two for tests, and shows what a plug-in has to do. Uncertainty comes from `passes` weight
draws around the fit, wider where training saw few pixels (a diagonal Laplace approximation).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from alframe import seeding
from alframe.errors import InvalidValue
from alframe.ports import Checkpoint, FitTask, Prediction
from alframe.strategies import moments
from alframe.types import UNANNOTATED, Compute

__all__ = ["PixelLearner", "PixelPredictor"]

SCALES = (0.0, 1.0, 3.0)


def features(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Features (F, S) of an image (C, S): each channel, z-scored, at three Gaussian scales, and a constant."""
    values = np.asarray(image, np.float64)
    axes = tuple(range(1, values.ndim))
    values = (values - values.mean(axis=axes, keepdims=True)) / (values.std(axis=axes, keepdims=True) + 1e-6)
    scaled = [ndimage.gaussian_filter(channel, scale) for scale in SCALES for channel in values]
    return np.stack([*scaled, np.ones(values.shape[1:])])


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLearner:
    """Multinomial logistic regression, fitted by `steps` full-batch gradient steps of size `rate` on annotated pixels."""

    passes: int = 6
    restarts: int = 1
    members: int = 1
    steps: int = 60
    rate: float = 0.8
    warm_start: bool = False

    def __post_init__(self) -> None:
        if min(self.passes, self.restarts, self.members, self.steps) < 1:
            raise InvalidValue("passes, restarts, members and steps must be at least 1")

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Fit one member; the seed chooses its start and its bootstrap sample."""
        rng = seeding.generator(task.seed, "bootstrap")
        classes = len(task.pool.classes)
        maps = [(features(task.pool.image(item)), task.labels.labels(item).classes) for item in task.labels.items()]
        x_NF = np.concatenate([x[:, y != UNANNOTATED].T for x, y in maps])
        y_N = np.concatenate([y[y != UNANNOTATED] for _, y in maps])
        rows = rng.integers(0, len(y_N), len(y_N))
        x_NF, target_NC = x_NF[rows], np.eye(classes)[y_N[rows]]
        weights = rng.normal(0, 0.01, (x_NF.shape[1], classes))
        if task.initial is not None:
            weights = _load(task.initial)["weights"]
        history: list[dict[str, float]] = []
        began = time.monotonic()
        for step in range(self.steps):
            log_p_NC = special.log_softmax(x_NF @ weights, axis=1)
            weights = weights - self.rate * x_NF.T @ (np.exp(log_p_NC) - target_NC) / len(x_NF)
            if progress is not None:
                progress((step + 1) / self.steps)
        loss = float(-(target_NC * log_p_NC).sum(axis=1).mean())
        p_NC = np.exp(log_p_NC)
        curvature = (x_NF**2).T @ (p_NC * (1 - p_NC)) + 1.0
        validation = self._validation_loss(task, weights)
        history.append({"epoch": 0.0, "train_loss": loss, "val_loss": validation, "seconds": time.monotonic() - began})
        data = _save({"weights": weights, "scale": 1 / np.sqrt(curvature)})
        return Checkpoint(weights=data, validation_loss=validation, history=tuple(history))

    def _validation_loss(self, task: FitTask, weights: NDArray[np.float64]) -> float:
        losses = []
        for item in task.validation:
            truth = task.pool.truth(item).classes
            x_NF = features(task.pool.image(item))[:, truth != UNANNOTATED].T
            log_p_NC = special.log_softmax(x_NF @ weights, axis=1)
            losses.append(-log_p_NC[np.arange(len(x_NF)), truth[truth != UNANNOTATED]].mean())
        return float(np.mean(losses)) if losses else 0.0

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> PixelPredictor:
        """A predictor that draws `passes` weights from every member."""
        return PixelPredictor([_load(data) for data in checkpoints], self.passes)


class PixelPredictor:
    """Predicts with weights drawn around each member's fit."""

    def __init__(self, members: Sequence[dict[str, NDArray[np.float64]]], passes: int) -> None:
        self._members, self._passes = members, passes

    def predict(
        self,
        image: NDArray[np.generic],
        *,
        spacing: Sequence[float] = (),
        seed: int,
        votes: bool = False,
        log: bool = False,
        spread: bool = False,
    ) -> Prediction:
        """Moments over members × passes of one image (C, S)."""
        classes = self._members[0]["weights"].shape[1]
        total = moments.empty(classes, image.shape[1:], votes=votes, log=log, spread=spread)
        for log_p in self._passes_of(image, seed, self._passes):
            total = moments.add(total, log_p)
        return Prediction(moments=total)

    def samples(
        self, image: NDArray[np.generic], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """`count` weight draws over all members."""
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        drawn = self._passes_of(image, seed, -(-count // len(self._members)))
        return np.stack([np.exp(log_p).astype(np.float32) for log_p in itertools.islice(drawn, count)])

    def _passes_of(self, image: NDArray[np.generic], seed: int, passes: int) -> Iterator[NDArray[np.float64]]:
        """Log-probabilities (C, S) of `passes` weight draws around each member's fit."""
        x_FS = features(image)
        for member, parts in enumerate(self._members):
            rng = seeding.generator(seed, "weights", member)
            for _ in range(passes):
                weights = parts["weights"] + 3 * parts["scale"] * rng.normal(size=parts["weights"].shape)
                yield special.log_softmax(np.tensordot(weights.T, x_FS, axes=1), axis=0)


def _save(arrays: dict[str, NDArray[np.float64]]) -> bytes:
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _load(data: bytes) -> dict[str, NDArray[np.float64]]:
    from safetensors.numpy import load

    return dict(load(data))
