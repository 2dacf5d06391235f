"""Figures of accuracy and calibration: learning curves, calibration per round, reliability, Brier decomposition, gaps."""

from __future__ import annotations

from collections.abc import Sequence

from alframe.report.charts import Series, Stack, block, dumbbells, line_chart, reliability_diagram, signed_bars, swatch
from alframe.report.figure import Cell, Figure, Key, Table, curve
from alframe.report.reading import SCOPES, Arm
from alframe.report.svg import compact

__all__ = ["BRIER_PARTS", "by_round", "calibration", "decomposition", "gaps", "learning", "reliability"]

LEARNING = (
    (
        "dice",
        "Dice",
        "Dice (mean foreground) ↑",
        "Overlap with the truth, pooled over all test pixels; 1 is perfect.",
        1.0,
    ),
    ("object_f1", "Object F1", "object F1 ↑", "Objects found: more than half of the true object covered.", 1.0),
    ("object_dice", "Object Dice", "object Dice ↑", "Overlap object by object, weighted by area.", 1.0),
    ("nll", "Negative log-likelihood", "NLL (nats per pixel) ↓", "Mean of −log p of the true class.", float("inf")),
    ("ece", "Expected calibration error", "ECE ↓", "Mean distance between confidence and accuracy over the bins.", 1.0),
    ("brier_reliability", "Brier reliability", "reliability ↓", "The miscalibrated part of the Brier score.", 2.0),
    ("ged", "Distance to the raters", "GED² ↓", "Between samples of the model and the raters' masks.", 2.0),
    ("ncc", "Variance where raters differ", "NCC ↑", "Correlation of predicted and raters' variance.", 1.0),
)
CALIBRATION = (
    ("nll", "Negative log-likelihood", "NLL (nats per pixel) ↓", float("inf")),
    ("ece", "Expected calibration error", "ECE ↓", 1.0),
    ("brier", "Brier score", "Brier score (0–2) ↓", 2.0),
    ("brier_reliability", "Brier reliability", "reliability ↓", 2.0),
)
SIZES = {1: (1090.0, 330.0), 2: (520.0, 290.0), 3: (330.0, 250.0)}
"""Width and height of a chart by how many stand in a row."""
STYLES = {"test": "q0", "val": "q1", "acquired": "q2", "pool": "q3"}
SHORT = {"test": "test", "val": "val", "acquired": "acquired", "pool": "pool"}
BRIER_PARTS = (
    ("brier_uncertainty", "uncertainty", "part-u", 1.0),
    ("brier_reliability", "reliability", "part-r", 1.0),
    ("brier_within_variance", "within-bin variance", "part-v", 1.0),
    ("brier_within_covariance", "within-bin covariance", "part-c", -1.0),
    ("brier_resolution", "resolution", "part-s", -1.0),
)
"""The five terms and the sign with which each enters the score:
BS = reliability − resolution + uncertainty + variance − covariance."""


def learning(arms: Sequence[Arm]) -> list[Figure]:
    """Test metrics against annotated pixels, all campaigns in one frame each.

    One campaign shows accuracy only: its calibration has a section of its own.
    """
    wanted = LEARNING if len(arms) > 1 else LEARNING[:3]
    kept = [row for row in wanted if any(arm.series(row[0]) for arm in arms)]
    size = SIZES[min(len(kept), 3)] if kept else SIZES[3]
    found = [
        curve(arms, name, title=title, y_label=axis, note=note, ceiling=top, size=size)
        for name, title, axis, note, top in kept
    ]
    return [figure for figure in found if figure is not None]


def calibration(arm: Arm) -> list[Figure]:
    """NLL, ECE, Brier and its reliability by round, on every set the model was measured on."""
    found = (by_round(arm, name, title, label, limits=(0.0, top)) for name, title, label, top in CALIBRATION)
    return [figure for figure in found if figure is not None]


def by_round(arm: Arm, metric: str, title: str, y_label: str, *, limits: tuple[float, float]) -> Figure | None:
    """One metric by round on every set it was measured on; None where it never was."""
    by_scope = {scope: arm.series(metric, scope) for scope in SCOPES}
    series = [
        Series(
            name=SHORT[scope],
            style=STYLES[scope],
            shape=list(SCOPES).index(scope),
            points=tuple((float(index), value) for index, value in values.items()),
            tips=tuple(
                f"{SCOPES[scope]} · round {index} · {title} {compact(value)}" for index, value in values.items()
            ),
        )
        for scope, values in by_scope.items()
        if values
    ]
    if not series:
        return None
    ends = "; ".join(f"{one.name} {compact(one.points[-1][1])} in round {one.points[-1][0]:g}" for one in series)
    drawing = line_chart(
        series,
        title=f"{title} by round",
        description=f"Last values: {ends}.",
        x_label="round",
        y_label=y_label,
        limits=limits,
        whole_x=True,
        end_labels=True,
        size=(520, 280),
    )
    rounds = sorted({index for values in by_scope.values() for index in values})
    measured = [scope for scope in SCOPES if by_scope[scope]]
    rows = tuple((index, *(by_scope[scope].get(index) for scope in measured)) for index in rounds)
    table = Table(columns=("round", *(SCOPES[scope] for scope in measured)), rows=rows)
    return Figure(
        id=f"{arm.name}-calibration-{metric}", title=title, drawing=drawing, table=table, note=arm.convention(metric)
    )


