"""What the campaign spent: labels, clicks, seconds, who answered what, and how the classes fare."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alframe.metrics import area_under_budget_curve
from alframe.report.charts import Stack, block, stacked_bars
from alframe.report.figure import Cell, Figure, Key, Table
from alframe.report.reading import Arm
from alframe.report.svg import compact
from alframe.types import Outcome, Phase

__all__ = ["Allowance", "allowances", "by_class", "comparison", "cost", "raters", "timing"]

WORK = {
    Phase.TRAINED: "train",
    Phase.SCORED: "score",
    Phase.SELECTED: "select",
    Phase.ASKED: "ask",
    Phase.LABELLED: "label",
    Phase.COMMITTED: "commit",
    Phase.CALIBRATED: "measure",
    Phase.DONE: "finish",
}
"""The work that leads to each phase, in a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """One limit of the budget: how much of it is used, in per cent at most 100 for the bar."""

    name: str
    used: str
    limit: str
    left: str
    percent: float


def allowances(arm: Arm) -> list[Allowance]:
    """The limits of the budget in the configuration, with what is left of each."""
    budget = arm.settings.get("budget")
    if not isinstance(budget, Mapping):
        return []
    spent, found = arm.spent(), []
    for name, limit in budget.items():
        if name in spent and isinstance(limit, (int, float)) and limit > 0:
            used, shown = spent[name], _share if name == "fraction" else compact
            found.append(
                Allowance(
                    name="annotated share" if name == "fraction" else str(name),
                    used=shown(used),
                    limit=shown(float(limit)),
                    left=shown(max(0.0, limit - used)),
                    percent=min(100.0, 100.0 * used / limit),
                )
            )
    return found


def _share(value: float) -> str:
    return f"{compact(100 * value)}\u00a0%"


COST = (
    ("acquired_queries", "queries"),
    ("acquired_pixels", "new pixels"),
    ("acquired_foreground", "foreground pixels"),
    ("acquired_contour", "contour length (pixels)"),
    ("acquired_seconds", "rater's seconds"),
    ("annotated_fraction", "annotated before (%)"),
)


def cost(arm: Arm) -> Table | None:
    """What each round's labels cost; a last row adds up. None before anything was measured."""
    columns = {words: arm.series(name, "campaign") for name, words in COST}
    rounds = sorted({index for values in columns.values() for index in values})
    if not rounds:
        return None
    rows: list[tuple[Cell, ...]] = []
    for index in rounds:
        rows.append((index, *(_percent(words, values.get(index)) for words, values in columns.items())))
    total = (
        sum(values.values()) if values else None for words, values in columns.items() if words != "annotated before (%)"
    )
    rows.append(("all", *total, 100.0 * arm.spent()["fraction"]))
    return Table(title="Cost of the labels, by round", columns=("round", *columns), rows=tuple(rows))


def _percent(words: str, value: float | None) -> float | None:
    return None if value is None else value * (100.0 if words.endswith("(%)") else 1.0)


def timing(arm: Arm) -> Figure | None:
    """Seconds of each phase, stacked by round."""
    by_round: dict[int, dict[Phase, float]] = {}
    for index, phase, seconds in arm.seconds:
        by_round.setdefault(index, {})[phase] = by_round.get(index, {}).get(phase, 0.0) + seconds
    if not by_round:
        return None
    phases = [phase for phase in WORK if any(phase in parts for parts in by_round.values())]
    total = sum(sum(parts.values()) for parts in by_round.values())
    unit, divisor = ("min", 60.0) if max(sum(parts.values()) for parts in by_round.values()) >= 300 else ("s", 1.0)
    stacks = [
        Stack(
            name=f"round {index}",
            parts=tuple((f"p{phase.order}", WORK[phase], parts.get(phase, 0.0) / divisor) for phase in phases),
        )
        for index, parts in sorted(by_round.items())
    ]
    largest = max(phases, key=lambda phase: sum(parts.get(phase, 0.0) for parts in by_round.values()))
    share = sum(parts.get(largest, 0.0) for parts in by_round.values()) / total if total else 0.0
    note = f"{compact(total)} s in all; {WORK[largest]} takes {compact(100 * share)} % of it."
    return Figure(
        id=f"{arm.name}-timing",
        title="Time per phase",
        drawing=stacked_bars(
            stacks,
            title="Time per phase, by round",
            description=note,
            x_label=f"wall-clock time ({unit})",
            unit=unit,
        ),
        table=Table(
            columns=("round", *(f"{WORK[phase]} (s)" for phase in phases)),
            rows=tuple((index, *(parts.get(phase) for phase in phases)) for index, parts in sorted(by_round.items())),
        ),
        note=note,
        keys=tuple(Key(name=WORK[phase], drawing=block(f"p{phase.order}")) for phase in phases),
        wide=True,
    )


