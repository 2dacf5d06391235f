"""Predictions of generative networks: draws of the weights, and under each draws of the latent code (or of Gaussian logits).

Legend: ``C`` classes, ``K`` latent draws, ``N`` samples, ``S`` space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.canvas import Canvas
from alframe.learners.checkpoints import ModelCard, load_model
from alframe.learners.computing import computing, device_of, mixed_precision
from alframe.learners.nets.bayesian import DrawnConvolution, Weights
from alframe.learners.networks import HeteroscedasticUNet, ProbUNet
from alframe.learners.prediction import Sums
from alframe.learners.settings import Inference
from alframe.ports import Prediction
from alframe.seeding import derive
from alframe.types import Compute

__all__ = ["DrawnLogits", "Generative", "NestedPredictor"]


class Generative(Protocol):
    """A network that draws its predictions: see :mod:`alframe.learners.nets.prob_unet`."""

    drawn: DrawnConvolution

    def context(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What no draw changes, of images (B, channels, S)."""

    def respond(self, context: tuple[torch.Tensor, ...], weights: Weights | None, noise: torch.Tensor) -> torch.Tensor:
        """Maps (B, channels, S) under drawn weights (None: their mean) and the noise of K codes; windows of it can be blended."""

    def noise(self, seeds: Sequence[int], device: torch.device) -> torch.Tensor:
        """The noise of K codes, each from its own seed."""

    def logits_of(self, response: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Logits (K, C, S) from the blended response (channels, S)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One draw of the weights (`weights` its seed, None = their mean), and a seed for each latent draw under it."""

    weights: int | None
    latents: tuple[int, ...]


class DrawnLogits:
    """Gives the drawn logits of whole images by one network in eval mode: in one piece where it fits, else by windows.

    The noise of codes is the same in all windows; that of Gaussian logits is drawn after they were blended.
    """

    def __init__(self, module: nn.Module, card: ModelCard, inference: Inference, compute: Compute) -> None:
        self._compute, self._device = compute, device_of(compute)
        self._module: Any = module
        self._canvas = Canvas(module, card, inference, self._device)

    def groups(self, image: NDArray[Any], draws: Sequence[Draw]) -> Iterator[torch.Tensor]:
        """Logits (K, C, S; float32) of `image` (channels, S), a group for each draw of the weights.

        Call under ``torch.inference_mode`` and :func:`~alframe.learners.computing.computing`.
        """
        module, placed = self._module, self._canvas.place(image)
        with mixed_precision(self._compute):
            context = module.context(placed.x) if placed.whole else None
        for draw in draws:
            weights = None
            if draw.weights is not None:
                weights = module.drawn.draw(torch.Generator(self._device).manual_seed(draw.weights))
            noise = module.noise(draw.latents, self._device)

            def respond(
                x: torch.Tensor, weights: Weights | None = weights, noise: torch.Tensor = noise
            ) -> torch.Tensor:
                with mixed_precision(self._compute):
                    response: torch.Tensor = module.respond(module.context(x), weights, noise)
                return response.float()

            if context is None:
                response = placed.blended(respond)
            else:
                with mixed_precision(self._compute):
                    response = placed.inside(module.respond(context, weights, noise)[0].float())
            yield module.logits_of(response, draw.latents)


class NestedPredictor:
    """The :class:`~alframe.ports.Predictor` of one or many generative networks. Not safe to share between threads.

    Each network draws its weights `draws` times, and `latents` codes under each.
    """

    def __init__(
        self,
        checkpoints: Sequence[bytes],
        network: ProbUNet | HeteroscedasticUNet,
        *,
        draws: int,
        latents: int,
        inference: Inference,
        compute: Compute,
    ) -> None:
        """Raises InvalidValue when a checkpoint does not hold `network`, or they differ in kind."""
        self._compute, self._draws, self._latents = compute, draws, latents
        loaded = [load_model(weights, network) for weights in checkpoints]
        cards = [card for _, card in loaded]
        if any(card != cards[0] for card in cards):
            raise InvalidValue(f"the members differ in what they predict: {cards}")
        self.card = cards[0]
        self._members = [
            DrawnLogits(module.to(device_of(compute)), card, inference, compute) for module, card in loaded
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
        """Predict a whole image (channels, S) as ingested; see :meth:`alframe.ports.Predictor.predict`.

        The count of the moments is members × draws of the weights. `spacing` is not used.

        Raises:
            InvalidValue: when the image has other channels or axes than the model was trained on.
            NonFiniteError: when a probability is NaN or infinite.
        """
        sums = Sums(self.card, votes=votes, log=log, spread=spread)
        with computing(self._compute), torch.inference_mode():
            for number, member in enumerate(self._members):
                for logits in member.groups(image, self._nested(derive(seed, "member", number))):
                    sums.add_group(logits)
            return sums.prediction()

    def _nested(self, seed: int) -> list[Draw]:
        return [
            Draw(
                weights=derive(seed, "weights", s),
                latents=tuple(derive(seed, "weights", s, "latent", k) for k in range(self._latents)),
            )
            for s in range(self._draws)
        ]

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Probabilities (`count`, C, S), weights and code drawn anew for each; members take turns.

        Raises:
            InvalidValue: when `count` is below 1, or the image does not fit the model.
            NonFiniteError: when a probability is NaN or infinite.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        members = len(self._members)
        found: dict[int, NDArray[np.float32]] = {}
        with computing(self._compute), torch.inference_mode():
            for number, member in enumerate(self._members):
                mine = range(number, count, members)
                draws = [
                    Draw(weights=derive(seed, "sample", n, "weights"), latents=(derive(seed, "sample", n, "latent"),))
                    for n in mine
                ]
                for n, logits in zip(mine, member.groups(image, draws), strict=True):
                    found[n] = logits[0].softmax(0).cpu().numpy()
        drawn: NDArray[np.float32] = np.stack([found[n] for n in range(count)])
        if not np.isfinite(drawn).all():
            raise NonFiniteError("the network predicted NaN or infinite probabilities; train again at a lower rate")
        return drawn
