"""A convolution whose weights are drawn: Gaussian (Hu et al. 2019), by dropout of its input (Gal & Ghahramani 2016), or fixed.

Legend: ``B`` batch, ``I`` channels in, ``O`` channels out, ``S`` space.

Training draws the *output* of a Gaussian convolution anew at every pixel, whose distribution is the same and whose
gradient has less variance (local reparameterisation, Kingma et al. 2015). A prediction must not: with other noise at every
pixel its samples would be incoherent in space. There, :meth:`DrawnConvolution.draw` gives one set of weights for a whole image.
"""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional

from alframe.learners.networks import WeightDraws

__all__ = ["DrawnConvolution", "Weights"]

Weights = tuple[torch.Tensor, torch.Tensor]
"""One draw: weights (O, I, 3 …) and biases (O)."""

LOG_SIGMA = (-5.0, 0.1)
"""Mean and standard deviation of the initial log σ."""
CLAMP = (-12.0, 2.0)
"""The range of log σ that is used, so that neither σ² nor the KL term overflows."""


class DrawnConvolution(nn.Module):
    """A 3-wide convolution (B, I, S) → (B, O, S) with a distribution over its weights."""

    def __init__(self, spatial_dims: int, entry: int, width: int, *, kind: WeightDraws, rate: float) -> None:
        super().__init__()
        self.kind, self.keep = kind, 1 - rate
        self.mean = Conv[Conv.CONV, spatial_dims](entry, width, 3, padding=1)
        self._convolve = functional.conv2d if spatial_dims == 2 else functional.conv3d
        if kind == "gaussian":
            self.log_sigma = nn.Parameter(torch.empty_like(self.mean.weight).normal_(*LOG_SIGMA))
            self.log_sigma_bias = nn.Parameter(torch.empty_like(self.mean.bias).normal_(*LOG_SIGMA))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training mode with the noise of one draw for each image of the batch; in eval mode with the mean weights."""
        expected: torch.Tensor = self.mean(x)
        if not self.training or self.kind == "fixed":
            return expected
        if self.kind == "dropout":
            rows = (*x.shape[:2], *(1,) * (x.ndim - 2))
            dropped: torch.Tensor = self.mean(x * torch.empty(rows, device=x.device).bernoulli_(self.keep) / self.keep)
            return dropped
        weight, bias = (log.clamp(*CLAMP).mul(2).exp() for log in (self.log_sigma, self.log_sigma_bias))
        variance = self._convolve(x.square(), weight, bias, padding=1)
        return expected + variance.sqrt() * torch.randn_like(expected)

    def draw(self, generator: torch.Generator) -> Weights:
        """One set of weights from `generator`; the means when they are fixed."""
        weight: torch.Tensor = self.mean.weight
        bias: torch.Tensor = self.mean.bias
        if self.kind == "dropout":
            shape = (1, weight.shape[1], *(1,) * (weight.ndim - 2))
            kept = torch.empty(shape, device=weight.device).bernoulli_(self.keep, generator=generator)
            return weight * kept / self.keep, bias
        if self.kind == "gaussian":
            pairs = ((weight, self.log_sigma), (bias, self.log_sigma_bias))
            drawn = [
                mean + log.clamp(*CLAMP).exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
                for mean, log in pairs
            ]
            return drawn[0], drawn[1]
        return weight, bias

    def apply_drawn(self, x: torch.Tensor, drawn: Weights) -> torch.Tensor:
        """The convolution (B, O, S) with weights from :meth:`draw`."""
        convolved: torch.Tensor = self._convolve(x, *drawn, padding=1)
        return convolved

    def divergence(self) -> torch.Tensor:
        """KL(q(w) ‖ N(0, 1)) in nats, a scalar; 0 for weights without a Gaussian."""
        total = torch.zeros((), device=self.mean.weight.device)
        if self.kind != "gaussian":
            return total
        for mean, log in ((self.mean.weight, self.log_sigma), (self.mean.bias, self.log_sigma_bias)):
            log_variance = 2 * log.clamp(*CLAMP)
            total = total - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return total
