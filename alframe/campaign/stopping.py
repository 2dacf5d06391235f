"""When a campaign ends: pure rules over what the ledger holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alframe.campaign.settings import LOWER_IS_BETTER, Budget, Plateau, Settings, Target
from alframe.types import Metric

__all__ = ["Spent", "series", "stop_reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a campaign has used so far: acquisition rounds (without round 0), queries, annotated pixels, seconds."""

    rounds: int
    queries: int
    pixels: int
    seconds: float
    training_pixels: int

    @property
    def fraction(self) -> float:
        """Annotated share of the training split."""
        return self.pixels / self.training_pixels if self.training_pixels else 0.0


def series(metrics: Sequence[tuple[int, Metric]], name: str, scope: str) -> list[float]:
    """Values of one metric over the rounds, pooled over all pixels and classes; rounds without it are left out."""
    return [
        metric.value
        for _, metric in metrics
        if metric.value is not None
        and (metric.name, metric.scope, metric.label, metric.statistic) == (name, scope, "", "pooled")
    ]


def stop_reason(settings: Settings, spent: Spent, metrics: Sequence[tuple[int, Metric]]) -> str:
    """The first rule that says stop, as ``rule: sentence``; empty when none does.

    Rules are ``budget``, ``target`` and ``plateau``, looked at in this order.
    """
    reason = _budget(settings.budget, spent)
    if not reason and settings.target is not None:
        reason = _target(settings.target, metrics)
    if not reason and settings.plateau is not None:
        reason = _plateau(settings.plateau, metrics)
    return reason


def _budget(budget: Budget, spent: Spent) -> str:
    for name in Budget.__slots__:
        limit, used = getattr(budget, name), getattr(spent, name)
        if limit is not None and used >= limit:
            return f"budget: {name} {used:.6g} of {limit:.6g} used"
    return ""


def _target(target: Target, metrics: Sequence[tuple[int, Metric]]) -> str:
    values = series(metrics, target.metric, target.scope)
    if not values:
        return ""
    lower = target.metric in LOWER_IS_BETTER
    reached = values[-1] <= target.value if lower else values[-1] >= target.value
    return f"target: {target.scope} {target.metric} {values[-1]:.4g} reached {target.value:.4g}" if reached else ""


def _plateau(plateau: Plateau, metrics: Sequence[tuple[int, Metric]]) -> str:
    values = series(metrics, plateau.metric, plateau.scope)
    if len(values) <= plateau.rounds:
        return ""
    gains = [-value for value in values] if plateau.metric in LOWER_IS_BETTER else values
    if max(gains[-plateau.rounds :]) >= max(gains[: -plateau.rounds]) + plateau.min_delta:
        return ""
    return (
        f"plateau: {plateau.scope} {plateau.metric} gained less than {plateau.min_delta:.4g} in {plateau.rounds} rounds"
    )
