"""What the generative learners minimise, and how they are measured on validation items: against every rater.

Legend: ``K`` latent draws, ``C`` classes, ``S`` space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from alframe.learners.computing import mixed_precision
from alframe.learners.nested import Draw, DrawnLogits
from alframe.learners.nets.prob_unet import HeteroscedasticUNetModule, ProbUNetModule
from alframe.learners.rater_losses import gaussian_logits_loss, log_mean, prob_unet_loss
from alframe.seeding import derive
from alframe.types import UNANNOTATED

if TYPE_CHECKING:
    from alframe.learners.training import Run

__all__ = ["EvidenceBound", "GaussianLogits"]

MEASURED_DRAWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBound:
    """The :class:`~alframe.learners.objective.Objective` of Probabilistic U-Nets; see :mod:`alframe.learners.rater_losses`."""

    kl_weight: float
    rater_weight: float
    prior_draws: int
    raters: bool = True
    contours: bool = False

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """−ELBO of all masks of the batch and the vote loss; the divergence of the weights is shared by all masks there are."""
        module, batch = run.module, run.batch(step)
        assert isinstance(module, ProbUNetModule)
        assert batch.raters is not None
        with mixed_precision(run.task.compute):
            loss = prob_unet_loss(
                module,
                batch.image,
                batch.raters,
                kl_weight=self.kl_weight,
                rater_weight=self.rater_weight,
                draws=self.prior_draws,
            )
        return loss + module.drawn.divergence() / run.data.rater_pixels

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """See :func:`rater_error`."""
        return rater_error(run, module, item)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianLogits:
    """The :class:`~alframe.learners.objective.Objective` of heteroscedastic networks, of `draws` logits for each loss."""

    draws: int
    raters: bool = True
    contours: bool = False

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """−log of the mean probability of each mask; the divergence of the weights is shared by all masks there are."""
        module, batch = run.module, run.batch(step)
        assert isinstance(module, HeteroscedasticUNetModule)
        assert batch.raters is not None
        with mixed_precision(run.task.compute):
            loss = gaussian_logits_loss(module, batch.image, batch.raters, draws=self.draws)
        return loss + module.drawn.divergence() / run.data.rater_pixels

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """See :func:`rater_error`."""
        return rater_error(run, module, item)


def rater_error(run: Run, module: nn.Module, item: str) -> tuple[float, int]:
    """−log of the mean probability of a few draws, at the mean weights.

    Returns its sum over the annotated pixels of all masks, and their number.
    """
    drawn = DrawnLogits(module, run.card, run.recipe.inference, run.task.compute)
    seeds = tuple(derive(run.task.seed, "validation", item, k) for k in range(MEASURED_DRAWS))
    (logits,) = drawn.groups(run.task.pool.image(item), [Draw(weights=None, latents=seeds)])
    log_p = log_mean(logits, draws=0, classes=1)[None]
    total, count = 0.0, 0
    for rater in run.task.pool.info(item).raters:
        target = torch.from_numpy(run.task.pool.truth(item, rater).classes).long().to(run.device)[None]
        total += float(functional.nll_loss(log_p, target, ignore_index=UNANNOTATED, reduction="sum"))
        count += int((target != UNANNOTATED).sum())
    return total, count
