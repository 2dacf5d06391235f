"""Losses of learners that see each rater's mask, in nats per annotated pixel of a mask.

Sources: Kohl et al. 2018 (arXiv 1806.05034, eq. 4) and Hu et al. 2019 (arXiv 1907.01949, eqs. 3 to 6) for the Probabilistic U-Net,
Kendall & Gal 2017 (arXiv 1703.04977, eq. 12) for Gaussian logits.

Legend: ``B`` batch, ``R`` raters, ``C`` classes, ``L`` latent dimensions, ``D`` draws, ``S`` space. Masks (B, R, S; int64)
hold 255 where that rater did not annotate; such pixels give no loss and tell the posterior nothing.

One normalisation holds for every term: the evidence lower bound of all masks of a batch, summed over images, raters and pixels, is
divided by the number A of their annotated pixels. So a mask counts by what was drawn in it, the KL term of a code
(one a mask) weighs about 1/A_mask, and the KL term of the weights (one a training set) 1/A_train.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from alframe.learners.nets.prob_unet import Gaussian, HeteroscedasticUNetModule, ProbUNetModule
from alframe.types import UNANNOTATED

__all__ = ["code_divergence", "gaussian_logits_loss", "log_mean", "one_hot", "prob_unet_loss", "vote_loss"]


def one_hot(masks: torch.Tensor, classes: int) -> torch.Tensor:
    """Masks (B, R, S) as float (B, R, C, S): 1 for the class that was drawn, 0 everywhere where nothing was."""
    return torch.stack([masks == c for c in range(classes)], dim=2).float()


def code_divergence(posterior: Gaussian, prior: Gaussian) -> torch.Tensor:
    """KL(q ‖ p) in nats of Gaussians with independent dimensions, (N)."""
    (mean_q, log_q), (mean_p, log_p) = posterior, prior
    ratio = (2 * (log_q - log_p)).exp()
    distance = ((mean_q - mean_p) * (-log_p).exp()).square()
    return 0.5 * (ratio + distance - 1).sum(1) - (log_q - log_p).sum(1)


def log_mean(logits: torch.Tensor, *, draws: int, classes: int) -> torch.Tensor:
    """Log of the mean probability over the axis `draws` of logits whose classes are on the axis `classes`."""
    return logits.log_softmax(classes).logsumexp(draws) - math.log(logits.shape[draws])


def vote_loss(log_p: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of predicted log-probabilities (B, C, S) with the shares of raters' votes, a mean over annotated pixels."""
    votes = one_hot(masks, log_p.shape[1]).sum(1)
    answered = votes.sum(1)
    shares = votes / answered.clamp(min=1).unsqueeze(1)
    return -(shares * log_p).sum() / (answered > 0).sum().clamp(min=1)


def prob_unet_loss(
    module: ProbUNetModule,
    image: torch.Tensor,
    masks: torch.Tensor,
    *,
    kl_weight: float,
    rater_weight: float,
    draws: int,
) -> torch.Tensor:
    """−ELBO of every mask, plus `rater_weight` × the vote loss of the mean over `draws` codes of the prior.

    The KL term of the weights is left to the caller, who knows the training set.
    """
    trunk, *prior = module.context(image)
    features = module.features(trunk)
    drawn = (masks != UNANNOTATED).flatten(2).any(2)
    owner, _ = drawn.nonzero(as_tuple=True)
    posterior = module.posterior(torch.cat([image[owner], one_hot(masks[drawn][:, None], module.classes)[:, 0]], 1))
    codes = features.new_zeros((*drawn.shape, module.latent))
    codes[drawn] = _sample(posterior, 1)[:, 0].to(codes.dtype)
    if rater_weight > 0:
        codes = torch.cat([codes, _sample((prior[0], prior[1]), draws).to(codes.dtype)], 1)
    logits = module.combine(features, codes).float()
    raters = masks.shape[1]
    error = functional.cross_entropy(
        logits[:, :raters].flatten(0, 1), masks.flatten(0, 1), ignore_index=UNANNOTATED, reduction="sum"
    )
    divergence = code_divergence(posterior, (prior[0][owner], prior[1][owner])).sum()
    loss = (error + kl_weight * divergence) / (masks != UNANNOTATED).sum().clamp(min=1)
    if rater_weight > 0:
        loss = loss + rater_weight * vote_loss(log_mean(logits[:, raters:], draws=1, classes=2), masks)
    return loss


def gaussian_logits_loss(
    module: HeteroscedasticUNetModule, image: torch.Tensor, masks: torch.Tensor, *, draws: int
) -> torch.Tensor:
    """−log of the mean probability of each mask over `draws` of Gaussian logits, a mean over annotated pixels of all masks."""
    mean, sigma = module.gaussian(module.features(module.trunk(image)))
    noise = torch.randn((draws, *mean.shape), device=mean.device)
    log_p = log_mean(mean.float() + sigma.float() * noise, draws=0, classes=2)
    raters = masks.shape[1]
    repeated = log_p[:, None].expand(-1, raters, *log_p.shape[1:]).flatten(0, 1)
    error = functional.nll_loss(repeated, masks.flatten(0, 1), ignore_index=UNANNOTATED, reduction="sum")
    return error / (masks != UNANNOTATED).sum().clamp(min=1)


def _sample(code: Gaussian, draws: int) -> torch.Tensor:
    """Codes (N, `draws`, L) of Gaussians (N, L) from torch's generator."""
    mean, log_sigma = code
    noise = torch.randn((mean.shape[0], draws, mean.shape[1]), device=mean.device)
    return mean[:, None] + log_sigma.exp()[:, None] * noise
