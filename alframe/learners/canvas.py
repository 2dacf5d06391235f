"""A whole image as a network takes it: normalised, then padded to what the network divides, or cut into windows and blended.

Legend: ``C`` channels, ``K`` maps that a network gives, ``B`` batch, ``S`` space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from alframe.errors import InvalidValue
from alframe.learners.checkpoints import ModelCard
from alframe.learners.nets import divisor_of
from alframe.learners.normalise import intensity_affine
from alframe.learners.settings import Inference

__all__ = ["Canvas", "Placed", "default_window", "rounded_up"]


def rounded_up(shape: Sequence[int], divisor: int) -> tuple[int, ...]:
    """The smallest sides not below `shape` that `divisor` divides."""
    return tuple(-(-side // divisor) * divisor for side in shape)


def default_window(spatial_dims: int) -> tuple[int, ...]:
    """The largest image that goes through a network in one piece unless the user says otherwise."""
    return (1024, 1024) if spatial_dims == 2 else (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """An image on its way through a network: `x` (1, C, S), padded when it is taken `whole`."""

    x: torch.Tensor
    shape: tuple[int, ...]
    whole: bool
    window: tuple[int, ...]
    inference: Inference

    def inside(self, maps: torch.Tensor) -> torch.Tensor:
        """The image's part of maps (K, S) of the padded input."""
        return maps[(slice(None), *(slice(0, side) for side in self.shape))]

    def blended(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Maps (K, S) of the image from a function of windows (B, C, S) → (B, K, S), blended with Gaussian weights."""
        result = sliding_window_inference(
            self.x,
            self.window,
            self.inference.batch,
            forward,
            overlap=self.inference.overlap,
            mode="gaussian",
            padding_mode="replicate",
        )
        assert isinstance(result, torch.Tensor)
        return result[0]


class Canvas:
    """Places images for one network."""

    def __init__(self, module: nn.Module, card: ModelCard, inference: Inference, device: torch.device) -> None:
        """Raises InvalidValue when the window has another number of sides than the images."""
        window = inference.window or default_window(card.spatial_dims)
        if len(window) != card.spatial_dims:
            raise InvalidValue(f"inference: window {window} needs {card.spatial_dims} sides for these images")
        self._divisor = divisor_of(module)
        self._window = rounded_up(window, self._divisor)
        self._card, self._inference, self._device = card, inference, device

    def place(self, image: NDArray[Any], perturb: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Placed:
        """The image (C, S) in its native dtype and range; `perturb` may change it when normalised (1, C, S), before it is padded.

        Raises:
            InvalidValue: when the model takes other images.
        """
        if image.ndim != self._card.spatial_dims + 1 or image.shape[0] != self._card.channels:
            raise InvalidValue(
                f"the model takes images of {self._card.channels} channels and {self._card.spatial_dims} spatial axes, "
                f"got an array of shape {image.shape}"
            )
        pixels = intensity_affine(image, self._card.normalise).apply(image)
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)[None]
        x = x if perturb is None else perturb(x)
        shape = tuple(x.shape[2:])
        whole = all(side <= limit for side, limit in zip(shape, self._window, strict=True))
        if whole:
            after = [(0, wide - side) for side, wide in zip(shape, rounded_up(shape, self._divisor), strict=True)]
            x = functional.pad(x, [n for pair in reversed(after) for n in pair], mode="replicate")
        return Placed(x=x, shape=shape, whole=whole, window=self._window, inference=self._inference)
