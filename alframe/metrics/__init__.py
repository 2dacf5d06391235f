"""Calibration, segmentation and object metrics as mergeable sums; pure functions of arrays."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.metrics.curves import PairedDifference, area_under_budget_curve, budget_to_reach, paired_difference
    from alframe.metrics.instances import instances_from
    from alframe.metrics.observation import observe
    from alframe.metrics.spec import MetricSpec
    from alframe.metrics.state import EvaluationState
    from alframe.metrics.summary import reliability, summarise

__all__ = [
    "EvaluationState",
    "MetricSpec",
    "PairedDifference",
    "area_under_budget_curve",
    "budget_to_reach",
    "instances_from",
    "observe",
    "paired_difference",
    "reliability",
    "summarise",
]

_HOME = {
    "EvaluationState": "state",
    "MetricSpec": "spec",
    "PairedDifference": "curves",
    "area_under_budget_curve": "curves",
    "budget_to_reach": "curves",
    "instances_from": "instances",
    "observe": "observation",
    "paired_difference": "curves",
    "reliability": "summary",
    "summarise": "summary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
