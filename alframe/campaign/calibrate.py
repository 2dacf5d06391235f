"""The last phase of a round: how accurate and how calibrated the model is, where, and what the labels cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from alframe import metrics
from alframe.campaign.judging import confusions_of, judged, quality_metrics
from alframe.campaign.round import Round
from alframe.campaign.showing import show
from alframe.composition import CommittedLabels, contour_length
from alframe.evaluation import EvaluateContext, evaluate_range
from alframe.metrics import EvaluationState, MetricSpec, RaterState
from alframe.ports import Transition
from alframe.types import AnswerRecord, ArtifactRef, Bin, Metric, Phase, Split

__all__ = ["calibrate"]

SCOPES = {"test": Split.TEST, "val": Split.VALIDATION}


def calibrate(work: Round) -> Transition:
    """Measure on test, validation, the acquired queries before their answers, and the remaining pool."""
    answers = tuple(a for a in work.parts.ledger.answers(work.settings.name) if a.round == work.index)
    after = work.labels_after(answers)
    found = list(_cost(work, after, answers))
    bins: list[Bin] = []
    for scope, spec, state in _states(work, after):
        if _observed(spec, state):
            found += [replace(metric, scope=scope) for metric in metrics.summarise(spec, state)]
            bins += [replace(row, scope=scope) for row in metrics.reliability(spec, state)]
    found += _against_raters(work)
    found += show(work, answers)
    quality = judged(after)
    return Transition(
        round=work.index,
        source=Phase.COMMITTED,
        target=Phase.CALIBRATED,
        metrics=(*found, *quality_metrics(quality)),
        bins=tuple(bins),
        confusions=tuple(confusions_of(quality)),
    )


def _observed(spec: MetricSpec, state: EvaluationState) -> bool:
    return any(row.count > 0 for row in metrics.reliability(spec, state))


def _states(work: Round, after: CommittedLabels) -> Iterable[tuple[str, MetricSpec, EvaluationState]]:
    if work.model is None:
        return
    spec = work.parts.metrics
    context = EvaluateContext(
        pool=work.parts.pool,
        artifacts=work.parts.artifacts,
        model=work.model,
        spec=spec,
        raters=work.parts.raters,
        fusion=work.parts.fusion,
    )
    names = ["state"] + ["raters"] * (context.raters is not None)
    for scope, split in SCOPES.items():
        jobs = work.cut(work.ids(split, with_truth=True))
        parts = work.fan_out(Phase.CALIBRATED, f"evaluate/{scope}", names, evaluate_range, context, jobs)
        yield scope, spec, _merge(work, spec, [part["state"] for part in parts])
    areas = replace(spec, objects=False)
    yield "acquired", areas, _acquired(work, areas, after)
    if work.settings.evaluate_pool:
        stored = work.parts.ledger.artifacts(work.settings.name, work.index)
        refs = [ref for key, ref in sorted(stored.items()) if key.startswith("score/") and key.endswith("/state")]
        yield "pool", areas, _merge(work, areas, refs)


def _against_raters(work: Round) -> Iterable[Metric]:
    """The model against each rater, from the sums that the evaluation left."""
    spec = work.parts.raters
    if spec is None or work.model is None:
        return
    stored = work.parts.ledger.artifacts(work.settings.name, work.index)
    for scope in SCOPES:
        refs = [
            ref
            for key, ref in sorted(stored.items())
            if key.startswith(f"evaluate/{scope}/") and key.endswith("/raters")
        ]
        states = (RaterState.from_arrays(work.parts.artifacts.get_arrays(ref)) for ref in refs)
        state = RaterState.empty(spec).merge(*states)
        if state.items:
            yield from (replace(metric, scope=scope) for metric in metrics.summarise_raters(spec, state))


def _merge(work: Round, spec: MetricSpec, refs: Iterable[ArtifactRef]) -> EvaluationState:
    stored = (EvaluationState.from_arrays(work.parts.artifacts.get_arrays(ref)) for ref in refs)
    return EvaluationState.empty(spec).merge(*stored)


def _acquired(work: Round, spec: MetricSpec, after: CommittedLabels) -> EvaluationState:
    """The prediction that was stored before the answer, against the answer."""
    states: list[EvaluationState] = []
    for query in work.queries:
        if query.prefill is None:
            continue
        mean = work.parts.artifacts.get_arrays(query.prefill)["mean"]
        truth = after.labels(query.item).crop(query.box)
        new = ~work.labels.labels(query.item).annotated[query.box.slices]
        answered = replace(truth, classes=np.where(new, truth.classes, np.uint8(255)), instances=None)
        if answered.annotated.any():
            states.append(metrics.observe(spec, item=query.id, mean=mean, truth=answered))
    return EvaluationState.empty(spec).merge(*states)


def _cost(work: Round, after: CommittedLabels, answers: tuple[AnswerRecord, ...]) -> Iterable[Metric]:
    """What the labels cost: the union of newly annotated pixels, never windows times area."""
    touched = sorted({answer.item for answer in answers})
    new_pixels = new_foreground = new_contour = 0
    for item in touched:
        before, now = work.labels.labels(item), after.labels(item)
        new = now.annotated & ~before.annotated
        new_pixels += int(np.count_nonzero(new))
        new_foreground += int(np.count_nonzero(new & (now.classes > 0)))
        new_contour += contour_length(now) - contour_length(before)
    annotated = work.labels.annotated_pixels()
    total = sum(info.size for info in work.parts.pool.items(Split.TRAIN))
    asked = len(work.asked_before)
    rows: dict[str, tuple[float | None, str]] = {
        "annotated_pixels": (annotated, "union of answers before this round: what its model was trained on"),
        "annotated_fraction": (annotated / total if total else None, "annotated pixels / pixels of the training split"),
        "rated_pixels": (work.labels.rated_pixels(), "pixels of all answers before this round, every rater's counted"),
        "answers": (len(work.labels.answers), "answers before this round"),
        "queries": (asked, "queries before this round"),
        "acquired_queries": (len(work.queries), "queries of this round"),
        "acquired_pixels": (new_pixels, "union of newly annotated pixels of this round"),
        "acquired_foreground": (new_foreground, "newly annotated pixels that are not background"),
        "acquired_contour": (new_contour, "newly annotated border pixels (4- or 6-neighbourhood), a proxy of clicks"),
        "acquired_seconds": (_seconds(answers), "active seconds of the raters, where known"),
    }
    for name, (value, convention) in rows.items():
        yield Metric(name=name, value=None if value is None else float(value), convention=convention, scope="campaign")


def _seconds(answers: Iterable[AnswerRecord]) -> float | None:
    known = [answer.seconds for answer in answers if answer.seconds is not None]
    return sum(known) if known else None
