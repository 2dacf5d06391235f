"""What a training run makes smaller: the seam between the loop of training and the methods that share it.

Legend: ``B`` batch, ``C`` channels, ``R`` raters, ``S`` space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import nn
from torch.nn import functional

from alframe.learners.annotations import one_rater
from alframe.learners.application import Applier
from alframe.learners.computing import mixed_precision
from alframe.learners.losses import segmentation_loss
from alframe.learners.nets import outputs_of
from alframe.seeding import generator
from alframe.types import UNANNOTATED

if TYPE_CHECKING:
    from alframe.learners.training import Run

__all__ = ["Batch", "Objective", "RandomRater", "Segmentation"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Augmented patches on the device: `image` (B, C, S; normalised), `classes` and `contours` (B, S; long, 255 = no loss).

    `raters` (B, R, S; long) are the raters' own classes where the objective asks for them: R is the most raters of any
    item, and an item with fewer has 255 in the places left over.
    """

    image: torch.Tensor
    classes: torch.Tensor
    contours: torch.Tensor | None = None
    raters: torch.Tensor | None = None


class Objective(Protocol):
    """A loss and what validation measures. Holds parameters only; every draw comes from the run's seed and the step.

    Several processes may train together; each then has its share of the batch, calls ``run.stepped`` instead of
    ``run.module``, and completes what it sums over the batch by ``run.team.pooled``, so that the loss is that of the whole
    batch. An objective that does so says it by a class attribute ``in_teams = True``; others are refused in teams.
    """

    @property
    def raters(self) -> bool:
        """Whether batches carry each rater's own labels."""

    @property
    def contours(self) -> bool:
        """Whether the network gets a contour head on pools that tell objects apart."""

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """The loss of optimiser step `step` (a scalar with a graph), on ``run.batch(step)``."""

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """The validation loss of one item: a sum, and the number of pixels it is of. The module is in eval mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """Cross-entropy with the fused label, and the Dice, contour and deep-supervision terms that the training settings weigh."""

    in_teams: ClassVar[bool] = True
    raters: bool = False
    contours: bool = True

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """See :func:`~alframe.learners.losses.segmentation_loss`."""
        batch = run.batch(step)
        return _segmentation(run, step, batch, batch.classes)

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """Cross-entropy in nats over the annotated pixels of the item's truth, without dropout."""
        applier = Applier(module, run.card, run.recipe.inference, run.task.compute)
        target = torch.from_numpy(run.task.pool.truth(item).classes).long().to(run.device)
        total = 0.0
        for logits in applier.logits(run.task.pool.image(item)):
            log_p = logits[: len(run.card.classes)][None]
            total += float(functional.cross_entropy(log_p, target[None], ignore_index=UNANNOTATED, reduction="sum"))
        return total, int((target != UNANNOTATED).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRater(Segmentation):
    """Cross-entropy and Dice with the mask of one rater an image, drawn anew at every step (no contour head)."""

    in_teams: ClassVar[bool] = False  # the raters are drawn for the batch as a whole
    raters: bool = True
    contours: bool = False

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """See :func:`~alframe.learners.losses.segmentation_loss`."""
        batch = run.batch(step)
        assert batch.raters is not None
        return _segmentation(run, step, batch, one_rater(batch.raters, generator(run.task.seed, "rater", step)))


def _segmentation(run: Run, step: int, batch: Batch, classes: torch.Tensor) -> torch.Tensor:
    """The loss of a batch against `classes` (B, S)."""
    training = run.recipe.training
    with mixed_precision(run.task.compute):
        result = run.stepped(batch.image)
    outputs = outputs_of(result, out_channels=run.card.out_channels, shape=batch.image.shape)
    return segmentation_loss(
        outputs,
        classes,
        batch.contours,
        dice_weight=training.dice_weight,
        contour_weight=training.contour_weight,
        tap_weight=training.tap_weight * 0.1 ** (step // training.tap_decay_steps),
        pooled=run.team.pooled,
    )
