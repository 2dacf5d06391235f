"""LinkNet (Chaurasia & Culurciello 2017, arXiv 1707.03718): a residual encoder whose stages are added to a light decoder.

Legend: ``B`` batch, ``S`` space; stages count from 1, the finest first.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from alframe.learners.nets.blocks import dropout_layer, norm_layer
from alframe.learners.networks import LinkNet, NormKind

__all__ = ["LinkNetModule"]

STAGES = 4
CENTRAL = ("encoder3", "encoder4", "decoder4", "decoder3", "decoder2")
"""The five central blocks, behind which dropout stands."""


def _convolved(dims: int, entry: int, exit: int, kernel: int, stride: int, norm: NormKind) -> list[nn.Module]:
    conv = Conv[Conv.CONV, dims](entry, exit, kernel, stride, kernel // 2, bias=False)
    return [conv, norm_layer(norm, dims, exit)]


class Residual(nn.Module):
    """Two 3-wide convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, dims: int, entry: int, exit: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        first = [*_convolved(dims, entry, exit, 3, stride, norm), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*first, *_convolved(dims, exit, exit, 3, 1, norm))
        changes = stride != 1 or entry != exit
        self.shortcut = nn.Sequential(*_convolved(dims, entry, exit, 1, stride, norm)) if changes else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, entry, S) to (B, exit, S / stride)."""
        found: torch.Tensor = self.act(self.residual(x) + self.shortcut(x))
        return found


def _decoder(dims: int, entry: int, exit: int, stride: int, norm: NormKind) -> nn.Sequential:
    """A bottleneck that grows by `stride`: 1-wide, transposed, 1-wide convolution."""
    inner = max(4, entry // 4)
    if stride == 1:
        grow: nn.Module = Conv[Conv.CONV, dims](inner, inner, 3, 1, 1, bias=False)
    else:
        grow = Conv[Conv.CONVTRANS, dims](inner, inner, 2, 2, bias=False)
    return nn.Sequential(
        *_convolved(dims, entry, inner, 1, 1, norm),
        nn.ReLU(inplace=True),
        grow,
        norm_layer(norm, dims, inner),
        nn.ReLU(inplace=True),
        *_convolved(dims, inner, exit, 1, 1, norm),
        nn.ReLU(inplace=True),
    )


class LinkNetModule(nn.Module):
    """The network of :class:`~alframe.learners.networks.LinkNet`.

    ``forward`` is ``stochastic(deterministic(x))``: the stem and the first two stages, which stand before any dropout, are the
    same for every pass.
    """

    def __init__(self, network: LinkNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        dims, base, norm, step = spatial_dims, network.width, network.norm, network.stem_stride
        self.network = network
        self.divisor = step * 2 ** (STAGES - 1)
        kernel = 3 if step == 1 else 7
        stem = [*_convolved(dims, in_channels, base, kernel, min(step, 2), norm), nn.ReLU(inplace=True)]
        if step == 4:
            stem.append(Pool[Pool.MAX, dims](3, 2, 1))
        self.stem = nn.Sequential(*stem)
        widths = [base * 2**stage for stage in range(STAGES)]
        encoders, decoders = [], []
        for stage, width in enumerate(widths):
            stride = 1 if stage == 0 else 2
            blocks = [Residual(dims, widths[max(0, stage - 1)], width, stride, norm)]
            blocks += [Residual(dims, width, width, 1, norm) for _ in range(network.blocks - 1)]
            encoders.append(nn.Sequential(*blocks, self._dropout(f"encoder{stage + 1}", dims)))
            decoder = _decoder(dims, width, widths[max(0, stage - 1)], stride, norm)
            decoders.append(nn.Sequential(decoder, self._dropout(f"decoder{stage + 1}", dims)))
        self.encoders, self.decoders = nn.ModuleList(encoders), nn.ModuleList(decoders)
        self.head = self._head(dims, base, out_channels, step, norm)

    def _dropout(self, block: str, dims: int) -> nn.Module:
        rate = self.network.dropout if block in CENTRAL else 0.0
        return dropout_layer(dims, rate, channel=self.network.channel_dropout)

    def _head(self, dims: int, entry: int, out_channels: int, step: int, norm: NormKind) -> nn.Sequential:
        """Back to the input's size, then logits."""
        layers: list[nn.Module] = []
        inner = max(4, entry // 2)
        for _ in range(step.bit_length() - 1):
            grow = Conv[Conv.CONVTRANS, dims](entry, inner, 2, 2, bias=False)
            layers += [grow, norm_layer(norm, dims, inner), nn.ReLU(inplace=True)]
            entry = inner
        layers += [*_convolved(dims, entry, inner, 3, 1, norm), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, Conv[Conv.CONV, dims](inner, out_channels, 1))

    def deterministic(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The features of the first two stages."""
        first = self.encoders[0](self.stem(x))
        return first, self.encoders[1](first)

    def stochastic(self, state: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Logits (B, out_channels, S) from what :meth:`deterministic` returned."""
        features = list(state)
        for encoder in self.encoders[2:]:
            features.append(encoder(features[-1]))
        x = features[-1]
        for stage in reversed(range(STAGES)):
            x = self.decoders[stage](x)
            if stage:
                x = x + features[stage - 1]
        logits: torch.Tensor = self.head(x)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, S) of an input (B, in_channels, S) whose sides `divisor` divides."""
        return self.stochastic(self.deterministic(x))
