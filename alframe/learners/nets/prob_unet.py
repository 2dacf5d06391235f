"""Networks for several raters: the Probabilistic U-Net and a U-Net with Gaussian logits, on one backbone.

Sources: Kohl et al. 2018 (arXiv 1806.05034) for the latent code; Hu et al. 2019 (arXiv 1907.01949) for the drawn weights and the
widths; Kendall & Gal 2017 (arXiv 1703.04977, eq. 12) for Gaussian logits.

Legend: ``B`` batch, ``C`` classes, ``F`` features of the finest level, ``L`` latent dimensions, ``K`` draws, ``S`` space.

A prediction goes through three steps, so that each is done as rarely as it can: ``context`` once for an image (or window),
``respond`` once for each draw of the weights, ``logits_of`` once for what windows were blended to.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv, Pool
from torch import nn
from torch.nn import functional

from alframe.learners.nets.bayesian import DrawnConvolution, Weights
from alframe.learners.networks import HeteroscedasticUNet, ProbUNet

__all__ = ["Gaussian", "HeteroscedasticUNetModule", "ProbUNetModule"]

CONVOLUTIONS = 3
COMBINING = 4
DROPOUT = 0.2
LOG_SIGMA_RANGE = (-6.0, 3.0)

Gaussian = tuple[torch.Tensor, torch.Tensor]
"""Mean and log σ, both (B, L)."""


def _level(spatial_dims: int, entry: int, width: int, count: int = CONVOLUTIONS) -> nn.Sequential:
    """`count` times a 3-wide convolution and ReLU, without normalisation."""
    return nn.Sequential(
        *(
            Convolution(spatial_dims, entry if n == 0 else width, width, adn_ordering="A", act="RELU", padding=1)
            for n in range(count)
        )
    )


class Encoder(nn.Module):
    """The contracting half of the U-Net."""

    def __init__(self, spatial_dims: int, entry: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _level(spatial_dims, below, width) for below, width in zip((entry, *widths), widths, strict=False)
        )
        self.pool = Pool[Pool.AVG, spatial_dims](2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features (B, width, S / 2^level) of each level of an image (B, entry, S), the finest first."""
        found: list[torch.Tensor] = []
        for number, level in enumerate(self.levels):
            x = level(x if number == 0 else self.pool(x))
            found.append(x)
        return found


class CodeNet(nn.Module):
    """A Gaussian over latent codes with independent dimensions: encoder, mean over space, 1-wide convolution."""

    def __init__(self, spatial_dims: int, entry: int, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        self.encoder = Encoder(spatial_dims, entry, widths)
        self.head = nn.Linear(widths[-1], 2 * latent)

    def forward(self, x: torch.Tensor) -> Gaussian:
        """Mean and log σ (B, L)."""
        deepest = self.encoder(x)[-1]
        mean, log_sigma = self.head(deepest.flatten(2).mean(2)).chunk(2, 1)
        return mean, log_sigma.clamp(*LOG_SIGMA_RANGE)


class Combination(nn.Module):
    """Four 1-wide convolutions over [features, tiled code] with ReLU between.

    The first is linear in both, so that its part for the features is computed once for all codes.
    """

    def __init__(self, spatial_dims: int, width: int, latent: int, classes: int) -> None:
        super().__init__()
        convolution = Conv[Conv.CONV, spatial_dims]
        self.of_features = convolution(width, width, 1)
        self.of_code = nn.Linear(latent, width, bias=False)
        inner = (part for _ in range(COMBINING - 2) for part in (nn.ReLU(), convolution(width, width, 1)))
        self.rest = nn.Sequential(*inner, nn.ReLU(), convolution(width, classes, 1))

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, C, S) of features (B, F, S) and codes (B, K, L)."""
        shared = self.of_features(features)[:, None]
        tiled = self.of_code(codes).reshape(*codes.shape[:2], -1, *(1,) * (features.ndim - 2))
        logits: torch.Tensor = self.rest((shared + tiled).flatten(0, 1))
        return logits.reshape(*codes.shape[:2], *logits.shape[1:])


class Backbone(nn.Module):
    """The U-Net up to its features at full resolution; the weights of its last convolution are drawn."""

    def __init__(self, network: ProbUNet | HeteroscedasticUNet, *, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        widths = network.features
        self.divisor = 2 ** (len(widths) - 1)
        self._mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.encoder = Encoder(spatial_dims, in_channels, widths)
        self.up = nn.ModuleList(
            _level(spatial_dims, below + skip, skip, CONVOLUTIONS if level else CONVOLUTIONS - 1)
            for level, (skip, below) in enumerate(itertools.pairwise(widths))
        )
        rate = DROPOUT if network.dropout is None else network.dropout
        self.drawn = DrawnConvolution(spatial_dims, widths[0], widths[0], kind=network.weights, rate=rate)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, F, S) before the convolution whose weights are drawn, of an image (B, in_channels, S)."""
        *skips, x = self.encoder(x)
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(x, scale_factor=2.0, mode=self._mode, align_corners=False)
            x = self.up[level](torch.cat([skips[level], x], 1))
        return x

    def features(self, trunk: torch.Tensor, weights: Weights | None = None) -> torch.Tensor:
        """Features (B, F, S) with the `weights` that were drawn; without, as the module's mode says."""
        return functional.relu(self.drawn(trunk) if weights is None else self.drawn.apply_drawn(trunk, weights))


