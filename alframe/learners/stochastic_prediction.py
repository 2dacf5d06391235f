"""The predictor of a stochastic ensemble: noisy copies of the image through members with windows of their own.

Legend: ``C`` classes, ``K`` logits, ``N`` copies, ``S`` space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.application import Applier
from alframe.learners.checkpoints import load_model
from alframe.learners.computing import computing, device_of
from alframe.learners.prediction import Sums
from alframe.learners.stochastic import StochasticEnsemble
from alframe.ports import Prediction
from alframe.seeding import derive
from alframe.types import Compute

__all__ = ["StochasticPredictor"]


class StochasticPredictor:
    """The :class:`~alframe.ports.Predictor` of one checkpoint for each size. Not safe to share between threads."""

    def __init__(self, checkpoints: Sequence[bytes], learner: StochasticEnsemble, compute: Compute) -> None:
        """Raises InvalidValue when a checkpoint does not hold the learner's network, or they differ in kind."""
        self._learner, self._compute = learner, compute
        loaded = [load_model(weights, learner.network) for weights in checkpoints]
        cards = [card for _, card in loaded]
        if any(card != cards[0] for card in cards):
            raise InvalidValue(f"the members differ in what they predict: {cards}")
        self.card = cards[0]
        self._appliers = [
            Applier(
                module.to(device_of(compute)),
                card,
                replace(learner.inference, window=learner.patch(member, card.spatial_dims)),
                compute,
            )
            for member, (module, card) in enumerate(loaded)
        ]

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
        """Predict a whole image (C, S) as ingested; see :meth:`alframe.ports.Predictor.predict`.

        Raises:
            InvalidValue: when the image has other channels or axes than the members were trained on.
            NonFiniteError: when a probability is NaN or infinite.
        """
        sums = Sums(self.card, votes=votes, log=log, spread=spread)
        with computing(self._compute), torch.inference_mode():
            for logits in self._members(image, seed):
                sums.add_group(logits)
            return sums.prediction()

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """A copy a member and round, each with new noise, members in turn; at most ``members × copies``.

        Raises: as :meth:`predict`, and InvalidValue when `count` is below 1.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        with computing(self._compute), torch.inference_mode():
            stack = torch.stack(list(self._members(image, seed)), 1)  # copies, members, logits, space
            drawn = stack.flatten(0, 1)[:count, : len(self.card.classes)].softmax(1).cpu().numpy()
        if not np.isfinite(drawn).all():
            raise NonFiniteError("a member predicted NaN or infinite probabilities; train again at a lower rate")
        found: NDArray[np.float32] = drawn
        return found

    def foreground_logit(self, image: NDArray[Any], *, seed: int) -> NDArray[np.float64]:
        """The mean over members and copies of the log odds of foreground (all classes but background), (S).

        It is what blobs and their confidence are made of, see :mod:`alframe.metrics.blobs`. Raises: as :meth:`predict`.
        """
        with computing(self._compute), torch.inference_mode():
            maps = [self._odds(logits).mean(0) for logits in self._members(image, seed)]
            found: NDArray[np.float64] = torch.stack(maps).mean(0).cpu().numpy()
        return found

    def deterministic_logit(self, image: NDArray[Any], *, member: int) -> NDArray[np.float64]:
        """The log odds of foreground (S) of one member on the image without noise. Raises: as :meth:`predict`."""
        with computing(self._compute), torch.inference_mode():
            (logits,) = self._appliers[member].logits(image)
            found: NDArray[np.float64] = self._odds(logits[None])[0].cpu().numpy()
        return found

    def _odds(self, logits: torch.Tensor) -> torch.Tensor:
        """Log odds of foreground (N, S) of logits (N, K, S)."""
        return (logits[:, 1 : len(self.card.classes)].logsumexp(1) - logits[:, 0]).double()

    def _members(self, image: NDArray[Any], seed: int) -> Iterator[torch.Tensor]:
        """Logits (N, K, S) of each member's copies."""
        for member, applier in enumerate(self._appliers):
            copies: list[torch.Tensor] = []
            for number in range(self._learner.copies):
                sigma = self._learner.noise[number % len(self._learner.noise)]
                noise = _Noise(derive(seed, "member", member, "copy", number), sigma)
                copies += applier.logits(image, perturb=noise)
            yield torch.stack(copies)


class _Noise:
    """Gaussian noise on a normalised image, before it is padded or cut into windows."""

    def __init__(self, seed: int, sigma: float) -> None:
        self._seed, self._sigma = seed, sigma

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator(x.device).manual_seed(self._seed)
        return x + self._sigma * torch.randn(x.shape, generator=generator, device=x.device)
