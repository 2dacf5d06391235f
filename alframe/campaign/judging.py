"""What the answers of a campaign say of its raters: agreement with each other, and where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from alframe.composition import CommittedLabels
from alframe.metrics.quality import RaterQuality, rater_quality
from alframe.types import Confusion, Metric

__all__ = ["confusions_of", "judged", "quality_metrics"]


def judged(labels: CommittedLabels) -> tuple[RaterQuality, ...]:
    """The quality of the raters by all answers there are; nobody's where no box has two of them."""
    return rater_quality(_shared(labels), classes=len(labels.pool.classes))


def _shared(labels: CommittedLabels) -> Iterator[Mapping[str, NDArray[np.uint8]]]:
    """Each rater's map of every box that two or more have labelled."""
    raters: dict[str, dict[tuple[tuple[int, ...], tuple[int, ...]], set[str]]] = {}
    for answer in labels.answers:
        if answer.mask is not None:
            corners = (answer.box.start, answer.box.stop)
            raters.setdefault(answer.item, {}).setdefault(corners, set()).add(answer.rater)
    for item, boxes in sorted(raters.items()):
        if max(len(who) for who in boxes.values()) < 2:
            continue
        maps = labels.by_rater(item)
        for (start, stop), who in sorted(boxes.items()):
            if len(who) > 1:
                inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
                yield {name: maps[name].classes[inside] for name in sorted(who)}


def quality_metrics(quality: Sequence[RaterQuality]) -> Iterable[Metric]:
    """Numbers of each rater, under the scope ``raters``; all answers up to the round count."""
    for one in quality:
        others = "against the majority of the other raters of a box; ties left out"
        rows: dict[str, tuple[float | None, str]] = {
            "shared_boxes": (float(one.boxes), "boxes that another rater labelled too"),
            "agreement": (one.agreement, f"Dice {others}; mean over boxes"),
            "sensitivity": (one.sensitivity, "STAPLE, mean over boxes with three raters or more who drew the class"),
            "specificity": (one.specificity, "STAPLE, mean over boxes with three raters or more who drew the class"),
        }
        for name, (value, convention) in rows.items():
            yield Metric(name=name, value=value, convention=convention, label=one.rater, scope="raters")


def confusions_of(quality: Sequence[RaterQuality]) -> Iterable[Confusion]:
    """The filled cells of every rater's confusion matrix."""
    for one in quality:
        for agreed, chosen in np.argwhere(one.confusion):
            pixels = int(one.confusion[agreed, chosen])
            yield Confusion(rater=one.rater, agreed=int(agreed), chosen=int(chosen), pixels=pixels)
