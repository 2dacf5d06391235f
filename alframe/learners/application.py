"""A network applied to one whole image: in one piece where it fits, else by overlapping windows.

Legend: ``C`` channels, ``K`` logits (classes, then two of a contour head), ``S`` space, ``B`` batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import nn

from alframe.learners.canvas import Canvas, Placed
from alframe.learners.checkpoints import ModelCard
from alframe.learners.computing import device_of, mixed_precision
from alframe.learners.nets import outputs_of
from alframe.learners.noise import PassNoise
from alframe.learners.settings import Inference
from alframe.types import Compute

__all__ = ["Applier"]


@runtime_checkable
class Splittable(Protocol):
    """A network whose forward is ``stochastic(deterministic(x))``; the first half holds no dropout."""

    def deterministic(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is the same for every pass."""

    def stochastic(self, state: tuple[torch.Tensor, ...]) -> Any:
        """The rest; must not change `state`."""


class Applier:
    """Gives the logits of whole images. With `noise`, each call makes passes with dropout on; without, one plain pass."""

    def __init__(
        self, module: nn.Module, card: ModelCard, inference: Inference, compute: Compute, noise: PassNoise | None = None
    ) -> None:
        self._device = device_of(compute)
        self._canvas = Canvas(module, card, inference, self._device)
        self._module, self._card, self._inference, self._compute, self._noise = module, card, inference, compute, noise

    def logits(
        self,
        image: NDArray[Any],
        seeds: Sequence[int] = (),
        perturb: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Iterator[torch.Tensor]:
        """Logits (K, S; float32) of `image` (C, S): one for each of `seeds` when dropout is on, else one.

        `perturb` may change the normalised image (1, C, S) before it is padded or cut.

        Call under ``torch.inference_mode`` and :func:`~alframe.learners.computing.computing`, the module in eval mode.
        """
        placed = self._canvas.place(image, perturb)
        return self._whole(placed, seeds) if placed.whole else self._windows(placed, seeds)

    def _whole(self, placed: Placed, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
        x = placed.x
        if self._noise is None:
            yield placed.inside(self._first(self._module, x)[0])
            return
        with mixed_precision(self._compute):
            state, rest = self._split(x)
        for begin in range(0, len(seeds), self._inference.batch):
            chunk = seeds[begin : begin + self._inference.batch]
            self._noise.begin(chunk, self._device)
            repeated = tuple(part.expand(len(chunk), *part.shape[1:]) for part in state) if len(chunk) > 1 else state
            for one in self._first(rest, repeated, shape=torch.Size((len(chunk), *x.shape[1:]))):
                yield placed.inside(one)

    def _split(self, x: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], Callable[[tuple[torch.Tensor, ...]], Any]]:
        """What is the same for every pass, and the function that finishes a pass from it."""
        module = self._module
        if isinstance(module, Splittable):
            return module.deterministic(x), module.stochastic
        return (x,), lambda parts: module(parts[0])

    def _windows(self, placed: Placed, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
        for seed in seeds if self._noise is not None else (None,):
            if self._noise is not None and seed is not None:
                self._noise.begin((seed,), self._device)
            yield placed.blended(lambda window: self._first(self._module, window))

    def _first(self, forward: Any, inputs: Any, shape: torch.Size | None = None) -> torch.Tensor:
        """The prediction's logits (B, K, S) in float32, checked."""
        with mixed_precision(self._compute):
            result = forward(inputs)
        shape = inputs.shape if shape is None else shape
        return outputs_of(result, out_channels=self._card.out_channels, shape=shape)[0].float()
