"""What a section of the page is made of: figures with their data table, plain tables, and how cells are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alframe.report.charts import Series, line_chart, swatch
from alframe.report.reading import Arm
from alframe.report.svg import compact

__all__ = ["Cell", "Figure", "Key", "Table", "arm_series", "arm_table", "curve", "written"]

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows; numbers stay numbers, so that the copied CSV has all their digits."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold no words (and are set flush right)."""
        return tuple(not any(isinstance(row[column], str) for row in self.rows) for column in range(len(self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend."""

    name: str
    drawing: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing with its title, a sentence on how to read it, a legend, and the numbers behind it."""

    id: str
    title: str
    drawing: Markup
    table: Table
    note: str = ""
    keys: tuple[Key, ...] = ()
    wide: bool = False


def written(cell: Cell) -> str:
    """A cell as the page shows it."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return compact(cell)
    return f"{cell:,}" if isinstance(cell, int) else cell


def arm_series(arm: Arm, position: int, name: str, *, band: bool, statistic: str = "pooled") -> Series:
    """The learning curve of one campaign: a test metric against the share of pixels its model was trained on."""
    share, values = arm.trained_share(), arm.series(name, statistic=statistic)
    low, high = arm.series(name, statistic="p10"), arm.series(name, statistic="p90")
    rounds = [index for index in values if index in share]
    tips = (
        f"{arm.name} · round {index} · {compact(share[index])} % annotated · {name.replace('_', ' ')} {compact(values[index])}"
        for index in rounds
    )
    return Series(
        name=arm.name,
        style=f"s{position % 8}",
        shape=position,
        points=tuple((share[index], values[index]) for index in rounds),
        tips=tuple(tips),
        band=tuple((share[i], low[i], high[i]) for i in rounds if i in low and i in high) if band else (),
    )


def curve(
    arms: Sequence[Arm],
    metric: str,
    *,
    title: str,
    y_label: str,
    note: str,
    ceiling: float,
    size: tuple[float, float],
) -> Figure | None:
    """A learning curve with all campaigns, or None when nobody recorded the metric."""
    series = [arm_series(arm, position, metric, band=len(arms) == 1) for position, arm in enumerate(arms)]
    series = [one for one in series if one.points]
    if not series:
        return None
    last = "; ".join(
        f"{one.name} ends at {compact(one.points[-1][1])} with {compact(one.points[-1][0])} %" for one in series
    )
    drawing = line_chart(
        series,
        title=title,
        description=f"{last} of the training pixels annotated.",
        x_label="annotated training pixels (%)",
        y_label=y_label,
        limits=(0.0, ceiling),
        size=size,
    )
    keys = tuple(Key(name=one.name, drawing=swatch(one.style, one.shape)) for one in series) if len(arms) > 1 else ()
    return Figure(
        id=f"learning-{metric}", title=title, drawing=drawing, table=arm_table(arms, metric), note=note, keys=keys
    )


def arm_table(arms: Sequence[Arm], metric: str) -> Table:
    """The numbers of a learning curve, one row per campaign and round."""
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        share = arm.trained_share()
        rows += [(arm.name, index, share.get(index), value) for index, value in arm.series(metric).items()]
    return Table(columns=("campaign", "round", "annotated %", metric), rows=tuple(rows))
