"""Optimisers, learning-rate schedules and the moving average of weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from alframe.learners.settings import Training

__all__ = ["MovingAverage", "learning_rate_factor", "make_optimiser"]


def make_optimiser(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with momentum; biases and normalisation parameters (one-dimensional) get no weight decay."""
    weights = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match training.optimiser:
        case "adamw":
            return torch.optim.AdamW(groups, lr=training.learning_rate)
        case "adam":
            return torch.optim.Adam(groups, lr=training.learning_rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum)


def learning_rate_factor(step: int, training: Training) -> float:
    """The factor on the learning rate at `step` (from 0): linear warm-up, then the schedule down to (almost) nothing.

    ``one_cycle`` rises from 1/25 over the first 30 % and falls to 1e-4 along cosines (Smith & Topin 2017).
    """
    total = training.steps
    if training.schedule == "one_cycle":
        peak = max(1.0, 0.3 * total)
        if step < peak:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / peak))
        return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * (step - peak) / max(1.0, total - peak)))
    warm = min(1.0, (step + 1) / (training.warmup_steps + 1))
    if training.schedule == "constant":
        return warm
    return warm * max(0.01, 0.5 * (1 + math.cos(math.pi * step / total)))


class MovingAverage:
    """An exponential moving average of a network's weights that starts fast: decay min(d, (1 + t) / (10 + t))."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay = decay
        self.step = 0

    def update(self, module: nn.Module) -> None:
        """Move towards the weights of `module`; buffers are copied."""
        self.step += 1
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.module.parameters(), module.parameters(), strict=True):
                mean.data.lerp_(value, 1 - decay)
            for kept, now in zip(self.module.buffers(), module.buffers(), strict=True):
                kept.data.copy_(now)
