"""The kinds of chart the report draws: lines, reliability diagram, stacked and signed bars, dumbbells, strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alframe.report.svg import Plot, compact, marker, num, polyline, span, tag, text
from alframe.types import Bin

__all__ = [
    "Series",
    "Stack",
    "block",
    "dumbbells",
    "line_chart",
    "reliability_diagram",
    "signed_bars",
    "stacked_bars",
    "strips",
    "swatch",
]


WIDE = 1090.0
"""User units across the page: one unit is one CSS pixel on a desktop screen, so that text has its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: `points` (x, y) in order, a tip per point, `style` the class that colours it, `shape` its marker.

    `band` holds (x, low, high), drawn as a pale area below the line.
    """

    name: str
    style: str
    shape: int
    points: tuple[tuple[float, float], ...]
    tips: tuple[str, ...]
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One horizontal bar: its name and (style, part name, length) in order."""

    name: str
    parts: tuple[tuple[str, str, float], ...]


def swatch(style: str, shape: int) -> Markup:
    """The key of a line in a legend."""
    line = tag("path", d="M0 6H22", class_=f"line {style}")
    drawn = tag(
        "svg",
        line,
        marker(11, 6, shape, class_=f"mark {style}"),
        viewBox="0 0 22 12",
        class_="swatch",
        aria_hidden="true",
    )
    return Markup(drawn)


def block(style: str) -> Markup:
    """The key of a filled part in a legend."""
    drawn = tag("svg", _box(5, 0, 17, 12, f"part {style}"), viewBox="0 0 22 12", class_="swatch", aria_hidden="true")
    return Markup(drawn)