CLASS_METRICS = (("dice", "Dice"), ("jaccard", "Jaccard"), ("classwise_ece", "class-wise ECE"))


def by_class(arm: Arm) -> Table | None:
    """Test metrics of each class in the last measured round."""
    columns = {words: name for name, words in CLASS_METRICS if arm.labels_of(name)}
    labels = list(dict.fromkeys(label for name in columns.values() for label in arm.labels_of(name)))
    last = max(
        (index for name in columns.values() for label in labels for index in arm.series(name, label=label)),
        default=None,
    )
    if last is None:
        return None
    rows = tuple((label, *(arm.series(name, label=label).get(last) for name in columns.values())) for label in labels)
    return Table(title=f"Classes on the test set, round {last}", columns=("class", *columns), rows=rows)


def raters(arm: Arm) -> Table | None:
    """How many answers of each outcome every rater gave, and the median of the active seconds."""
    if not arm.answers:
        return None
    outcomes = [outcome for outcome in Outcome if any(one.outcome is outcome for one in arm.answers)]
    rows: list[tuple[Cell, ...]] = []
    for rater in sorted({one.rater for one in arm.answers}):
        given = [one for one in arm.answers if one.rater == rater]
        count = Counter(one.outcome for one in given)
        seconds = [one.seconds for one in given if one.seconds is not None]
        middle = statistics.median(seconds) if seconds else None
        rows.append((rater, len(given), *(count[outcome] for outcome in outcomes), middle))
    words = tuple(outcome.value.replace("_", " ") for outcome in outcomes)
    return Table(title="Answers by rater", columns=("rater", "answers", *words, "median seconds"), rows=tuple(rows))


def comparison(arms: Sequence[Arm]) -> Table:
    """All campaigns side by side; AUBC is the mean Dice over the budgets that all of them reached."""
    rows = []
    areas = _areas(arms)
    for arm in arms:
        dice, spent = arm.series("dice"), arm.spent()
        rows.append(
            (
                arm.name,
                arm.strategy,
                arm.record.status,
                len(arm.rounds),
                100.0 * spent["fraction"],
                _last(dice),
                max(dice.values(), default=None),
                areas[arm.name],
                _last(arm.series("object_f1")),
                _last(arm.series("nll")),
                _last(arm.series("ece")),
            )
        )
    columns = (
        "campaign",
        "strategy",
        "status",
        "rounds",
        "annotated %",
        "Dice, last",
        "Dice, best",
        "Dice, AUBC",
        "object F1",
        "NLL",
        "ECE",
    )
    return Table(title="Campaigns side by side (test set)", columns=columns, rows=tuple(rows))


def _areas(arms: Sequence[Arm]) -> dict[str, float | None]:
    """Area under the learning curve (test Dice) of each campaign, over the range of budgets that all have in common."""
    curves: dict[str, dict[float, float]] = {}
    for arm in arms:
        share, dice = arm.trained_share(), arm.series("dice")
        curves[arm.name] = {share[index]: dice[index] for index in sorted(dice) if index in share}
    low = max((min(curve, default=0.0) for curve in curves.values()), default=0.0)
    high = min((max(curve, default=0.0) for curve in curves.values()), default=0.0)
    if not low < high:
        return dict.fromkeys(curves)
    return {
        name: area_under_budget_curve(list(curve), list(curve.values()), span=(low, high))
        for name, curve in curves.items()
    }


def _last(values: Mapping[int, float]) -> float | None:
    return values[max(values)] if values else None
