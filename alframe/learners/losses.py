"""Segmentation losses over annotated pixels only.

Legend: ``B`` batch, ``K`` classes, ``S`` space. Targets are ``int64`` (B, S) with 255 where nobody annotated. A batch
without any annotated pixel has loss 0 and still a graph, so that a step changes nothing and gives no NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from alframe.types import UNANNOTATED

__all__ = ["masked_cross_entropy", "segmentation_loss", "soft_dice_loss"]


def masked_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over annotated pixels (a scalar); logits (B, K, S)."""
    total = functional.cross_entropy(logits, target, ignore_index=UNANNOTATED, reduction="sum")
    return total / (target != UNANNOTATED).sum().clamp(min=1)


def soft_dice_loss(logits: torch.Tensor, target: torch.Tensor, *, smooth: float = 1.0) -> torch.Tensor:
    """One minus the soft Dice of the classes other than background, pooled over the batch (Milletari et al. 2016, eq. 1).

    Classes without an annotated pixel in the batch do not count, and a batch without any of them has loss 0.
    """
    known = (target != UNANNOTATED).unsqueeze(1)
    classes = logits.shape[1]
    one_hot = functional.one_hot(target.masked_fill(target == UNANNOTATED, 0), classes).movedim(-1, 1) * known
    probability = logits.softmax(1) * known
    axes = (0, *range(2, logits.ndim))
    shared = (probability * one_hot).sum(axes)[1:]
    present = one_hot.sum(axes)[1:]
    dice = (2 * shared + smooth) / (probability.sum(axes)[1:] + present + smooth)
    seen = (present > 0).to(dice.dtype)
    return ((1 - dice) * seen).sum() / seen.sum().clamp(min=1)


def segmentation_loss(
    outputs: Sequence[torch.Tensor],
    classes: torch.Tensor,
    contours: torch.Tensor | None,
    *,
    dice_weight: float,
    contour_weight: float,
    tap_weight: float,
) -> torch.Tensor:
    """The training loss: class and contour terms of the prediction ``outputs[0]``, plus `tap_weight` times those of each tap.

    Outputs are (B, K, S), or (B, K + 2, S) when `contours` (B, S; 1 on borders) is given: the last two channels are
    the contour head.
    """
    loss = outputs[0].new_zeros(())
    for position, output in enumerate(outputs):
        weight = 1.0 if position == 0 else tap_weight
        if weight == 0:
            continue
        logits = output.float()
        inner = logits if contours is None else logits[:, :-2]
        term = masked_cross_entropy(inner, classes)
        if dice_weight > 0 and position == 0:
            term = term + dice_weight * soft_dice_loss(inner, classes)
        if contours is not None:
            term = term + contour_weight * masked_cross_entropy(logits[:, -2:], contours)
        loss = loss + weight * term
    return loss
