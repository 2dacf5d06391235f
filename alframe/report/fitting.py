"""How training went: validation loss over the epochs of every round's chosen members."""

from __future__ import annotations

import numpy as np

from alframe.ports import Artifacts, Ledger
from alframe.report.charts import Series, line_chart
from alframe.report.figure import Cell, Figure, Table
from alframe.report.reading import Arm
from alframe.report.svg import compact

__all__ = ["training"]


def training(arm: Arm, ledger: Ledger, artifacts: Artifacts) -> Figure | None:
    """Validation loss by epoch, one line a member and round; None when no learner recorded two epochs.

    The last round is drawn strongest, earlier ones paler.
    """
    curves = [
        (record.index, member, points)
        for record in arm.rounds
        for member, points in _curves(ledger, artifacts, arm.name, record.index)
        if len(points) > 1
    ]
    if not curves:
        return None
    rounds = sorted({index for index, _, _ in curves})
    series = [
        Series(
            name=f"round {index}",
            style=f"age{min(3, len(rounds) - 1 - rounds.index(index))}",
            shape=0,
            points=points,
            tips=tuple(f"round {index} · member {member} · epoch {x:g} · loss {compact(y)}" for x, y in points),
        )
        for index, member, points in curves
    ]
    best = min(y for _, y in series[-1].points)
    rows: list[tuple[Cell, ...]] = [(index, member, x, y) for index, member, points in curves for x, y in points]
    return Figure(
        id=f"{arm.name}-training",
        title="Training",
        drawing=line_chart(
            series,
            title="Validation loss while training, by epoch",
            description=f"The last round's lowest loss is {compact(best)}.",
            x_label="epoch",
            y_label="validation loss ↓",
            whole_x=True,
            size=(1090, 280),
        ),
        table=Table(columns=("round", "member", "epoch", "validation loss"), rows=tuple(rows)),
        note="One line a member and round, of the restart that was kept; the last round is drawn strongest.",
        wide=True,
    )


def _curves(
    ledger: Ledger, artifacts: Artifacts, name: str, index: int
) -> list[tuple[int, tuple[tuple[float, float], ...]]]:
    """(member, points) of the restart whose checkpoint each member kept."""
    stored = ledger.artifacts(name, index)
    found = []
    for key in sorted(key for key in stored if key.startswith("member/")):
        member = int(key.split("/")[1])
        kept = [
            one.removeprefix("checkpoint/")
            for one, ref in sorted(stored.items())
            if one.startswith(f"checkpoint/{member}/") and ref == stored[key]
        ]
        history = stored.get(f"history/{kept[0]}") if kept else None
        table = artifacts.get_table(history) if history else {}
        if "epoch" in table and "val_loss" in table:
            seen = np.isfinite(table["val_loss"])
            pairs = zip(table["epoch"][seen].tolist(), table["val_loss"][seen].tolist(), strict=True)
            found.append((member, tuple(pairs)))
    return found
