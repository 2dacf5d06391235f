"""Monte Carlo dropout whose noise is seeded by pass, whatever else shares the batch (Gal & Ghahramani 2016).

Legend: ``B`` batch = passes × inputs, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from alframe.errors import InvalidValue

__all__ = ["PassNoise", "seed_dropout"]

ELEMENT = (nn.Dropout,)
CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class PassNoise:
    """The generators of the passes that are in the batch now; shared by all dropout layers of a model."""

    def __init__(self) -> None:
        self._generators: tuple[torch.Generator, ...] = ()

    def begin(self, seeds: Sequence[int], device: torch.device) -> None:
        """Start the passes with these seeds; the batch holds their inputs one pass after the other."""
        self._generators = tuple(torch.Generator(device).manual_seed(seed) for seed in seeds)

    def mask(self, shape: Sequence[int], keep: float, like: torch.Tensor) -> torch.Tensor:
        """A scaled keep mask, each pass drawn from its own generator."""
        rows = shape[0] // len(self._generators)
        parts = [
            torch.empty((rows, *shape[1:]), dtype=like.dtype, device=like.device).bernoulli_(keep, generator=generator)
            for generator in self._generators
        ]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).div_(keep)


class SeededDropout(nn.Module):
    """Always-on dropout that draws from a :class:`PassNoise`."""

    def __init__(self, rate: float, noise: PassNoise, *, channel: bool) -> None:
        super().__init__()
        self.keep, self.noise, self.channel = 1 - rate, noise, channel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` (B, C, S) with values, or whole channels, dropped."""
        shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if self.channel else tuple(x.shape)
        return x * self.noise.mask(shape, self.keep, x)


def seed_dropout(module: nn.Module) -> PassNoise:
    """Replace the dropout layers of `module`, in place, by seeded ones that stay on in eval mode; nothing else changes.

    Raises:
        InvalidValue: when it has no dropout layer with a positive rate, or one of a kind that is not understood.
    """
    noise = PassNoise()
    found = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, _DropoutNd) or child.p == 0:
                continue
            if not isinstance(child, ELEMENT + CHANNEL):
                raise InvalidValue(
                    f"MC dropout knows nn.Dropout and nn.Dropout1d to 3d, the network has {type(child).__name__}"
                )
            setattr(parent, name, SeededDropout(child.p, noise, channel=isinstance(child, CHANNEL)))
            found += 1
    if not found:
        raise InvalidValue(
            "MC dropout needs a network with dropout layers (torch.nn.Dropout, rate above 0), found none; "
            "all passes would be equal and BALD 0. Set dropout, or use a deep ensemble"
        )
    return noise