class ProbUNetModule(Backbone):
    """The network of :class:`~alframe.learners.networks.ProbUNet`."""

    def __init__(self, network: ProbUNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__(network, spatial_dims=spatial_dims, in_channels=in_channels)
        widths, self.latent, self.classes = network.features, network.latent, out_channels
        self.prior = CodeNet(spatial_dims, in_channels, widths, network.latent)
        self.posterior = CodeNet(spatial_dims, in_channels + out_channels, widths, network.latent)
        self.combine = Combination(spatial_dims, widths[0], network.latent, out_channels)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, C, S) at the mean of the code (and, in eval mode, of the weights)."""
        trunk, mean, _ = self.context(x)
        logits: torch.Tensor = self.combine(self.features(trunk), mean[:, None])[:, 0]
        return logits

    def context(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What no draw changes: the trunk (B, F, S), then mean and log σ of the prior (B, L)."""
        return (self.trunk(x), *self.prior(x))

    def respond(self, context: tuple[torch.Tensor, ...], weights: Weights, noise: torch.Tensor) -> torch.Tensor:
        """Logits (B, K·C, S) under drawn weights, of the codes that standard normal `noise` (K, L) makes."""
        trunk, mean, log_sigma = context
        codes = mean[:, None] + log_sigma.exp()[:, None] * noise
        return self.combine(self.features(trunk, weights), codes).flatten(1, 2)  # type: ignore[no-any-return]

    def noise(self, seeds: Sequence[int], device: torch.device) -> torch.Tensor:
        """Standard normal noise (K, L) of codes, each from its own seed."""
        return torch.stack([torch.randn(self.latent, generator=_generator(s, device), device=device) for s in seeds])

    def logits_of(self, response: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Logits (K, C, S) from what :meth:`respond` gave for one image (K·C, S), windows blended."""
        return response.reshape(len(seeds), self.classes, *response.shape[1:])


class HeteroscedasticUNetModule(Backbone):
    """The network of :class:`~alframe.learners.networks.HeteroscedasticUNet`."""

    def __init__(self, network: HeteroscedasticUNet, *, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__(network, spatial_dims=spatial_dims, in_channels=in_channels)
        self.head = Conv[Conv.CONV, spatial_dims](network.features[0], 2 * out_channels, 1)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean logits (B, C, S) (in eval mode at the mean of the weights)."""
        return self.gaussian(self.features(self.trunk(x)))[0]

    def gaussian(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and σ (B, C, S) of the logits."""
        mean, spread = self.head(features).chunk(2, 1)
        return mean, functional.softplus(spread)

    def context(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What no draw changes: the trunk (B, F, S)."""
        return (self.trunk(x),)

    def respond(self, context: tuple[torch.Tensor, ...], weights: Weights, noise: torch.Tensor) -> torch.Tensor:
        """Mean and σ of the logits (B, 2·C, S) under drawn weights; `noise` is not used, it belongs to pixels."""
        return torch.cat(self.gaussian(self.features(context[0], weights)), 1)

    def noise(self, seeds: Sequence[int], device: torch.device) -> torch.Tensor:
        """None (K, 0): the noise of logits is drawn where windows are already one image."""
        return torch.empty(len(seeds), 0, device=device)

    def logits_of(self, response: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Logits (K, C, S) drawn from their means and σ (2·C, S), each draw from its own seed."""
        mean, sigma = response.chunk(2)
        drawn = [
            mean + sigma * torch.randn(mean.shape, generator=_generator(seed, mean.device), device=mean.device)
            for seed in seeds
        ]
        return torch.stack(drawn)


def _generator(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def _initialise(module: nn.Module) -> None:
    """Weights that keep the variance through ReLU without normalisation (He et al. 2015), biases 0."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
