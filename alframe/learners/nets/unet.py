"""U-Net (Ronneberger et al. 2015, as in MONAI's BasicUNet) with dropout from a chosen level down.

Legend: ``B`` batch, ``S`` space; level 0 is the finest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Pool
from torch import nn
from torch.nn import functional

from alframe.learners.nets.blocks import norm_parameters
from alframe.learners.networks import UNet

__all__ = ["UNetModule"]


class UNetModule(nn.Module):
    """The network of :class:`~alframe.learners.networks.UNet`.

    ``forward`` is ``stochastic(deterministic(x))``: the encoder above the first dropout, and what its skips add to the
    decoder, is the same for every pass.
    """

    def __init__(self, network: UNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.network = network
        widths, stride = network.features, network.stem_stride
        self.divisor = stride * 2 ** (len(widths) - 1)
        self.first_random = network.dropout_from if network.dropout > 0 else len(widths)
        stem = [] if stride == 1 else [Conv[Conv.CONV, spatial_dims](in_channels, widths[0], stride, stride)]
        self.stem = nn.Sequential(*stem)
        entry = in_channels if stride == 1 else widths[0]
        self.down = nn.ModuleList(
            self._pair(spatial_dims, entry if level == 0 else widths[level - 1], width, level)
            for level, width in enumerate(widths)
        )
        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self._convolve = functional.conv2d if spatial_dims == 2 else functional.conv3d
        levels = range(len(widths) - 1)
        self.up = nn.ModuleList(
            Conv[Conv.CONVTRANS, spatial_dims](widths[level + 1], widths[level], 2, 2) for level in levels
        )
        self.merge = nn.ModuleList(
            self._pair(spatial_dims, 2 * widths[level], widths[level], level) for level in levels
        )
        if stride == 1:
            self.head: nn.Module = Conv[Conv.CONV, spatial_dims](widths[0], out_channels, 1)
        else:
            self.head = nn.Sequential(
                Conv[Conv.CONV, spatial_dims](widths[0], out_channels, 1),
                nn.Upsample(scale_factor=stride, mode="bilinear" if spatial_dims == 2 else "trilinear"),
            )

    def _pair(self, spatial_dims: int, entry: int, width: int, level: int) -> nn.Sequential:
        """Two convolutions, each with normalisation, dropout (from its level down) and LeakyReLU."""
        network = self.network
        rate = network.dropout if network.dropout > 0 and level >= network.dropout_from else None
        return nn.Sequential(
            *(
                Convolution(
                    spatial_dims,
                    channels,
                    width,
                    act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
                    norm=norm_parameters(network.norm, width),
                    dropout=rate,
                    dropout_dim=spatial_dims if network.channel_dropout else 1,
                    padding=1,
                )
                for channels in (entry, width)
            )
        )

    def _pair_of(self, level: int) -> tuple[Any, Any]:
        """The two convolutions of a level of the decoder."""
        pair = self.merge[level]
        assert isinstance(pair, nn.Sequential)
        return pair[0], pair[1]

    def _of_skip(self, level: int, skip: torch.Tensor) -> torch.Tensor:
        """The skip's part of the decoder's first convolution, whose input is [skip, up]: it is linear in both."""
        first, _ = self._pair_of(level)
        weight = first.conv.weight[:, : skip.shape[1]]
        return self._convolve(skip, weight, first.conv.bias, padding=first.conv.padding)

    def _merged(self, level: int, of_skip: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """The decoder's level from the skip's part and the features from below."""
        first, second = self._pair_of(level)
        weight = first.conv.weight[:, -up.shape[1] :]
        x = of_skip + self._convolve(up, weight, None, padding=first.conv.padding)
        merged: torch.Tensor = second(first.adn(x))
        return merged

    def deterministic(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of the levels without dropout: what each skip adds to the decoder, the finest first; then the running features."""
        x = self.stem(x)
        skips: list[torch.Tensor] = []
        for level in range(self.first_random):
            x = self.down[level](x if level == 0 else self.pool(x))
            if level < len(self.up):
                skips.append(self._of_skip(level, x))
        return (*skips, x)

    def decoded(self, state: tuple[torch.Tensor, ...]) -> Iterator[torch.Tensor]:
        """The features of each level of the decoder, the finest last, from what :meth:`deterministic` returned."""
        *skips, x = state
        for level in range(self.first_random, len(self.down)):
            x = self.down[level](x if level == 0 else self.pool(x))
            if level < len(self.up):
                skips.append(self._of_skip(level, x))
        for level in reversed(range(len(self.up))):
            x = self._merged(level, skips[level], self.up[level](x))
            yield x

    def stochastic(self, state: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Logits (B, out_channels, S) from what :meth:`deterministic` returned."""
        for finest in self.decoded(state):  # noqa: B007 - only the last is wanted, the others may go
            pass
        logits: torch.Tensor = self.head(finest)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, S) of an input (B, in_channels, S) whose sides `divisor` divides."""
        return self.stochastic(self.deterministic(x))
