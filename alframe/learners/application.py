"""A network applied to one whole image: in one piece where it fits, else by overlapping windows.

Legend: ``C`` channels, ``K`` logits (classes, then two of a contour head), ``S`` space, ``B`` batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from alframe.errors import InvalidValue
from alframe.learners.checkpoints import ModelCard
from alframe.learners.computing import device_of, mixed_precision
from alframe.learners.nets import divisor_of, outputs_of
from alframe.learners.noise import PassNoise
from alframe.learners.normalise import intensity_affine
from alframe.learners.settings import Inference
from alframe.types import Compute

__all__ = ["Applier", "default_window", "rounded_up"]


@runtime_checkable
class Splittable(Protocol):
    """A network whose forward is ``stochastic(deterministic(x))``; the first half holds no dropout."""

    def deterministic(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is the same for every pass."""

    def stochastic(self, state: tuple[torch.Tensor, ...]) -> Any:
        """The rest; must not change `state`."""


def rounded_up(shape: Sequence[int], divisor: int) -> tuple[int, ...]:
    """The smallest sides not below `shape` that `divisor` divides."""
    return tuple(-(-side // divisor) * divisor for side in shape)


def default_window(spatial_dims: int) -> tuple[int, ...]:
    """The largest image that goes through a network in one piece unless the user says otherwise."""
    return (1024, 1024) if spatial_dims == 2 else (128, 128, 128)


class Applier:
    """Gives the logits of whole images. With `noise`, each call makes passes with dropout on; without, one plain pass."""

    def __init__(
        self, module: nn.Module, card: ModelCard, inference: Inference, compute: Compute, noise: PassNoise | None = None
    ) -> None:
        window = inference.window or default_window(card.spatial_dims)
        if len(window) != card.spatial_dims:
            raise InvalidValue(f"inference: window {window} needs {card.spatial_dims} sides for these images")
        self._divisor = divisor_of(module)
        self._window = rounded_up(window, self._divisor)
        self._module, self._card, self._inference, self._compute, self._noise = module, card, inference, compute, noise
        self._device = device_of(compute)

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
        if image.ndim != self._card.spatial_dims + 1 or image.shape[0] != self._card.channels:
            raise InvalidValue(
                f"the model takes images of {self._card.channels} channels and {self._card.spatial_dims} spatial axes, "
                f"got an array of shape {image.shape}"
            )
        pixels = intensity_affine(image, self._card.normalise).apply(image)
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)[None]
        x = x if perturb is None else perturb(x)
        whole = all(side <= limit for side, limit in zip(x.shape[2:], self._window, strict=True))
        return self._whole(x, seeds) if whole else self._windows(x, seeds)

    def _whole(self, x: torch.Tensor, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
        shape = x.shape[2:]
        after = [(0, wide - side) for side, wide in zip(shape, rounded_up(shape, self._divisor), strict=True)]
        x = functional.pad(x, [n for pair in reversed(after) for n in pair], mode="replicate")
        inside = (slice(None), *(slice(0, side) for side in shape))
        if self._noise is None:
            yield self._first(self._module, x)[0][inside]
            return
        with mixed_precision(self._compute):
            state, rest = self._split(x)
        for begin in range(0, len(seeds), self._inference.batch):
            chunk = seeds[begin : begin + self._inference.batch]
            self._noise.begin(chunk, self._device)
            repeated = tuple(part.expand(len(chunk), *part.shape[1:]) for part in state) if len(chunk) > 1 else state
            for one in self._first(rest, repeated, shape=torch.Size((len(chunk), *x.shape[1:]))):
                yield one[inside]

    def _split(self, x: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], Callable[[tuple[torch.Tensor, ...]], Any]]:
        """What is the same for every pass, and the function that finishes a pass from it."""
        module = self._module
        if isinstance(module, Splittable):
            return module.deterministic(x), module.stochastic
        return (x,), lambda parts: module(parts[0])

    def _windows(self, x: torch.Tensor, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
        for seed in seeds if self._noise is not None else (None,):
            if self._noise is not None and seed is not None:
                self._noise.begin((seed,), self._device)
            blended = sliding_window_inference(
                x,
                self._window,
                self._inference.batch,
                lambda window: self._first(self._module, window),
                overlap=self._inference.overlap,
                mode="gaussian",
                padding_mode="replicate",
            )
            assert isinstance(blended, torch.Tensor)
            yield blended[0]

    def _first(self, forward: Any, inputs: Any, shape: torch.Size | None = None) -> torch.Tensor:
        """The prediction's logits (B, K, S) in float32, checked."""
        with mixed_precision(self._compute):
            result = forward(inputs)
        shape = inputs.shape if shape is None else shape
        return outputs_of(result, out_channels=self._card.out_channels, shape=shape)[0].float()
