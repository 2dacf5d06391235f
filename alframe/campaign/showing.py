"""What a round keeps for the report: panels of a few images, and how far the confidence of blobs can be trusted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from alframe import seeding
from alframe.campaign.round import Round
from alframe.metrics.blobs import area_under_roc, fit_temperature
from alframe.panels import PanelContext, PanelJob, blob_table, draw_panel
from alframe.types import AnswerRecord, Box, Metric, Phase, Split

__all__ = ["show"]

BLOB_ITEMS = 16
"""Validation items on whose blobs the confidence is fitted."""


def show(work: Round, answers: Iterable[AnswerRecord]) -> tuple[Metric, ...]:
    """Keep panels of the round, when its settings want any; returns how the confidence of blobs was fitted, where there are."""
    count, model = work.settings.panels, work.model
    if not count or model is None:
        return ()
    blobs = bool(getattr(work.parts.learner, "foreground_logits", False))
    context = PanelContext(pool=work.parts.pool, artifacts=work.parts.artifacts, model=model, blobs=blobs)
    jobs = [*_of_test(work, count), *_of_queries(work, answers, count)]
    work.fan_out(Phase.CALIBRATED, "panel", ["panel"], draw_panel, context, jobs)
    return _confidence(work, context) if blobs else ()


def _of_test(work: Round, count: int) -> Iterable[PanelJob]:
    """The same test images in every round: those of most raters, in an order drawn from the seed."""
    infos = [info for info in work.parts.pool.items(Split.TEST) if info.raters]
    infos.sort(key=lambda info: (-len(info.raters), seeding.derive(work.settings.seed, "panel", info.id), info.id))
    return [PanelJob(item=info.id, box=Box.whole(info.shape)) for info in infos[:count]]


def _of_queries(work: Round, answers: Iterable[AnswerRecord], count: int) -> Iterable[PanelJob]:
    """The first queries of the round that brought a label."""
    labelled = {answer.query for answer in answers if answer.mask is not None}
    kept = [query for query in work.queries if query.id in labelled][:count]
    return [PanelJob(item=query.item, box=query.box, query=query.id) for query in kept]


def _confidence(work: Round, context: PanelContext) -> tuple[Metric, ...]:
    items = tuple(work.ids(Split.VALIDATION, with_truth=True)[:BLOB_ITEMS])
    if not items:
        return ()
    (refs,) = work.fan_out(Phase.CALIBRATED, "blobs", ["blobs"], blob_table, context, [items])
    table = work.parts.artifacts.get_arrays(refs["blobs"])
    logit, true = table["logit"], table["true"]
    temperature = fit_temperature(logit, true) if len(logit) else None
    area = area_under_roc(logit, true)
    said = f"blobs of the first {len(items)} validation items, true at IoU 0.1"
    rows = {
        "blob_temperature": (temperature, f"τ of sigmoid(mean logit / τ), fitted on the {said}"),
        "blob_auroc": (None if np.isnan(area) else area, f"of the mean logit, {said}"),
    }
    return tuple(
        Metric(name=name, value=value, convention=convention, scope="val") for name, (value, convention) in rows.items()
    )
