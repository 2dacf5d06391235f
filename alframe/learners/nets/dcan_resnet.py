"""Pre-activation ResNet (He et al. 2016, arXiv 1603.05027) with the heads of DCAN (Chen et al. 2016) as in Li & Alstrøm 2020.

Legend: ``B`` batch, ``S`` space; stages count from 1, the finest first.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from alframe.learners.nets.blocks import dropout_layer, norm_layer
from alframe.learners.networks import DcanResNet

__all__ = ["DcanResNetModule"]

FIRST_TAP = 2
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Block(nn.Module):
    """Dropout, then a pre-activation residual block: basic (two 3-wide convolutions) or bottleneck (1, 3, 1)."""

    def __init__(
        self, network: DcanResNet, dims: int, entry: int, inner: int, exit: int, stride: int, rate: float
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, dims]
        self.dropout = dropout_layer(dims, rate, channel=network.channel_dropout)
        self.norm = norm_layer(network.norm, dims, entry)
        self.act = nn.ReLU(inplace=True)
        widths = [(entry, inner, 1, 1), (inner, inner, 3, stride), (inner, exit, 1, 1)]
        if inner == exit:
            widths = [(entry, inner, 3, stride), (inner, exit, 3, 1)]
        layers: list[nn.Module] = []
        for position, (before, after, kernel, step) in enumerate(widths):
            if position:
                layers += [norm_layer(network.norm, dims, before), nn.ReLU(inplace=True)]
            layers.append(conv(before, after, kernel, step, kernel // 2, bias=False))
        self.residual = nn.Sequential(*layers)
        changes = stride != 1 or entry != exit
        self.shortcut = conv(entry, exit, 1, stride, bias=False) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, entry, S) to (B, exit, S / stride)."""
        x = self.dropout(x)
        active = self.act(self.norm(x))
        kept: torch.Tensor = x if self.shortcut is None else self.shortcut(active)
        changed: torch.Tensor = self.residual(active)
        return kept + changed


class Head(nn.Module):
    """Logits from one tap: a 1-wide convolution, then a transposed convolution up to the input's size. No ReLU."""

    def __init__(self, dims: int, entry: int, logits: int, stride: int) -> None:
        super().__init__()
        self.score = Conv[Conv.CONV, dims](entry, logits, 1)
        self.grow = Conv[Conv.CONVTRANS, dims](logits, logits, 2 * stride, stride, stride // 2, bias=False)
        with torch.no_grad():
            self.grow.weight.copy_(_linear_kernel(dims, logits, 2 * stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, entry, S) to (B, logits, S × stride)."""
        logits: torch.Tensor = self.grow(self.score(x))
        return logits


def _linear_kernel(dims: int, logits: int, size: int) -> torch.Tensor:
    """Weights of a transposed convolution that interpolates linearly and keeps channels apart."""
    centre = (size - 1) / 2
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / (size / 2)
    kernel = line
    for _ in range(dims - 1):
        kernel = kernel[..., None] * line
    return torch.eye(logits)[(...,) + (None,) * dims] * kernel


class DcanResNetModule(nn.Module):
    """The network of :class:`~alframe.learners.networks.DcanResNet`: the fused logits, then those of each tap (training).

    ``forward`` is ``stochastic(deterministic(x))``: the stages before the first dropout, and the logits of their taps, are the
    same for every pass.
    """

    def __init__(self, network: DcanResNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.network = network
        dims, base = spatial_dims, int(64 * network.width)
        self.first_random = network.dropout_from if network.dropout > 0 else 5
        self.divisor = network.stem_stride * 8
        stem_conv = Conv[Conv.CONV, dims]
        kernel, step = (3, 1) if network.stem_stride == 1 else (7, 2)
        stem: list[nn.Module] = [stem_conv(in_channels, base, kernel, step, kernel // 2, bias=False)]
        if network.stem_stride == 4:
            stem.append(Pool[Pool.MAX, dims](3, 2, 1))
        self.stem = nn.Sequential(*stem)
        stages, entry = [], base
        for stage, blocks in enumerate(BLOCKS[network.depth], start=1):
            inner = base * 2 ** (stage - 1)
            exit = inner * (4 if network.depth == 50 else 1)
            rate = network.dropout if stage >= self.first_random else 0.0
            layers = []
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 1 else 1
                layers.append(Block(network, dims, entry, inner, exit, stride, rate))
                entry = exit
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        widths = [base * 2 ** (stage - 1) * (4 if network.depth == 50 else 1) for stage in (2, 3, 4)]
        self.finish = nn.ModuleList(
            nn.Sequential(norm_layer(network.norm, dims, width), nn.ReLU(inplace=True)) for width in widths
        )
        self.heads = nn.ModuleList(
            Head(dims, width, out_channels, network.stem_stride * 2**power)
            for power, width in zip((1, 2, 3), widths, strict=True)
        )

    def _stage(self, stage: int, x: torch.Tensor, logits: list[torch.Tensor]) -> torch.Tensor:
        """The features after a stage; the logits of its tap, when it has one, are added to `logits`."""
        x = self.stages[stage - 1](x)
        if stage >= FIRST_TAP:
            tap = stage - FIRST_TAP
            logits.append(self.heads[tap](self.finish[tap](x)))
        return x

    def deterministic(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of the stages before the first dropout: the logits of their taps, then the running features."""
        logits: list[torch.Tensor] = []
        x = self.stem(x)
        for stage in range(1, self.first_random):
            x = self._stage(stage, x, logits)
        return (*logits, x)

    def stochastic(self, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Fused logits, then the taps' when training, from what :meth:`deterministic` returned."""
        *logits, x = state
        for stage in range(self.first_random, len(self.stages) + 1):
            x = self._stage(stage, x, logits)
        fused = logits[0] + logits[1] + logits[2]
        return (fused, *logits) if self.training else (fused,)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits (B, out_channels, S) of an input (B, in_channels, S) whose sides `divisor` divides."""
        return self.stochastic(self.deterministic(x))
