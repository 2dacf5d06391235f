"""How a base model of D-LEMA is trained: the losses of all raters, weighted by what a clean subset asks for.

Mirikharaji et al. 2021 (arXiv 2012.07206), section 3. Legend: ``B`` batch, ``R`` raters, ``C`` classes, ``S`` space.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from alframe.errors import InvalidValue
from alframe.learners.application import Applier
from alframe.learners.computing import mixed_precision
from alframe.learners.dataset import TrainingSet
from alframe.learners.heteroscedastic import log_marginal, noise_like, rater_losses
from alframe.learners.nets import outputs_of
from alframe.learners.objective import Batch
from alframe.learners.reweighting import losses_and_alignment, normalised_weights, unit
from alframe.learners.training import Run
from alframe.seeding import derive
from alframe.types import UNANNOTATED

__all__ = ["Reweighted"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reweighted:
    """Σ w ℓ over all raters' masks of a batch; weights w come from a batch of `clean` annotations (Ren et al. 2018), those of
    `subset`.

    ℓ is the negative log of the mean probability over `draws` of Gaussian logits. The clean gradient takes one backward,
    and all weights one ``jvp``, which also gives the losses: the weights and the loss see the same noise. For the first
    `burn_in` steps, and without any clean annotation, all annotated pixels weigh alike.
    """

    clean: TrainingSet | None = field(repr=False)  # follows from the task and `subset`, which tell runs apart
    subset: str
    clean_batch: int
    draws: int
    burn_in: int = 0

    @property
    def raters(self) -> bool:
        """Always: the union holds every rater's masks."""
        return True

    @property
    def contours(self) -> bool:
        """Never."""
        return False

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """The weighted loss of one batch. Raises InvalidValue for a network with batch normalisation."""
        if step == 0 and any(isinstance(layer, _BatchNorm) for layer in run.module.modules()):
            raise InvalidValue(
                "dlema differentiates through training mode, where batch normalisation changes its own state; "
                "use norm: group or instance"
            )
        batch = run.batch(step)
        assert batch.raters is not None
        noise = derive(run.task.seed, "noise", step)
        if self.clean is None or step < self.burn_in:
            losses = self.losses(run, self._parameters(run), batch.image, batch.raters, noise)
            return losses.sum() / (batch.raters != UNANNOTATED).sum().clamp(min=1)
        losses, weights = self.weigh(run, batch, step)
        return (weights * losses).sum()

    def weigh(self, run: Run, batch: Batch, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The losses ℓ (B, R, S; with graph) of a batch of a step, and their weights w (sum 1, or all 0)."""
        assert batch.raters is not None
        assert self.clean is not None
        masks, noise = batch.raters, derive(run.task.seed, "noise", step)
        parameters = self._parameters(run)
        clean = run.batch(step, "clean", self.clean_batch, self.clean)
        seed = derive(run.task.seed, "clean noise", step)
        losses = self.losses(run, parameters, clean.image, clean.classes[:, None], seed)
        mean = losses.sum() / (clean.classes != UNANNOTATED).sum().clamp(min=1)
        found = torch.autograd.grad(run.scaler.scale(mean), list(parameters.values()), allow_unused=True)
        gradient = {
            name: torch.zeros_like(value) if part is None else part
            for (name, value), part in zip(parameters.items(), found, strict=True)
        }
        losses, alignment = losses_and_alignment(
            lambda moved: self.losses(run, moved, batch.image, masks, noise), parameters, unit(gradient)
        )
        return losses, normalised_weights(alignment)

    def _parameters(self, run: Run) -> dict[str, torch.Tensor]:
        return {name: value for name, value in run.module.named_parameters() if value.requires_grad}

    def losses(
        self, run: Run, parameters: dict[str, torch.Tensor], image: torch.Tensor, masks: torch.Tensor, noise: int
    ) -> torch.Tensor:
        """ℓ (B, R, S) of masks (B, R, S) under the given parameters; `noise` seeds the Gaussian logits."""
        with mixed_precision(run.task.compute):
            result = torch.func.functional_call(run.module, parameters, (image,))
        maps = outputs_of(result, out_channels=run.card.out_channels, shape=image.shape)[0].float()
        return rater_losses(self._log_marginal(maps, len(run.card.classes), noise), masks)

    def _log_marginal(self, maps: torch.Tensor, classes: int, seed: int) -> torch.Tensor:
        return log_marginal(maps, noise_like(maps, classes, self.draws, seed), classes)

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """The mean over raters of −log p of their truth, in nats."""
        applier = Applier(module, run.card, run.recipe.inference, run.task.compute)
        pool = run.task.pool
        names = pool.info(item).raters
        truths = [torch.from_numpy(pool.truth(item, rater).classes).long() for rater in names]
        masks = torch.stack(truths)[None].to(run.device)
        (maps,) = applier.logits(pool.image(item))
        log_p = self._log_marginal(maps[None], len(run.card.classes), derive("validation", item))
        losses = rater_losses(log_p, masks)
        return float(losses.sum(dtype=torch.float64)), int((masks != UNANNOTATED).sum())
