"""Predictors: stochastic passes or members, reduced on the device to sums that do not grow with their number.

Legend: ``C`` classes, ``K`` logits (classes, then two of a contour head), ``S`` space, ``M`` passes or members, ``L`` latent
draws under one draw of the weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.application import Applier
from alframe.learners.checkpoints import ModelCard, load_model
from alframe.learners.computing import computing, device_of
from alframe.learners.networks import AnyNetwork
from alframe.learners.noise import seed_dropout
from alframe.learners.settings import Inference
from alframe.ports import Moments, Prediction
from alframe.seeding import derive
from alframe.types import Compute

__all__ = ["NetworkPredictor"]


class Sums:
    """The running sums of :class:`~alframe.ports.Moments`, float64, on the device."""

    def __init__(self, card: ModelCard, *, votes: bool, log: bool, spread: bool) -> None:
        self._classes, self._has_contour = len(card.classes), card.contour
        self._wants_votes, self._wants_log, self._wants_spread = votes, log, spread
        self.count = 0
        self._probability: torch.Tensor | None = None
        self._entropy: torch.Tensor | None = None
        self._votes: torch.Tensor | None = None
        self._log: torch.Tensor | None = None
        self._contour: torch.Tensor | None = None
        self._squares: torch.Tensor | None = None
        self._noise: torch.Tensor | None = None
        self._disagreement: torch.Tensor | None = None

    def add(self, logits: torch.Tensor, *, disagreement: torch.Tensor | None = None) -> None:
        """Take one pass: `logits` (K, S), and the disagreement of raters (S; 0 … 1) where the network predicts it."""
        self._take(logits[: self._classes].log_softmax(0), None, disagreement)
        if self._has_contour:
            self._contour = _plus(self._contour, logits[self._classes : self._classes + 2].softmax(0)[1])

    def add_group(self, logits: torch.Tensor, *, disagreement: torch.Tensor | None = None) -> None:
        """Take one draw of the weights with its latent draws: `logits` (L, K, S), L ≥ 2; the pass is their mean probability."""
        log_p = logits[:, : self._classes].log_softmax(1)
        draws = len(log_p)
        noise = log_p.double().exp().var(0) / draws if self._wants_spread else None
        self._take(log_p.logsumexp(0) - math.log(draws), noise, disagreement)
        if self._has_contour:
            self._contour = _plus(self._contour, logits[:, self._classes : self._classes + 2].softmax(1)[:, 1].mean(0))

    def _take(self, log_p: torch.Tensor, noise: torch.Tensor | None, disagreement: torch.Tensor | None) -> None:
        p = log_p.exp()
        self._probability = _plus(self._probability, p)
        self._entropy = _plus(self._entropy, -(p * log_p).sum(0))
        if self._wants_votes:
            self._votes = _plus(self._votes, _winners(p))
        if self._wants_log:
            wide = log_p.double()
            self._log = wide if self._log is None else torch.logaddexp(self._log, wide)
        if self._wants_spread:
            self._squares = _plus(self._squares, p.double() ** 2)
            self._noise = _plus(self._noise, torch.zeros_like(p) if noise is None else noise)
            if disagreement is not None:
                self._disagreement = _plus(self._disagreement, disagreement)
        self.count += 1

    def prediction(self) -> Prediction:
        """The sums as NumPy arrays. Raises NonFiniteError."""
        assert self._probability is not None
        assert self._entropy is not None
        if not bool(torch.isfinite(self._probability).all() and torch.isfinite(self._entropy).all()):
            raise NonFiniteError(
                "the network predicted NaN or infinite probabilities; train again with a lower learning rate, "
                "or with compute.precision fp32 if it was lower"
            )
        moments = Moments(
            count=self.count,
            probability=_numpy(self._probability),
            entropy=_numpy(self._entropy),
            **{
                name: None if total is None else _numpy(total)
                for name, total in (
                    ("votes", self._votes),
                    ("log_probability", self._log),
                    ("squares", self._squares),
                    ("noise", self._noise),
                    ("disagreement", self._disagreement),
                )
            },
        )
        contour = None if self._contour is None else _numpy(self._contour / self.count).astype(np.float32)
        return Prediction(moments=moments, contour=contour)


def _plus(total: torch.Tensor | None, value: torch.Tensor) -> torch.Tensor:
    return value.double() if total is None else total.add_(value)


def _winners(p: torch.Tensor) -> torch.Tensor:
    """Which class is the most probable (C, S; bool; ties: the first). Far faster than argmax over the first axis."""
    top: torch.Tensor = functools.reduce(torch.maximum, p.unbind())
    winners = p == top
    for c in range(1, len(p)):
        winners[c] &= ~winners[:c].any(0)
    return winners


def _numpy(values: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.cpu().numpy()
    return array


class NetworkPredictor:
    """The :class:`~alframe.ports.Predictor` of one or many checkpoints of one kind of network.

    With `passes` each checkpoint makes that many with dropout on; without, each makes one plain pass. Not safe to
    share between threads.
    """

    def __init__(
        self,
        checkpoints: Sequence[bytes],
        network: AnyNetwork,
        *,
        passes: int | None,
        inference: Inference,
        compute: Compute,
    ) -> None:
        """Raises InvalidValue when a checkpoint does not hold `network`, they differ in kind, or there is no dropout for passes."""
        self._compute, self._passes = compute, passes
        self._appliers: list[Applier] = []
        cards = []
        for weights in checkpoints:
            module, card = load_model(weights, network)
            noise = seed_dropout(module) if passes is not None else None
            module = module.to(device_of(compute))
            self._appliers.append(Applier(module, card, inference, compute, noise))
            cards.append(card)
        if any(card != cards[0] for card in cards):
            raise InvalidValue(f"the members differ in what they predict: {cards}")
        self.card = cards[0]

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

        `spacing` is not used: the networks work on the pixel grid.

        Raises:
            InvalidValue: when the image has other channels or axes than the model was trained on.
            NonFiniteError: when a probability is NaN or infinite.
        """
        sums = Sums(self.card, votes=votes, log=log, spread=spread)
        with computing(self._compute), torch.inference_mode():
            for logits in self._logits(image, seed, self._passes or 0):
                sums.add(logits)
            return sums.prediction()

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Passes with dropout on (`count` over all members), or each member once; see :meth:`alframe.ports.Predictor.samples`.

        Raises:
            InvalidValue: when `count` is below 1, or the image does not fit the model.
            NonFiniteError: when a probability is NaN or infinite.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        passes = 0 if self._passes is None else -(-count // len(self._appliers))
        classes = len(self.card.classes)
        with computing(self._compute), torch.inference_mode():
            found = [logits[:classes].softmax(0).cpu().numpy() for logits in self._logits(image, seed, passes)]
        drawn: NDArray[np.float32] = np.stack(found[:count])
        if not np.isfinite(drawn).all():
            raise NonFiniteError("the network predicted NaN or infinite probabilities; train again at a lower rate")
        return drawn

    def _logits(self, image: NDArray[Any], seed: int, passes: int) -> Iterator[torch.Tensor]:
        for member, applier in enumerate(self._appliers):
            seeds = [derive(seed, "member", member, "pass", number) for number in range(passes)]
            yield from applier.logits(image, seeds)
