"""Several raters in the report: the model against them round by round, and each of them against the others."""

from __future__ import annotations

from alframe.report.curves import by_round
from alframe.report.figure import Cell, Figure, Table
from alframe.report.reading import Arm

__all__ = ["agreement", "confusion", "quality"]

AGREEMENT = (
    ("ged", "Distance to the raters", "GED² ↓", (0.0, 2.0)),
    ("ncc", "Variance where raters differ", "NCC ↑", (-1.0, 1.0)),
    ("pixel_agreement", "Predicted disagreement, pixels", "correlation ↑", (-1.0, 1.0)),
    ("image_agreement", "Predicted disagreement, images", "correlation ↑", (-1.0, 1.0)),
)
QUALITY = (
    ("shared_boxes", "boxes shared"),
    ("agreement", "agreement (Dice)"),
    ("sensitivity", "sensitivity (STAPLE)"),
    ("specificity", "specificity (STAPLE)"),
)


def agreement(arm: Arm) -> list[Figure]:
    """GED², NCC and the agreement of predicted with real disagreement, by round; none where raters were not compared."""
    found = (by_round(arm, name, title, label, limits=limits) for name, title, label, limits in AGREEMENT)
    return [figure for figure in found if figure is not None]


def quality(arm: Arm) -> Table | None:
    """Each rater against the others, as far as known in the last round; None where no two shared a box."""
    raters = sorted(arm.labels_of("shared_boxes", "raters"))
    if not raters:
        return None
    rows: list[tuple[Cell, ...]] = []
    for rater in raters:
        series = (arm.series(name, "raters", label=rater) for name, _ in QUALITY)
        rows.append((rater, *(values[max(values)] if values else None for values in series)))
    return Table(
        title="Raters against the majority of the others",
        columns=("rater", *(words for _, words in QUALITY)),
        rows=tuple(rows),
    )


def confusion(arm: Arm, classes: tuple[str, ...]) -> Table | None:
    """What each rater chose where the others agreed, in per cent of those pixels; None where nothing is known."""
    if not arm.confusions:
        return None
    last = max(index for index, _ in arm.confusions)
    cells = {(one.rater, one.agreed, one.chosen): one.pixels for index, one in arm.confusions if index == last}
    rows: list[tuple[Cell, ...]] = []
    for rater in sorted({rater for rater, *_ in cells}):
        for agreed, name in enumerate(classes):
            counts = [cells.get((rater, agreed, chosen), 0) for chosen in range(len(classes))]
            if total := sum(counts):
                rows.append((rater, name, total, *(100.0 * count / total for count in counts)))
    columns = ("rater", "the others agreed on", "pixels", *(f"chose {name} (%)" for name in classes))
    return Table(title="Confusion of the raters", columns=columns, rows=tuple(rows))
