"""The page of the campaign on LIDC: curves, their means over rounds, and differences from random seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from alframe.ports import Ledger
from benchmarks.results import markdown

__all__ = ["write_page"]

SHOWN = {
    "rater_dice": ("Dice against each rater ↑", 3),
    "ged": ("GED² ↓", 3),
    "rater_nll": ("NLL of the raters' masks ↓", 4),
}
TITLES = {
    "random": "random images, 4 raters each",
    "bald": "BALD, 4 raters each",
    "discounted": "epistemic minus rater variance, 4 raters each",
    "opinions": "BALD, 1 rater, more where it is close",
}
COLOURS = {"random": "#7a7f87", "bald": "#0b6bcb", "discounted": "#c2410c", "opinions": "#15803d"}
TEXT = Path(__file__).with_name("results_lidc_campaign.md")
WIDTH, HEIGHT, LEFT, BELOW = 320, 200, 46, 34
Curve = dict[int, float]


def write_page(target: Path, ledger: Ledger, names: Mapping[str, Sequence[str]], *, samples: int) -> None:
    """Write the page and, beside it, its figure."""
    curves = {
        metric: {arm: [_curve(ledger, name, metric) for name in campaigns] for arm, campaigns in names.items()}
        for metric in SHOWN
    }
    figure = target.with_suffix(".svg")
    figure.write_text(_figure(curves), encoding="utf-8")
    parts = [f"![Three measures by round, mean over seeds]({figure.name})"]
    parts += [f"### {SHOWN[metric][0]}\n\n{_table(metric, arms)}" for metric, arms in curves.items()]
    seeds = len(next(iter(names.values())))
    text = TEXT.read_text(encoding="utf-8").replace("{tables}", "\n\n".join(parts))
    target.write_text(text.replace("{seeds}", str(seeds)).replace("{samples}", str(samples)), encoding="utf-8")


def _curve(ledger: Ledger, name: str, metric: str) -> Curve:
    """The pooled value on the test images by round."""
    return {
        index: one.value
        for index, one in ledger.metrics(name)
        if (one.name, one.scope, one.label, one.statistic) == (metric, "test", "", "pooled") and one.value is not None
    }


def _table(metric: str, arms: Mapping[str, Sequence[Curve]]) -> str:
    digits = SHOWN[metric][1]
    rounds = sorted({index for curves in arms.values() for curve in curves for index in curve})
    lines = []
    for arm, curves in arms.items():
        cells = [_spread([curve[index] for curve in curves if index in curve], digits) for index in rounds]
        means = [statistics.mean(curve.values()) for curve in curves]
        base = [statistics.mean(curve.values()) for curve in arms.get("random", ())]
        apart = [f"{mine - other:+.{digits}f}" for mine, other in zip(means, base, strict=False)]
        lines.append([TITLES[arm], *cells, _spread(means, digits), "–" if arm == "random" else " / ".join(apart)])
    header = ["arm", *(f"round {index}" for index in rounds), "all rounds", "against random, by seed"]
    return markdown(header, lines)


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "–"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def _figure(curves: Mapping[str, Mapping[str, Sequence[Curve]]]) -> str:
    """The means over seeds as lines, one panel a measure; faint lines are the seeds."""
    panels = [_panel(metric, arms, k * (WIDTH + 20)) for k, (metric, arms) in enumerate(curves.items())]
    legend = []
    for k, arm in enumerate(next(iter(curves.values()))):
        x, y = 10 + 480 * (k % 2), HEIGHT + 30 + 20 * (k // 2)
        legend.append(f'<rect x="{x}" y="{y - 9}" width="14" height="4" fill="{COLOURS[arm]}"/>')
        legend.append(f'<text x="{x + 20}" y="{y}">{TITLES[arm]}</text>')
    size = f'width="{3 * (WIDTH + 20)}" height="{HEIGHT + 66}"'
    style = '<style>text{font:12px sans-serif;fill:#333}</style><rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(panels + legend)}</svg>\n'


def _panel(metric: str, arms: Mapping[str, Sequence[Curve]], left: int) -> str:
    values = [value for curves in arms.values() for curve in curves for value in curve.values()]
    rounds = sorted({index for curves in arms.values() for curve in curves for index in curve})
    low, high = min(values), max(values)

    def place(index: int, value: float) -> str:
        x = left + LEFT + (WIDTH - LEFT - 10) * (index - rounds[0]) / max(1, rounds[-1] - rounds[0])
        y = 24 + (HEIGHT - 24 - BELOW) * (high - value) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    title, digits = SHOWN[metric]
    drawn = [f'<text x="{left + LEFT}" y="14">{title}</text>']
    for value in (low, high):
        drawn.append(f'<text x="{left + 4}" y="{place(0, value).split(",")[1]}">{value:.{digits - 1}f}</text>')
    for index in rounds:
        x = place(index, low).split(",")[0]
        drawn.append(f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="middle">{index}</text>')
    for arm, curves in arms.items():
        mean = {index: statistics.mean(curve[index] for curve in curves if index in curve) for index in rounds}
        for curve, look in [*((curve, 'stroke-opacity="0.25"') for curve in curves), (mean, 'stroke-width="2.5"')]:
            points = " ".join(place(index, value) for index, value in sorted(curve.items()))
            drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[arm]}" {look}/>')
    return "".join(drawn)
