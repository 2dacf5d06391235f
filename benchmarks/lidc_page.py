"""docs/results/lidc.md from the numbers of every row and seed; what the numbers mean stands in results_lidc.md."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.lidc_claims import codes, logits, verdicts
from benchmarks.lidc_rows import Row
from benchmarks.results import markdown

__all__ = ["write_page"]

TEXT = Path(__file__).with_name("results_lidc.md")
FIRST = {
    "dice": ("Dice ↑", 3),
    "ged2": ("GED² ↓", 3),
    "within": ("between samples", 3),
    "ncc": ("NCC ↑", 3),
    "nll": ("NLL ↓", 4),
    "brier": ("Brier ↓", 4),
    "ece": ("ECE ↓", 4),
}
SECOND = {
    "image_votes": ("image r, votes ↑", 2),
    "image_pearson": ("image r, Dice ↑", 2),
    "image_spearman": ("image ρ, Dice ↑", 2),
    "image_partial": ("image r, area given ↑", 2),
    "pixel": ("pixel r ↑", 3),
    "epistemic_share": ("epistemic / total", 3),
}


def write_page(target: Path, table: Mapping[str, Row], folder: Path, seeds: Sequence[int]) -> None:
    """The tables of all rows that have numbers, in the places of their names in braces in the text."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for name in table:
        paths = [path for seed in seeds if (path := folder / f"{name}-{seed}.json").exists()]
        if paths:
            found[name] = [json.loads(path.read_text()) for path in paths]
    cost = [
        [
            table[name].title,
            table[name].passes,
            f"{statistics.mean(one['ms'] for one in numbers):.0f}",
            f"{numbers[0]['parameters'] / 1000:,.0f}",
            f"{statistics.mean(one['train_cpu'] for one in numbers):.0f}",
            str(len(numbers)),
        ]
        for name, numbers in found.items()
    ]
    header = ["row", "passes", "ms an image", "parameters, 1000", "training, s of CPU", "seeds"]
    methods = [[row.title, row.network, row.loss] for name, row in table.items() if name in found]
    tables = "\n\n".join([_table(table, found, FIRST), _table(table, found, SECOND), markdown(header, cost)])
    text = (
        TEXT.read_text().replace("{tables}", tables).replace("{methods}", markdown(["row", "network", "loss"], methods))
    )
    text = text.replace("{verdicts}", verdicts(found)).replace("{logits}", logits(found))
    text = text.replace("{codes}", codes(folder.parent / "codes.json"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    print(f"wrote {target}")


def _table(
    table: Mapping[str, Row],
    found: Mapping[str, Sequence[Mapping[str, float]]],
    columns: Mapping[str, tuple[str, int]],
) -> str:
    lines = [
        [table[name].title, *(_cell([one[key] for one in numbers], digits) for key, (_, digits) in columns.items())]
        for name, numbers in found.items()
    ]
    return markdown(["row", *(title for title, _ in columns.values())], lines)


def _cell(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation over seeds."""
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return "–"
    text = f"{statistics.mean(defined):.{digits}f}"
    return text if len(defined) < 2 else f"{text} ± {statistics.stdev(defined):.{digits}f}"
