"""Whom to ask about what: another rater where raters will differ and their vote is still close, and which one.

Legend: ``C`` classes, ``S`` the spatial axes ``(Z) Y X`` of a box, ``R`` raters. Pure functions; names break ties.

A vote of few raters says little by itself, so the model has a voice in it: n raters of whom k chose class c, and the model's
p̄_c, give ŷ_c = (k + p̄_c) / (n + 1). Where the only rater and a sure model agree, nothing is open; where they contradict each
other, or raters are split, it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import Moments
from alframe.seeding import generator
from alframe.strategies.measures import rater_disagreement, total_variance
from alframe.strategies.moments import mean
from alframe.types import UNANNOTATED, AnswerRecord, Box, Candidates, LabelMap, Metric

__all__ = [
    "Choice",
    "Opinions",
    "RaterRecord",
    "closeness",
    "contested",
    "next_raters",
    "one_more",
    "opinion_rows",
    "predicted_disagreement",
    "rater_records",
    "reason",
]

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.uint8]
Choice = Literal["anyone", "need", "quality", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """Which raters are asked.

    `names` are the raters there are; empty = those whose truth was ingested with an item. `first` names the raters of new queries:
    ``anyone`` leaves it to them, ``need`` takes whoever has answered least, ``random`` draws, ``quality`` takes whoever agrees
    best with the others, after everybody shared `trial` boxes with somebody. Up to `again` queries of a round's batch ask
    for another opinion instead of something new: about the box where raters are expected to differ most and the vote is
    still close (at least `closeness`, 0 = decided to 1 = open, where disagreement is expected); `then` picks who is asked,
    never one who answered before. No box gets more than `most` raters.

    Raises:
        InvalidValue: when a number is out of range, a name is empty or given twice, or names are picked from nowhere.
    """

    names: tuple[str, ...] = ()
    first: Choice = "anyone"
    again: int = 0
    then: Literal["need", "quality", "random"] = "quality"
    most: int = 3
    closeness: float = 0.5
    trial: int = 5

    def __post_init__(self) -> None:
        if self.again < 0 or self.trial < 0 or self.most < 2:
            raise InvalidValue(
                "raters: again and trial must not be negative and most be 2 or more, "
                f"got {self.again}, {self.trial} and {self.most}"
            )
        if not 0.0 <= self.closeness <= 1.0:
            raise InvalidValue(f"raters: closeness lies between 0 and 1, got {self.closeness}")
        if "" in self.names or len(set(self.names)) != len(self.names):
            raise InvalidValue(f"raters: names must be different and not empty, got {self.names}")


def predicted_disagreement(moments: Moments) -> NDArray[np.float64]:
    """How much raters will differ (S; 0 … 1) by a model's word: what it predicts of them, else its aleatoric variance; of one
    plain pass, which has no parts, the whole predictive variance."""
    if moments.disagreement is None and (moments.count < 2 or moments.squares is None):
        return total_variance(moments)
    return rater_disagreement(moments)


def closeness(mean_CS: Floats, raters_RS: Labels) -> NDArray[np.float64]:
    """How open the vote is (S; 0 … 1): C/(C − 1) Σ_c ŷ_c (1 − ŷ_c); 0 where no rater said anything."""
    classes = len(mean_CS)
    votes_CS = np.stack([(raters_RS == c).sum(axis=0) for c in range(classes)])
    count_S = (raters_RS != UNANNOTATED).sum(axis=0)
    smooth_CS = (votes_CS + np.asarray(mean_CS, np.float64)) / (count_S + 1)
    open_S = (smooth_CS * (1.0 - smooth_CS)).sum(axis=0) * classes / (classes - 1)
    return np.asarray(np.where(count_S > 0, open_S, 0.0))


def contested(mean_CS: Floats, disagreement_S: Floats, raters_RS: Labels) -> tuple[float, float]:
    """How much another opinion is worth, Σ v · closeness over the box, and how close the vote is where it matters.

    v (S; 0 … 1) is the predicted disagreement; the second value is the mean of the closeness weighted by v, 0 where v is 0.
    """
    v_S = np.asarray(disagreement_S, np.float64) * (raters_RS != UNANNOTATED).any(axis=0)
    worth, total = float((v_S * closeness(mean_CS, raters_RS)).sum()), float(v_S.sum())
    return worth, worth / total if total > 0 else 0.0


def opinion_rows(
    item: str,
    moments: Moments,
    labels: Mapping[str, LabelMap],
    boxes: Sequence[Box],
    *,
    most: int,
    close: float,
) -> Candidates:
    """The boxes of one item that are worth another opinion, one row each: their worth and where they are.

    `labels` are the raters' own maps of the item, `boxes` those asked about before. A box that `most` raters labelled, or
    whose vote is not `close`, is left out.
    """
    mean_CS, v_S = mean(moments), predicted_disagreement(moments)
    rows: list[tuple[Box, float]] = []
    for box in sorted(set(boxes)):
        maps = [one.classes[box.slices] for one in labels.values()]
        spoke = [one for one in maps if np.any(one != UNANNOTATED)]
        if not 0 < len(spoke) < most:
            continue
        worth, level = contested(mean_CS[(slice(None), *box.slices)], v_S[box.slices], np.stack(spoke))
        if not np.isfinite(worth):
            raise NonFiniteError(f"item {item}: the predicted disagreement of raters is NaN or infinite")
        if worth > 0 and level >= close:
            rows.append((box, worth))
    axes = v_S.ndim
    return Candidates(
        item=np.array([item] * len(rows), np.str_),
        start=np.array([box.start for box, _ in rows], np.int32).reshape(len(rows), axes),
        stop=np.array([box.stop for box, _ in rows], np.int32).reshape(len(rows), axes),
        score=np.array([worth for _, worth in rows], np.float64),
        stratum=np.zeros(len(rows), np.int8),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterRecord:
    """What is known of a rater: `answers` so far, and over `boxes` shared with others the `agreement` with them (0 … 1)."""

    answers: int = 0
    boxes: int = 0
    agreement: float = 0.0


def rater_records(
    answers: Sequence[AnswerRecord], metrics: Sequence[tuple[int, Metric]], *, index: int
) -> dict[str, RaterRecord]:
    """What is known of each rater when round `index` begins: `answers` and (round, metric) may go beyond it."""
    count = Counter(answer.rater for answer in answers if answer.round < index)
    judged: dict[str, dict[str, float]] = {}
    for measured, metric in metrics:
        if (measured, metric.scope) == (index - 1, "raters") and metric.value is not None:
            judged.setdefault(metric.label, {})[metric.name] = metric.value
    return {
        name: RaterRecord(
            answers=count[name],
            boxes=int(judged.get(name, {}).get("shared_boxes", 0.0)),
            agreement=judged.get(name, {}).get("agreement", 0.0),
        )
        for name in sorted({*count, *judged})
    }


def one_more(records: Mapping[str, RaterRecord], chosen: Sequence[str]) -> dict[str, RaterRecord]:
    """The records with a place in this batch counted as an answer, so that one batch is shared out."""
    more = dict(records)
    for name in chosen:
        known = more.get(name, RaterRecord())
        more[name] = replace(known, answers=known.answers + 1)
    return more


def next_raters(
    able: Sequence[str],
    records: Mapping[str, RaterRecord],
    *,
    count: int,
    how: Literal["need", "quality", "random"],
    trial: int,
    seed: int,
) -> tuple[str, ...]:
    """The `count` raters to ask (fewer when fewer are able), the most wanted first.

    ``quality`` takes whoever has shared fewer than `trial` boxes first, the one with the fewest answers before the others, and
    then whoever agrees best. Equals are put in an order drawn from `seed`.
    """
    names = sorted(set(able))
    drawn = dict(zip(names, generator("raters", seed).permutation(len(names)).tolist(), strict=True))

    def key(name: str) -> tuple[float, ...]:
        known = records.get(name, RaterRecord())
        if how == "random":
            return (drawn[name],)
        if how == "need" or known.boxes < trial:
            return (0.0, known.answers, drawn[name])
        return (1.0, -known.agreement, known.answers, drawn[name])

    return tuple(sorted(names, key=key)[:count])


def reason(name: str, records: Mapping[str, RaterRecord], *, how: Choice, trial: int) -> str:
    """Why :func:`next_raters` took this rater, in a few words; empty for ``anyone``, who came by themselves."""
    known = records.get(name, RaterRecord())
    if how == "anyone":
        return ""
    if how == "random":
        return "drawn"
    if how == "need":
        return f"fewest answers ({known.answers})"
    if known.boxes < trial:
        return f"on trial ({known.boxes} of {trial} shared boxes), fewest answers ({known.answers})"
    return f"agrees best with the others ({known.agreement:.2f})"
