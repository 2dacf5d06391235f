"""What a model is worth on items whose truth is known: the functions that travel to workers and bring back sums.

As in :mod:`alframe.jobs`, nothing depends on which worker runs them or in what order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alframe import metrics
from alframe.jobs import Model, fused_truth, observe_item
from alframe.metrics import EvaluationState, MetricSpec, RaterSpec, RaterState
from alframe.metrics.fusion import Fusion
from alframe.metrics.observation import PROBABILITY_FLOOR
from alframe.ports import Artifacts, Pool, Prediction
from alframe.strategies import moments as moment
from alframe.strategies.opinions import predicted_disagreement
from alframe.types import ArtifactRef

__all__ = ["EvaluateContext", "Sums", "evaluate_range", "measure_range"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateContext:
    """What all evaluation jobs of a round share. `raters` is None when raters are not compared with the model one by one;
    `fusion` makes one truth of several."""

    pool: Pool
    artifacts: Artifacts
    model: Model
    spec: MetricSpec
    raters: RaterSpec | None = None
    fusion: Fusion = "majority"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """The metric sums of a range of items; `raters` is None unless asked for."""

    state: EvaluationState
    raters: RaterState | None = None


def evaluate_range(context: EvaluateContext, items: tuple[str, ...]) -> dict[str, ArtifactRef]:
    """Metric sums of whole items against their ingested truth, as references under ``state`` and, if asked for, ``raters``."""
    sums = measure_range(context, items)
    refs = {"state": context.artifacts.put_arrays("metrics", sums.state.to_arrays())}
    if sums.raters is not None:
        refs["raters"] = context.artifacts.put_arrays("metrics", sums.raters.to_arrays())
    return refs


def measure_range(context: EvaluateContext, items: tuple[str, ...]) -> Sums:
    """Metric sums of whole items against their ingested truth. One prediction an item serves both kinds."""
    spec, of_raters = context.spec, context.raters
    states, compared = [EvaluationState.empty(spec)], []
    for item in items:
        found = context.model.predict(context.pool, item, log=True, spread=of_raters is not None)
        states.append(observe_item(spec, item, found, fused_truth(context.pool, item, context.fusion)))
        if of_raters is not None:
            compared.append(_against_raters(context, of_raters, item, found))
    total = states[0].merge(*states[1:])
    return Sums(state=total, raters=None if of_raters is None else RaterState.empty(of_raters).merge(*compared))


def _against_raters(context: EvaluateContext, spec: RaterSpec, item: str, found: Prediction) -> RaterState:
    pool = context.pool
    mean = moment.mean(found.moments)
    logged = found.moments.log_probability is not None
    return metrics.observe_raters(
        spec,
        item=item,
        mean=mean,
        log_mean=moment.log_mean(found.moments) if logged else np.log(np.maximum(mean, PROBABILITY_FLOOR)),
        samples=context.model.samples(pool, item, spec.samples),
        uncertainty=predicted_disagreement(found.moments),
        truth={rater: pool.truth(item, rater).classes for rater in pool.info(item).raters},
    )
