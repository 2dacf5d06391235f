"""Calibration, segmentation and object metrics as mergeable sums; pure functions of arrays."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.metrics.curves import PairedDifference, area_under_budget_curve, budget_to_reach, paired_difference
    from alframe.metrics.fusion import fuse
    from alframe.metrics.instances import instances_from
    from alframe.metrics.observation import observe
    from alframe.metrics.rater_observation import observe_raters
    from alframe.metrics.rater_state import RaterSpec, RaterState
    from alframe.metrics.rater_summary import summarise_raters
    from alframe.metrics.raters import energy_distance, spread, vote_fractions
    from alframe.metrics.spec import MetricSpec
    from alframe.metrics.state import EvaluationState
    from alframe.metrics.summary import reliability, summarise

__all__ = [
    "EvaluationState",
    "MetricSpec",
    "PairedDifference",
    "RaterSpec",
    "RaterState",
    "area_under_budget_curve",
    "budget_to_reach",
    "energy_distance",
    "fuse",
    "instances_from",
    "observe",
    "observe_raters",
    "paired_difference",
    "reliability",
    "spread",
    "summarise",
    "summarise_raters",
    "vote_fractions",
]

_HOME = {
    "EvaluationState": "state",
    "MetricSpec": "spec",
    "PairedDifference": "curves",
    "RaterSpec": "rater_state",
    "RaterState": "rater_state",
    "area_under_budget_curve": "curves",
    "budget_to_reach": "curves",
    "energy_distance": "raters",
    "fuse": "fusion",
    "instances_from": "instances",
    "observe": "observation",
    "observe_raters": "rater_observation",
    "paired_difference": "curves",
    "reliability": "summary",
    "spread": "raters",
    "summarise": "summary",
    "summarise_raters": "rater_summary",
    "vote_fractions": "raters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
