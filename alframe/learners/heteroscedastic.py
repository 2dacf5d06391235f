"""Logits with noise of a learned size at every pixel, as in D-LEMA (Mirikharaji et al. 2021) after Kendall & Gal 2017.

Legend: ``B`` batch, ``C`` classes, ``T`` draws, ``R`` raters, ``S`` space. A network gives 2C − 1 maps: C logits f, then C − 1 that
softplus turns into σ. Only differences of logits matter, so the noise is on classes 1 … C − 1 and background has none; with two
classes that is the paper's single logit: log-softmax over (0, x) is (logsigmoid(−x), logsigmoid(x)).
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from alframe.types import UNANNOTATED

__all__ = ["drawn_logits", "log_marginal", "noise_like", "rater_losses", "scale_of"]


def scale_of(maps: torch.Tensor, classes: int) -> torch.Tensor:
    """σ (B, C − 1, S) of a network's maps (B, 2C − 1, S)."""
    return functional.softplus(maps[:, classes:])


def noise_like(maps: torch.Tensor, classes: int, draws: int, seed: int) -> torch.Tensor:
    """Standard normal noise (T, B, C − 1, S) for maps (B, 2C − 1, S)."""
    generator = torch.Generator(maps.device).manual_seed(seed)
    shape = (draws, len(maps), classes - 1, *maps.shape[2:])
    return torch.randn(shape, generator=generator, device=maps.device, dtype=maps.dtype)


def drawn_logits(maps: torch.Tensor, noise: torch.Tensor, classes: int) -> torch.Tensor:
    """The logits f + σ ε (T, B, C, S) for `maps` (B, 2C − 1, S) and `noise` ε (T, B, C − 1, S)."""
    moved = scale_of(maps, classes) * noise
    return maps[:, :classes] + torch.cat([torch.zeros_like(moved[:, :, :1]), moved], 2)


def log_marginal(maps: torch.Tensor, noise: torch.Tensor, classes: int) -> torch.Tensor:
    """Log of the mean probability over the draws, (B, C, S): logsumexp_t log-softmax(f + σ ε_t) − log T."""
    return drawn_logits(maps, noise, classes).log_softmax(2).logsumexp(0) - math.log(len(noise))


def rater_losses(log_p: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """−log p of every rater's class at every pixel, (B, R, S), 0 where that rater did not annotate.

    `log_p` is (B, C, S), `masks` (B, R, S; int64).
    """
    known = masks != UNANNOTATED
    chosen = torch.gather(log_p, 1, masks.masked_fill(~known, 0))
    return -chosen * known
