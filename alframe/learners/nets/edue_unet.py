"""A U-Net with heads at several depths of its decoder and a branch that predicts the disagreement of raters, for ``edue``.

Legend: ``B`` batch, ``H`` heads, ``C`` classes, ``S`` space; level 0 is the finest.
"""

from __future__ import annotations

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional

from alframe.learners.nets.blocks import norm_parameters
from alframe.learners.nets.unet import UNetModule
from alframe.learners.networks import EdueUNet, UNet

__all__ = ["EdueUNetModule"]


class EdueUNetModule(nn.Module):
    """The network of :class:`~alframe.learners.networks.EdueUNet`: H·C + 1 maps, the heads' logits and one for the disagreement.

    The finest head comes first. Each coarser one is a 1-wide convolution on the features of its level, up-sampled. The
    disagreement branch adds up the features of all levels of the decoder; what it finds scales the finest features,
    channel by channel and pixel by pixel, before the last block.
    """

    def __init__(self, network: EdueUNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.network = network
        classes = (out_channels - 1) // network.heads
        widths, dims = network.features, spatial_dims
        plain = UNet(features=widths, dropout=0.0, norm=network.norm)
        self.body = UNetModule(plain, spatial_dims=dims, in_channels=in_channels, out_channels=classes)
        self.divisor = self.body.divisor
        conv = Conv[Conv.CONV, dims]
        self.heads = nn.ModuleList(conv(widths[level], classes, 1) for level in range(1, network.heads))
        self.gather = nn.ModuleList(conv(width, widths[0], 1) for width in widths[:-1])
        self.guide = self._block(dims, widths[0])
        self.disagreement = conv(widths[0], 1, 1)
        self.gate = conv(widths[0], widths[0], 1)
        self.last = self._block(dims, widths[0])
        self.mode = "bilinear" if dims == 2 else "trilinear"

    def _block(self, dims: int, width: int) -> Convolution:
        act = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
        return Convolution(dims, width, width, act=act, norm=norm_parameters(self.network.norm, width), padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, H·C + 1, S) of an input (B, in_channels, S) whose sides `divisor` divides."""
        levels = list(self.body.decoded(self.body.deterministic(x)))[::-1]
        size = x.shape[2:]
        found = [self._grown(gather(level), size) for gather, level in zip(self.gather, levels, strict=True)]
        guide = self.guide(torch.stack(found).sum(0))
        finest = self.last(levels[0] * (1 + torch.sigmoid(self.gate(guide))))
        logits = [self.body.head(finest)]
        logits += [self._grown(head(level), size) for head, level in zip(self.heads, levels[1:], strict=False)]
        return torch.cat([*logits, self.disagreement(guide)], 1)

    def _grown(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        if x.shape[2:] == size:
            return x
        return functional.interpolate(x, size=size, mode=self.mode, align_corners=False)