def _spread(levels: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least `gap`, keeping their order and staying inside ``[low, high]`` if they fit."""
    order = sorted(range(len(levels)), key=lambda index: levels[index])
    placed = [levels[index] for index in order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    ceiling = high
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = max(min(placed[index], ceiling), low + index * gap)
        ceiling = placed[index] - gap
    result = [0.0] * len(levels)
    for position, index in zip(placed, order, strict=True):
        result[index] = position
    return result


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    limits: tuple[float, float] = (0.0, float("inf")),
    whole_x: bool = False,
    end_labels: bool = False,
    size: tuple[float, float] = (330, 250),
) -> Markup:
    """Lines with markers, a pale band where a series has one, and the names at the lines' ends when asked."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + [v for one in series for _, *pair in one.band for v in pair]
    right = 64 if end_labels else 14
    plot = Plot(
        *size, x=span(xs, padding=0.04), y=span(ys, floor=limits[0], ceiling=limits[1]), margins=(28, right, 40, 44)
    )
    plot.y_axis(y_label)
    plot.x_axis(x_label, whole=whole_x)
    for one in series:
        if len(one.band) > 1:
            outline = [(plot.sx(x), plot.sy(high)) for x, _, high in one.band]
            outline += [(plot.sx(x), plot.sy(low)) for x, low, _ in reversed(one.band)]
            plot.add(polyline(outline, class_=f"band {one.style}"))
    for one in series:
        placed = [(plot.sx(x), plot.sy(y)) for x, y in one.points]
        if len(placed) > 1:
            plot.add(polyline(placed, class_=f"line {one.style}"))
        for (x, y), tip in zip(placed, one.tips, strict=True):
            plot.add(marker(x, y, one.shape, class_=f"mark {one.style}", tip=tip))
    if end_labels:
        ended = [one for one in series if one.points]
        levels = [plot.sy(one.points[-1][1]) for one in ended]
        places = _spread(levels, 13, plot.margins[0], size[1] - plot.margins[2])
        for one, level in zip(ended, places, strict=True):
            plot.add(text(size[0] - right + 10, level + 3.5, one.name, class_=f"end {one.style}"))
    return plot.render(title, description)


def reliability_diagram(bins: Sequence[Bin], *, title: str, description: str, style: str) -> Markup:
    """Accuracy against confidence per bin, the gap to the diagonal, and below it the share of pixels in each bin."""
    width, height, strip = 250.0, 300.0, 44.0
    plot = Plot(width, height, x=(0.0, 1.0), y=(0.0, 1.0), margins=(26, 10, 46 + strip, 38))
    plot.y_axis("accuracy", count=5)
    base, floor = plot.sy(0.0), height - 42
    total = sum(one.count for one in bins) or 1.0
    tallest = max((one.count for one in bins), default=1.0) or 1.0
    for one in bins:
        if one.count <= 0:
            continue
        left, right = plot.sx(one.lower) + 0.8, plot.sx(one.upper) - 0.8
        accuracy, confidence = one.correct / one.count, one.confidence / one.count
        tip = (
            f"confidence {compact(confidence)} · accuracy {compact(accuracy)} · "
            f"{compact(100 * one.count / total)} % of pixels ({compact(one.count)})"
        )
        top, ideal = plot.sy(accuracy), plot.sy(confidence)
        plot.add(
            _box(left, top, right, base, f"column {style}"), _box(left, min(top, ideal), right, max(top, ideal), "gap")
        )
        share = (strip - 6) * one.count / tallest
        plot.add(_box(left, floor - share, right, floor, "share"))
        plot.add(marker(plot.sx(confidence), top, 0, class_=f"mark {style}", tip=tip, radius=2.6))
    plot.add(tag("path", d=f"M{num(plot.sx(0))} {num(base)}L{num(plot.sx(1))} {num(plot.sy(1))}", class_="ideal"))
    plot.add(tag("path", d=f"M{num(plot.sx(0))} {num(base)}H{num(plot.sx(1))}", class_="base"))
    plot.add(tag("path", d=f"M{num(plot.sx(0))} {num(floor)}H{num(plot.sx(1))}", class_="base"))
    plot.add(text(plot.margins[3] - 7, floor - 14, "pixels", anchor="end"))
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        plot.add(text(plot.sx(value), floor + 15, f"{value:g}", anchor="middle"))
    plot.add(text((plot.margins[3] + width - 10) / 2, height - 6, "confidence", class_="axis", anchor="middle"))
    return plot.render(title, description)


def _box(left: float, top: float, right: float, bottom: float, class_: str, tip: str = "") -> str:
    shape = f"M{num(left)} {num(top)}H{num(right)}V{num(bottom)}H{num(left)}z"
    if not tip:
        return tag("path", d=shape, class_=class_)
    return tag(
        "path", d=shape, class_=f"{class_} pt", data_tip=tip, data_x=(left + right) / 2, data_y=(top + bottom) / 2
    )


def stacked_bars(stacks: Sequence[Stack], *, title: str, description: str, x_label: str, unit: str) -> Markup:
    """Horizontal bars of parts laid end to end, one row per stack."""
    row, width = 26.0, WIDE
    longest = max((sum(length for *_, length in one.parts) for one in stacks), default=0.0) or 1.0
    height = row * len(stacks) + 52
    plot = Plot(width, height, x=(0.0, longest * 1.02), y=(0.0, 1.0), margins=(6, 14, 42, 76))
    plot.x_axis(x_label, count=8)
    for index, one in enumerate(stacks):
        top, at = 8 + index * row, 0.0
        plot.add(text(plot.margins[3] - 9, top + row / 2, one.name, anchor="end"))
        for style, name, length in one.parts:
            if length > 0:
                tip = f"{one.name} · {name}: {compact(length)} {unit}"
                left, right = plot.sx(at), plot.sx(at + length)
                plot.add(_box(left, top, max(right - 0.6, left + 0.4), top + row - 8, f"part {style}", tip))
            at += length
    return plot.render(title, description)


def signed_bars(
    stacks: Sequence[Stack], totals: Sequence[float | None], *, title: str, description: str, x_label: str, y_label: str
) -> Markup:
    """Vertical bars with parts above and below zero that add up to `totals`, which are marked."""
    highs = [sum(max(length, 0) for *_, length in one.parts) for one in stacks]
    lows = [sum(min(length, 0) for *_, length in one.parts) for one in stacks]
    plot = Plot(WIDE, 300, x=(-0.6, len(stacks) - 0.4), y=span([0.0, *highs, *lows]), margins=(28, 14, 40, 50))
    plot.y_axis(y_label, count=5)
    half = min(30.0, 0.32 * (plot.sx(1) - plot.sx(0)))
    for index, (one, total) in enumerate(zip(stacks, totals, strict=True)):
        centre, up, down = plot.sx(index), 0.0, 0.0
        for style, name, length in one.parts:
            start, stop = (up, up + length) if length >= 0 else (down + length, down)
            up, down = (stop, down) if length >= 0 else (up, start)
            tip = f"{one.name} · {name}: {length:+.4f}"
            if length:
                plot.add(_box(centre - half, plot.sy(stop), centre + half, plot.sy(start), f"part {style}", tip))
        if total is not None:
            plot.add(
                marker(
                    centre,
                    plot.sy(total),
                    3,
                    class_="mark total",
                    tip=f"{one.name} · Brier score: {total:.4f}",
                    radius=4.2,
                )
            )
        plot.add(text(centre, plot.height - 25, one.name.removeprefix("round "), anchor="middle"))
    zero = plot.sy(0.0)
    plot.add(tag("path", d=f"M{num(plot.margins[3])} {num(zero)}H{num(plot.width - 14)}", class_="base"))
    plot.add(text(plot.width / 2, plot.height - 6, x_label, class_="axis", anchor="middle"))
    return plot.render(title, description)


def dumbbells(
    rows: Sequence[tuple[str, float, float]],
    *,
    ends: tuple[str, str],
    styles: tuple[str, str],
    title: str,
    description: str,
    x_label: str,
) -> Markup:
    """Two values per row joined by a bar: how far apart `ends` are."""
    row = 24.0
    values = [value for _, first, second in rows for value in (first, second)]
    plot = Plot(330, row * len(rows) + 56, x=span(values, floor=0.0), y=(0, 1), margins=(10, 16, 42, 64))
    plot.x_axis(x_label)
    for index, (name, first, second) in enumerate(rows):
        level = 20 + index * row
        plot.add(tag("path", d=f"M{num(plot.margins[3])} {num(level)}H{num(plot.width - 16)}", class_="rule"))
        plot.add(text(plot.margins[3] - 9, level + 3.5, name, anchor="end"))
        plot.add(tag("path", d=f"M{num(plot.sx(first))} {num(level)}H{num(plot.sx(second))}", class_="bond"))
        for shape, (end, style, value) in enumerate(zip(ends, styles, (first, second), strict=True)):
            tip = f"{name} · {end}: {compact(value)} (gap {second - first:+.4f})"
            plot.add(marker(plot.sx(value), level, shape, class_=f"mark {style}", tip=tip, radius=4.4))
    return plot.render(title, description)


def strips(
    columns: Sequence[tuple[int, Sequence[tuple[float, str]]]],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    style: str,
) -> Markup:
    """One column of dots per round: (value, tip) pairs, spread sideways by their rank so that equal values stay visible."""
    values = [value for _, column in columns for value, _ in column]
    rounds = [index for index, _ in columns]
    plot = Plot(WIDE, 260, x=(min(rounds) - 0.6, max(rounds) + 0.6), y=span(values), margins=(28, 14, 40, 50))
    plot.y_axis(y_label)
    plot.x_axis(x_label, count=min(12, len(rounds)), whole=True)
    for index, column in columns:
        for position, (value, tip) in enumerate(column):
            shift = ((position * 0.618) % 1.0 - 0.5) * 0.5
            plot.add(marker(plot.sx(index + shift), plot.sy(value), 0, class_=f"dot {style}", tip=tip, radius=3.6))
    return plot.render(title, description)
