"""Weights of pixels by what they do for a clean batch (Ren et al. 2018, arXiv 1803.09050; per pixel in Mirikharaji et al. 2021).

One step θ − ε Σ_q w_q ∇ℓ_q on weighted pixel losses changes the clean loss by −ε Σ_q w_q ⟨∇ℓ_q, ∇L⟩ at first order, so the weight
that the clean batch asks for is relu⟨∇ℓ_q, ∇L⟩. All these products for one image batch are one directional derivative: that of
the map θ ↦ (ℓ_q)_q along ∇L. It is a forward-mode product (``torch.func.jvp``), no second backward.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch.autograd import forward_ad

__all__ = ["losses_and_alignment", "normalised_weights", "unit"]

Parameters = dict[str, torch.Tensor]


@cache
def _load_forward_mode() -> None:
    """Torch loads its forward-mode rules on first use, and they use a part of torch that warns of its end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script", category=DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))  # type: ignore[no-untyped-call]


def losses_and_alignment(
    losses: Callable[[Parameters], torch.Tensor], parameters: Parameters, direction: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """``losses(parameters)`` with its graph, and ⟨∇ℓ_q, `direction`⟩ of each of its entries (no graph).

    Both come from one evaluation, so whatever is random in `losses` is the same in both.
    """
    _load_forward_mode()
    both: tuple[torch.Tensor, torch.Tensor] = torch.func.jvp(losses, (parameters,), (dict(direction),))  # type: ignore[assignment]
    return both[0], both[1].detach()


def normalised_weights(alignment: torch.Tensor) -> torch.Tensor:
    """relu of the alignment divided by its sum over the batch; all 0 where the sum is 0."""
    positive = torch.relu(alignment)
    total = positive.sum()
    return torch.where(total > 0, positive / torch.where(total > 0, total, torch.ones_like(total)), 0)


def unit(gradient: Parameters) -> Parameters:
    """The gradient scaled to length 1 (weights do not depend on its length); 0 where it is 0 or not finite."""
    norm = torch.sqrt(torch.stack([part.double().square().sum() for part in gradient.values()]).sum())
    usable = torch.isfinite(norm) & (norm > 0)
    factor = torch.where(usable, 1 / torch.where(usable, norm, 1), 0)
    return {
        name: torch.where(usable, part, torch.zeros_like(part)) * factor.to(part.dtype)
        for name, part in gradient.items()
    }
