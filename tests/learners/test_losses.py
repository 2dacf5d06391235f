"""Losses against closed forms, brute force and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss

from alframe.learners.losses import masked_cross_entropy, segmentation_loss, soft_dice_loss
from alframe.types import UNANNOTATED


def draw(seed: int, classes: int = 3, known: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (2, classes, 5, 7)).astype(np.float32))
    target = rng.integers(0, classes, (2, 5, 7))
    target[rng.random(target.shape) > known] = UNANNOTATED
    return logits, torch.from_numpy(target)


@given(seed=st.integers(0, 10_000), known=st.floats(0.05, 1))
@settings(max_examples=40, deadline=None)
def test_cross_entropy_is_the_mean_over_annotated_pixels(seed: int, known: float) -> None:
    logits, target = draw(seed, known=known)
    p = logits.double().softmax(1).numpy()
    terms = [-np.log(p[b, int(c), y, x]) for (b, y, x), c in np.ndenumerate(target.numpy()) if c != UNANNOTATED]
    expected = np.mean(terms) if terms else 0.0
    assert masked_cross_entropy(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_what_lies_under_unannotated_pixels_has_no_gradient() -> None:
    logits, target = draw(1)
    logits.requires_grad_()
    loss = masked_cross_entropy(logits, target) + soft_dice_loss(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    hidden = (target == UNANNOTATED).unsqueeze(1).expand_as(gradient)
    assert gradient[hidden].abs().max() == 0
    assert gradient[~hidden].abs().min() > 0


def test_dice_is_monais_where_everything_is_annotated() -> None:
    logits, target = draw(2, known=1.0)
    monai = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    assert soft_dice_loss(logits, target).item() == pytest.approx(monai(logits, target.unsqueeze(1)).item(), rel=1e-6)


def test_a_class_that_is_absent_does_not_count_in_dice() -> None:
    logits, target = draw(3, known=1.0)
    target[target == 2] = 0
    only = soft_dice_loss(logits, target)
    p, wanted = logits.softmax(1)[:, 1], (target == 1).float()
    expected = 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
    assert only.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("contour", [False, True])
def test_a_batch_without_annotation_has_loss_zero_and_a_graph(contour: bool) -> None:
    logits = torch.randn(2, 4, 6, 6, requires_grad=True)
    nothing = torch.full((2, 6, 6), UNANNOTATED)
    loss = segmentation_loss(
        (logits, logits * 2), nothing, nothing if contour else None, dice_weight=1, contour_weight=1, tap_weight=0.5
    )
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    rng = np.random.default_rng(4)
    fused, tap = (torch.from_numpy(rng.normal(size=(2, 5, 6, 6)).astype(np.float32)) for _ in range(2))
    classes = torch.from_numpy(rng.integers(0, 3, (2, 6, 6)))
    borders = torch.from_numpy(rng.integers(0, 2, (2, 6, 6)))
    loss = segmentation_loss((fused, tap), classes, borders, dice_weight=0.5, contour_weight=2.0, tap_weight=0.25)

    def both(output: torch.Tensor) -> torch.Tensor:
        return masked_cross_entropy(output[:, :3], classes) + 2 * masked_cross_entropy(output[:, 3:], borders)

    expected = both(fused) + 0.5 * soft_dice_loss(fused[:, :3], classes) + 0.25 * both(tap)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