def reliability(arm: Arm) -> list[tuple[int, list[Figure]]]:
    """Reliability diagrams of every measured set, by round."""
    found: dict[int, list[Figure]] = {}
    for index in sorted({index for index, _ in arm.bins}):
        figures = [_diagram(arm, index, scope) for scope in SCOPES if arm.reliability(index, scope)]
        if figures:
            found[index] = figures
    return list(found.items())


def _diagram(arm: Arm, index: int, scope: str) -> Figure:
    bins = arm.reliability(index, scope)
    error = arm.series("ece", scope).get(index)
    said = f"ECE {compact(error)}" if error is not None else ""
    title = f"{SCOPES[scope].capitalize()}, round {index}"
    rows: list[tuple[Cell, ...]] = [
        (
            one.lower,
            one.upper,
            one.count,
            one.confidence / one.count if one.count else None,
            one.correct / one.count if one.count else None,
        )
        for one in bins
    ]
    return Figure(
        id=f"{arm.name}-reliability-{index}-{scope}",
        title=title,
        drawing=reliability_diagram(
            bins,
            title=f"Reliability diagram: {title}",
            description=f"Accuracy against confidence in {len(bins)} bins. {said}",
            style=STYLES[scope],
        ),
        table=Table(columns=("from", "to", "pixels", "confidence", "accuracy"), rows=tuple(rows)),
        note=said,
    )


def decomposition(arm: Arm) -> Figure | None:
    """The Brier score on the test set, split into terms that add up to it exactly."""
    parts = {name: arm.series(name) for name, *_ in BRIER_PARTS}
    rounds = sorted(set(parts["brier_reliability"]) & set(parts["brier_resolution"]) & set(parts["brier_uncertainty"]))
    if not rounds:
        return None
    total = arm.series("brier")
    stacks = [
        Stack(
            name=f"round {index}",
            parts=tuple((style, words, sign * parts[name].get(index, 0.0)) for name, words, style, sign in BRIER_PARTS),
        )
        for index in rounds
    ]
    named = [(name, words, sign) for name, words, _, sign in BRIER_PARTS if parts[name]]
    rows = tuple((index, total.get(index), *(parts[name].get(index) for name, *_ in named)) for index in rounds)
    drawing = signed_bars(
        stacks,
        [total.get(index) for index in rounds],
        title="Brier decomposition on the test set",
        description="Uncertainty and reliability raise the score, resolution lowers it; the terms add up to the score.",
        x_label="round",
        y_label="contribution to the Brier score",
    )
    keys = tuple(Key(name=words, drawing=block(style)) for name, words, style, _ in BRIER_PARTS if parts[name])
    keys += (Key(name="Brier score", drawing=swatch("total", 3)),)
    return Figure(
        id=f"{arm.name}-brier",
        title="Brier decomposition, test set",
        drawing=drawing,
        table=Table(columns=("round", "Brier", *(words for _, words, _ in named)), rows=rows),
        note="Reliability is what calibration can win; resolution is what the model knows; uncertainty is the data's own.",
        keys=keys,
        wide=True,
    )


def gaps(arm: Arm) -> list[Figure]:
    """How much worse (or better) the model is calibrated where it asked than on the test set, round by round."""
    figures = []
    for metric, title, label, _ in CALIBRATION[:3]:
        test, acquired = arm.series(metric, "test"), arm.series(metric, "acquired")
        rounds = [index for index in test if index in acquired]
        if not rounds:
            continue
        rows = [(f"round {index}", test[index], acquired[index]) for index in rounds]
        mean = sum(second - first for _, first, second in rows) / len(rows)
        drawing = dumbbells(
            rows,
            ends=("test", "acquired"),
            styles=("q0", "q2"),
            title=f"{title}: acquired against test",
            description=f"On average the acquired queries lie {mean:+.4f} from the test set.",
            x_label=label.rstrip(" ↑↓"),
        )
        table = Table(
            columns=("round", "test", "acquired", "gap"),
            rows=tuple((index, test[index], acquired[index], acquired[index] - test[index]) for index in rounds),
        )
        keys = (Key(name="test", drawing=swatch("q0", 0)), Key(name="acquired", drawing=swatch("q2", 1)))
        note = f"Mean gap {mean:+.3f}.".replace("-", "−")
        figures.append(
            Figure(id=f"{arm.name}-gap-{metric}", title=title, drawing=drawing, table=table, note=note, keys=keys)
        )
    return figures
