"""Segmentation losses over annotated pixels only.

Legend: ``B`` batch, ``K`` classes, ``S`` space. Targets are ``int64`` (B, S) with 255 where nobody annotated. A batch
without any annotated pixel has loss 0 and still a graph, so that a step changes nothing and gives no NaN.

A batch may be spread over several processes: `pooled` then completes sums over this one's part by those of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from alframe.types import UNANNOTATED

__all__ = ["Pooled", "masked_cross_entropy", "segmentation_loss", "soft_dice_loss", "whole"]

Pooled = Callable[[torch.Tensor], torch.Tensor]
"""From sums over a part of the batch to sums over all of it."""


def whole(sums: torch.Tensor) -> torch.Tensor:
    """The sums themselves: this process has the whole batch."""
    return sums


def masked_cross_entropy(logits: torch.Tensor, target: torch.Tensor, *, pooled: Pooled = whole) -> torch.Tensor:
    """Mean cross-entropy in nats over annotated pixels (a scalar); logits (B, K, S)."""
    total = functional.cross_entropy(logits, target, ignore_index=UNANNOTATED, reduction="sum")
    return pooled(total) / pooled((target != UNANNOTATED).sum()).clamp(min=1)


def soft_dice_loss(
    logits: torch.Tensor, target: torch.Tensor, *, smooth: float = 1.0, pooled: Pooled = whole
) -> torch.Tensor:
    """One minus the soft Dice of the classes other than background, pooled over the batch (Milletari et al. 2016, eq. 1).

    Classes without an annotated pixel in the batch do not count, and a batch without any of them has loss 0.
    """
    known = (target != UNANNOTATED).unsqueeze(1)
    classes = logits.shape[1]
    one_hot = functional.one_hot(target.masked_fill(target == UNANNOTATED, 0), classes).movedim(-1, 1) * known
    probability = logits.softmax(1) * known
    axes = (0, *range(2, logits.ndim))
    shared = pooled((probability * one_hot).sum(axes)[1:])
    present = pooled(one_hot.sum(axes)[1:])
    dice = (2 * shared + smooth) / (pooled(probability.sum(axes)[1:]) + present + smooth)
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
    pooled: Pooled = whole,
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
        term = masked_cross_entropy(inner, classes, pooled=pooled)
        if dice_weight > 0 and position == 0:
            term = term + dice_weight * soft_dice_loss(inner, classes, pooled=pooled)
        if contours is not None:
            term = term + contour_weight * masked_cross_entropy(logits[:, -2:], contours, pooled=pooled)
        loss = loss + weight * term
    return loss
