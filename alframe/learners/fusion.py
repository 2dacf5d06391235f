"""Weighted fusion of members in the sums of :class:`~alframe.ports.Moments`.

Legend: ``M`` members, ``C`` classes, ``S`` space. With weights a_m > 0 (one an image, or one a pixel) and α_m = a_m / Σ a, the sums
are ``probability`` = M Σ α_m p_m, ``entropy`` = M Σ α_m H(p_m), and likewise the others: each as if M equal members had been added.
So the mean of the moments is the fused prediction, and BALD is H(Σ α_m p_m) − Σ α_m H(p_m), the information that the label
gives about *which member spoke*, a member being drawn with probability α_m; by concavity it is never negative. Votes count
every member once: a vote has no confidence.
"""

from __future__ import annotations

import math

import torch

from alframe.learners.checkpoints import ModelCard
from alframe.learners.prediction import Sums

__all__ = ["FusedSums"]

WEIGHTED = ("_probability", "_entropy", "_squares", "_noise", "_disagreement", "_contour")


class FusedSums(Sums):
    """Sums of members that do not count alike; memory does not grow with their number."""

    def __init__(self, card: ModelCard, *, votes: bool, log: bool, spread: bool) -> None:
        super().__init__(card, votes=votes, log=log, spread=spread)
        self._asked = {"votes": votes, "log": log, "spread": spread}
        self._card = card
        self._weight: torch.Tensor | None = None

    def add_weighted(self, logits: torch.Tensor, weight: torch.Tensor) -> None:
        """Take one member: `logits` (L, K, S) of its L ≥ 2 latent draws, and its `weight` a > 0, of shape () or S."""
        one = Sums(self._card, **self._asked)
        one.add_group(logits)
        weight = weight.double()
        for name in WEIGHTED:
            value = getattr(one, name)
            if value is not None:
                total = getattr(self, name)
                setattr(self, name, value * weight if total is None else total.add_(value * weight))
        if one._votes is not None:
            self._votes = one._votes if self._votes is None else self._votes.add_(one._votes)
        if one._log is not None:
            log = one._log + weight.log()
            self._log = log if self._log is None else torch.logaddexp(self._log, log)
        self._weight = weight if self._weight is None else self._weight + weight
        self.count += 1

    def finish(self) -> None:
        """Bring the sums to the total weight M; call once, after the last member."""
        assert self._weight is not None
        scale = self.count / self._weight
        for name in WEIGHTED:
            value = getattr(self, name)
            if value is not None:
                value.mul_(scale)
        if self._log is not None:
            self._log += math.log(self.count) - self._weight.log()
