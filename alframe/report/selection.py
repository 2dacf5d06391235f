"""What was selected: one card a query, with the image around its box, the uncertainty map, the prediction and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alframe.ports import Artifacts, Pool
from alframe.report import raster
from alframe.report.charts import strips
from alframe.report.figure import Figure, Table
from alframe.report.frame import Frame
from alframe.report.reading import Arm
from alframe.report.svg import compact, num, tag
from alframe.types import AnswerRecord, Box, Query, display_window

__all__ = ["Card", "Gallery", "galleries", "scores"]

CARDS_A_ROUND = 12
CARDS = 180
SIDE = 200
"""Longest side of a thumbnail, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One query as a picture with a caption."""

    drawing: Markup
    item: str
    place: str
    score: str
    outcomes: tuple[tuple[str, str], ...]
    rank: int
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The queries of one round; `total` of them, of which `cards` are shown; `scale` is the brightest uncertainty."""

    round: int
    total: int
    items: int
    cards: tuple[Card, ...]
    scale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """The queries of one round, all answers by query, and those of earlier rounds by item and box."""

    queries: tuple[Query, ...]
    answers: Mapping[str, list[AnswerRecord]]
    before: Mapping[tuple[str, Box], list[AnswerRecord]]


def galleries(arm: Arm, artifacts: Artifacts, pool: Pool) -> list[Gallery]:
    """Cards by round, best rank first; at most CARDS in the whole report, spread evenly over the rounds."""
    asked = {index: queries for index, queries in arm.queries.items() if queries}
    limit = max(3, min(CARDS_A_ROUND, CARDS // max(len(asked), 1)))
    answers: dict[str, list[AnswerRecord]] = {}
    for record in arm.answers:
        answers.setdefault(record.query, []).append(record)
    found = []
    for index, queries in asked.items():
        before: dict[tuple[str, Box], list[AnswerRecord]] = {}
        for record in arm.answers:
            if record.round < index:
                before.setdefault((record.item, record.box), []).append(record)
        chosen = _Round(queries=queries, answers=answers, before=before)
        found.append(_gallery(index, chosen, limit, artifacts, pool))
    return found


def _gallery(index: int, asked: _Round, limit: int, artifacts: Artifacts, pool: Pool) -> Gallery:
    shown = asked.queries[:limit]
    prefills = [artifacts.get_arrays(query.prefill) if query.prefill else {} for query in shown]
    peaks = [float(np.percentile(found["uncertainty"], 99.5)) for found in prefills if "uncertainty" in found]
    highest = max(peaks, default=0.0)
    cards = tuple(
        _card(query, found, highest, asked, artifacts, pool) for query, found in zip(shown, prefills, strict=True)
    )
    return Gallery(
        round=index,
        total=len(asked.queries),
        items=len({query.item for query in asked.queries}),
        cards=cards,
        scale=compact(highest) if highest else "",
    )


def _card(
    query: Query,
    prefill: Mapping[str, NDArray[np.generic]],
    highest: float,
    asked: _Round,
    artifacts: Artifacts,
    pool: Pool,
) -> Card:
    records = asked.answers.get(query.id, [])
    info = pool.info(query.item)
    view = _around(query.box, info.shape)
    axes = len(info.shape)
    slab = _slab(view, query.box)
    image = raster.plane(pool.image(query.item, slab), axes)
    spacing = info.spacing[-2:] if len(info.spacing) == axes else (1.0, 1.0)
    frame = Frame.of(view, spacing, SIDE)
    small = raster.picture(raster.shrink(image, frame.factor), display_window(info, pool.intensities(query.item)))
    layers = [frame.image(raster.photograph(small), view, "photo")]
    if "uncertainty" in prefill:
        seen = raster.shrink(raster.plane(prefill["uncertainty"], axes), frame.factor)
        layers.append(frame.image(raster.heat(seen, highest), query.box, "layer-heat"))
    if "classes" in prefill:
        layers.append(frame.outline(raster.plane(prefill["classes"], axes), query.box, "layer-guess"))
    mask = next((record.mask for record in records if record.mask), None)
    if mask is not None:
        layers.append(
            frame.outline(raster.plane(artifacts.get_arrays(mask)["classes"], axes), query.box, "layer-truth")
        )
    others = [one for one in asked.queries if one.item == query.item and one.id != query.id]
    layers += [frame.rectangle(one.box, "near") for one in others if one.box.overlap(slab)]
    layers.append(frame.rectangle(query.box, "box"))
    words = f"{query.item}, {_place(query.box, info.shape)}, score {compact(query.score)}"
    drawing = tag(
        "svg",
        *layers,
        viewBox=f"0 0 {num(frame.width)} {num(frame.height)}",
        class_="thumb",
        role="img",
        aria_label=words,
    )
    return Card(
        drawing=Markup(drawing),
        item=query.item,
        place=_place(query.box, info.shape),
        score=compact(query.score),
        outcomes=tuple((record.rater, record.outcome.value) for record in records),
        rank=query.rank,
        asked=_asked(query, asked),
    )


def _asked(query: Query, asked: _Round) -> str:
    """Who was asked by name, and whether others had labelled the box before; empty for a new box for anyone."""
    names = ", ".join(query.raters)
    if any(one.mask is not None for one in asked.before.get((query.item, query.box), [])):
        return f"another opinion: {names}" if names else "another opinion"
    return f"for {names}" if names else ""


def _around(box: Box, shape: tuple[int, ...]) -> Box:
    """The box with surroundings, twice its extent on each axis; moved, then cut, to lie inside the item."""
    start, stop = [], []
    for a, b, n in zip(box.start, box.stop, shape, strict=True):
        extent = min(n, 2 * (b - a))
        first = min(max(0, a - (extent - (b - a)) // 2), n - extent)
        start.append(first)
        stop.append(first + extent)
    return Box(start=tuple(start), stop=tuple(stop))


def _slab(view: Box, box: Box) -> Box:
    """The view in the plane, but only the middle slice of `box` across it, so that no whole volume is read."""
    if len(box.start) == 2:
        return view
    middle = box.start[0] + (box.stop[0] - box.start[0]) // 2
    return Box(start=(middle, *view.start[1:]), stop=(middle + 1, *view.stop[1:]))


def _place(box: Box, shape: tuple[int, ...]) -> str:
    if box == Box.whole(shape):
        return "whole " + ("image" if len(shape) == 2 else "volume")
    return _corners(box)


def _corners(box: Box) -> str:
    names = "ZYX"[-len(box.start) :]
    return " · ".join(f"{name} {a}–{b}" for name, a, b in zip(names, box.start, box.stop, strict=True))


def scores(arm: Arm) -> Figure | None:
    """Acquisition scores of the chosen queries, round by round; None when no round had a model to score with."""
    columns = [
        (index, [(query.score, _tip(index, query)) for query in queries])
        for index, queries in arm.queries.items()
        if queries and any(query.prefill for query in queries)
    ]
    if not columns:
        return None
    rows = tuple(
        (index, query.rank + 1, query.item, _corners(query.box), query.score)
        for index, _ in columns
        for query in arm.queries[index]
    )
    return Figure(
        id=f"{arm.name}-scores",
        title="Acquisition scores of the chosen queries",
        drawing=strips(
            columns,
            title="Acquisition scores of the chosen queries",
            description="One dot a query. A falling cloud says that the pool holds less that surprises the model.",
            x_label="round",
            y_label="score (higher = more informative)",
            style="s0",
        ),
        table=Table(columns=("round", "rank", "item", "box", "score"), rows=rows),
        note="One dot a query. A falling cloud says that the pool holds less and less that surprises the model.",
        wide=True,
    )


def _tip(index: int, query: Query) -> str:
    return f"round {index} · rank {query.rank + 1} · {query.item} · score {compact(query.score)}"
