"""Real data, from one command: train on everything, run the campaign of an example, write the results page.

``python -m benchmarks.results glas`` and ``python -m benchmarks.results hippocampus`` read ``examples/*.yaml``; the data is
looked for below ``ALFRAME_DATA`` (default ``examples/data``). What is done already is not repeated: a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from alframe import compose, config
from alframe.config import Config
from alframe.ports import Ledger
from alframe.types import Phase, Split

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "glas": ["dice", "object_f1", "object_dice", "object_hausdorff", "nll", "ece", "brier", "brier_reliability"],
    "hippocampus": ["dice", "jaccard", "nll", "ece", "classwise_ece", "brier", "brier_reliability"],
}
TITLES = {
    "annotated_fraction": "annotated %",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "object_f1": "F1",
    "object_dice": "object Dice",
    "object_hausdorff": "object Hausdorff",
    "nll": "NLL",
    "ece": "ECE",
    "classwise_ece": "class-wise ECE",
    "brier": "Brier",
    "brier_reliability": "Brier reliability",
}


def variants(name: str) -> dict[str, Config]:
    """The campaign of the example, the same with random regions, and training on all training and validation images."""
    campaign = config.load(ROOT / "examples" / f"{name}.yaml")
    text = config.to_yaml(campaign)

    def variant(suffix: str, **changes: object) -> Config:
        values = config.resolved(config.loads(text, folder=campaign.folder)) | changes
        return config.loads(json.dumps(values | {"name": f"{name}-{suffix}"}), folder=campaign.folder)

    data = config.resolved(campaign)["data"]
    splits = data["splits"] | {"validation": 0.0, "train": data["splits"]["train"] + data["splits"]["val"], "val": 0.0}
    window = config.resolved(campaign)["strategy"]
    return {
        "full": variant(
            "full",
            data=data | {"splits": splits},
            pool="pool-full.zarr",
            initial={"queries": 100_000},
            budget={"fraction": 1.0},
        ),
        "campaign": campaign,
        "random": variant(
            "random", strategy={"type": "random", "window": window["window"], "stride": window["stride"]}
        ),
    }


def table(ledger: Ledger, name: str, columns: Sequence[str]) -> list[list[str]]:
    """One row a round that has a model: annotated share, then pooled test metrics."""
    values = {
        (t, metric.scope, metric.name): metric.value
        for t, metric in ledger.metrics(name)
        if metric.label == "" and metric.statistic == "pooled"
    }
    rows = []
    for record in ledger.rounds(name):
        if record.phase is Phase.DONE and (record.index, "test", "dice") in values:
            share = values[record.index, "campaign", "annotated_fraction"] or 0.0
            found = [values.get((record.index, "test", column)) for column in columns]
            rows.append([str(record.index), f"{100 * share:.2f}", *("–" if v is None else f"{v:.4f}" for v in found)])
    return rows


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table."""
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def minutes(ledger: Ledger, name: str, phase: Phase) -> float:
    """Minutes that a phase took over all rounds."""
    return sum(seconds for _, reached, seconds in ledger.seconds(name) if reached is phase) / 60


def run(name: str, arms: Sequence[str]) -> None:
    """Run what is missing and write the page."""
    chosen = {arm: one for arm, one in variants(name).items() if arm in arms}
    ledger = compose.open_ledger(next(iter(chosen.values())))
    for arm, one in chosen.items():
        compose.ingest(one)
        began = time.monotonic()
        with compose.open_campaign(one) as campaign:
            standing = campaign.run()
        print(f"{arm}: {standing.status}, {standing.reason} ({(time.monotonic() - began) / 60:.1f} min)", flush=True)
        for row in table(ledger, one.name, COLUMNS[name]):
            print("  ", *row, flush=True)
    page(name, chosen, ledger)


def page(name: str, chosen: dict[str, Config], ledger: Ledger) -> None:
    """Write docs/results/NAME.md from the ledger."""
    header = ["round", *(TITLES[column] for column in ["annotated_fraction", *COLUMNS[name]])]
    parts = [(ROOT / "benchmarks" / f"results_{name}.md").read_text().strip()]
    titles = {
        "full": "## All training images",
        "campaign": "## The campaign: regions by uncertainty",
        "random": "## The control: random regions",
    }
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}"
    for arm, one in chosen.items():
        pool = compose.open_pool(one)
        counts = ", ".join(f"{len(pool.items(split))} {split.value}" for split in Split)
        parts += [
            titles[arm],
            f"Campaign `{one.name}`, pool of {counts}; training took {minutes(ledger, one.name, Phase.TRAINED):.1f} min, "
            f"scoring {minutes(ledger, one.name, Phase.SCORED):.1f} min and measuring "
            f"{minutes(ledger, one.name, Phase.CALIBRATED):.1f} min ({machine}).",
            markdown(header, table(ledger, one.name, COLUMNS[name])),
        ]
    target = ROOT / "docs" / "results" / f"{name}.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n\n".join(parts) + "\n")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=COLUMNS)
    parser.add_argument("--arms", nargs="+", default=["full", "campaign", "random"])
    given = parser.parse_args()
    run(given.name, given.arms)
