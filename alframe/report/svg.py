"""A small SVG writer: escaped elements, linear scales, round ticks, and a frame with axes for one plot.

Colours come from the page's style sheet through classes only, so that a figure follows the light, dark and print themes and
needs no inline style (the page's content security policy forbids those). Lengths are SVG user units, y points down.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

__all__ = ["Plot", "Scale", "compact", "marker", "num", "polyline", "span", "tag", "text", "ticks"]

Number = int | float


def num(value: float) -> str:
    """A coordinate with at most one decimal."""
    short = f"{value:.1f}"
    return short[:-2] if short.endswith(".0") else short


def tag(name: str, *children: str, **attributes: Number | str) -> str:
    """An element; `attributes` are escaped, ``class_`` becomes ``class`` and ``_`` a hyphen. Children are SVG already."""
    parts = [name]
    for key, value in attributes.items():
        written = num(value) if isinstance(value, (int, float)) else html.escape(value, quote=True)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{written}"')
    opened = " ".join(parts)
    return f"<{opened}>{''.join(children)}</{name}>" if children else f"<{opened}/>"


def text(x: float, y: float, content: str, *, class_: str = "tick", anchor: str = "start") -> str:
    """Escaped text at a baseline."""
    return tag("text", html.escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def compact(value: float) -> str:
    """A number as people write it in a chart: ``0.873``, ``12.4``, ``1,250``, ``3.2 M``; undefined for NaN."""
    size = abs(value)
    if size >= 1e9:
        return f"{value / 1e9:.2f} G"
    if size >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value == int(value) and size >= 1:
        return f"{int(value):,}"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    if size == 0:
        return "0"
    return f"{value:.3f}" if size >= 0.01 else f"{value:.2g}"


def span(
    values: Iterable[float], *, padding: float = 0.06, floor: float = -math.inf, ceiling: float = math.inf
) -> tuple[float, float]:
    """The domain that shows all `values` with some air, cut at `floor` and `ceiling`; (0, 1) when there are none."""
    found = [float(value) for value in values]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    air = (high - low) * padding or max(abs(high) * 0.1, 1e-3)
    return max(floor, low - air), min(ceiling, high + air)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values (steps of 1, 2, 2.5 or 5 times a power of ten) inside ``[low, high]``."""
    if not high > low:
        return [low]
    extent = high - low
    power = 10.0 ** math.floor(math.log10(extent / max(count, 1)))
    steps = [power * nice for nice in (1, 2, 2.5, 5, 10)]
    step = min(steps, key=lambda one: abs(math.log(extent / one / max(count, 1))))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Labels with as many decimals as the step needs, the same for all."""
    if len(values) < 2:
        return [compact(value) for value in values]
    step = abs(values[1] - values[0])
    if step >= 1000:
        return [compact(value) for value in values]
    decimals = next((n for n in range(7) if abs(round(step, n) - step) < step * 1e-6), 6)
    return [f"{value:,.{decimals}f}".replace("-", "−") for value in values]


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to user units."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        extent = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / extent * (self.stop - self.start)


def polyline(points: Sequence[tuple[float, float]], *, class_: str) -> str:
    """An open path through `points`."""
    steps = " ".join(f"{'ML'[index > 0]}{num(x)} {num(y)}" for index, (x, y) in enumerate(points))
    return tag("path", d=steps, class_=class_)


_SHAPES: tuple[Callable[[float, float, float], str], ...] = (
    lambda x, y, r: (
        f"M{num(x - r)} {num(y)}a{num(r)} {num(r)} 0 1 0 {num(2 * r)} 0a{num(r)} {num(r)} 0 1 0 {num(-2 * r)} 0z"
    ),
    lambda x, y, r: f"M{num(x - r * 0.9)} {num(y - r * 0.9)}h{num(r * 1.8)}v{num(r * 1.8)}h{num(-r * 1.8)}z",
    lambda x, y, r: f"M{num(x)} {num(y - r * 1.25)}l{num(r * 1.2)} {num(r * 2.1)}h{num(-r * 2.4)}z",
    lambda x, y, r: (
        f"M{num(x)} {num(y - r * 1.3)}L{num(x + r * 1.3)} {num(y)}L{num(x)} {num(y + r * 1.3)}L{num(x - r * 1.3)} {num(y)}z"
    ),
)


def marker(x: float, y: float, shape: int, *, class_: str, tip: str = "", radius: float = 3.4) -> str:
    """A point: circle, square, triangle or diamond by `shape`; `tip` is what the page shows on hover."""
    path = _SHAPES[shape % len(_SHAPES)](x, y, radius)
    if not tip:
        return tag("path", d=path, class_=class_)
    return tag("path", d=path, class_=f"{class_} pt", data_tip=tip, data_x=x, data_y=y)


@dataclass(slots=True)
class Plot:
    """The frame of one chart: size, margins (top, right, bottom, left), scales and the parts drawn so far."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    margins: tuple[float, float, float, float] = (26, 14, 40, 44)
    parts: list[str] = field(default_factory=list)

    @property
    def sx(self) -> Scale:
        """From data x to user x."""
        return Scale(*self.x, self.margins[3], self.width - self.margins[1])

    @property
    def sy(self) -> Scale:
        """From data y to user y (up is more)."""
        return Scale(*self.y, self.height - self.margins[2], self.margins[0])

    def add(self, *parts: str) -> None:
        """Draw on top of what is there."""
        self.parts.extend(parts)

    def y_axis(self, label: str, *, count: int = 4) -> None:
        """Hairlines, tick labels, and the axis label above them (read without turning one's head)."""
        left, right = self.margins[3], self.width - self.margins[1]
        values = ticks(*self.y, count)
        for value, words in zip(values, tick_texts(values), strict=True):
            level = self.sy(value)
            self.add(tag("path", d=f"M{num(left)} {num(level)}H{num(right)}", class_="rule"))
            self.add(text(left - 7, level + 3.5, words, anchor="end"))
        self.add(text(0, 11, label, class_="axis"))

    def x_axis(self, label: str, *, count: int = 5, whole: bool = False) -> None:
        """Base line, tick labels (whole numbers only when asked) and the axis label below."""
        base, left, right = self.height - self.margins[2], self.margins[3], self.width - self.margins[1]
        values = ticks(*self.x, count)
        if whole:
            first, last = math.ceil(self.x[0]), math.floor(self.x[1])
            values = [float(value) for value in range(first, last + 1, max(1, -(-(last - first) // 10)))]
        self.add(tag("path", d=f"M{num(left)} {num(base)}H{num(right)}", class_="base"))
        words = [str(int(value)) for value in values] if whole else tick_texts(values)
        for value, word in zip(values, words, strict=True):
            self.add(text(self.sx(value), base + 15, word, anchor="middle"))
        self.add(text((left + right) / 2, self.height - 6, label, class_="axis", anchor="middle"))

    def render(self, title: str, description: str) -> Markup:
        """The finished ``<svg>``; `title` and `description` are its text alternative."""
        return Markup(
            tag(
                "svg",
                *self.parts,
                viewBox=f"0 0 {num(self.width)} {num(self.height)}",
                role="img",
                class_="chart",
                aria_label=f"{title}. {description}",
            )
        )
