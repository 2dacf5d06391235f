"""A campaign on lung nodules with four raters: BALD, the discounted epistemic variance, and random images.

``python -m benchmarks.lidc_campaign`` reads the crops below ``ALFRAME_DATA/lidc``, runs every arm with every seed from one set of
first images, and writes docs/results/lidc-campaign.md with its curves. What is done already is not repeated. Images, network and
training are those of "Hu et al." in the table of :mod:`benchmarks.lidc`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from alframe import compose, config
from alframe.config import Config
from benchmarks.lidc_campaign_page import write_page
from benchmarks.lidc_data import crop

ROOT = Path(__file__).parents[1]
CAMPAIGN = """
name: {name}
seed: {seed}
workdir: {root}
data:
  root: {root}/crops
  manifest: index.csv
  images: images/{{name}}.png
  masks:
    rater0: rater0/{{name}}.png
    rater1: rater1/{{name}}.png
    rater2: rater2/{{name}}.png
    rater3: rater3/{{name}}.png
  classes: [background, nodule]
  values: {{0: background, 255: nodule}}
  groups: patient
learner:
  type: probabilistic_unet
  network: {{features: [8, 16, 32, 48]}}
  kl_weight: 0.1
  rater_weight: 0.1
  draws: 8
  latents: 8
  training:
    steps: {steps}
    batch_size: 8
    patch: [32, 32]
    learning_rate: 0.006
    schedule: one_cycle
    validate_every: {validate_every}
strategy: {strategy}
initial: {{queries: {initial}}}
batch: {batch}
replicas: {replicas}
raters: {raters}
oracle: {{type: simulated, rater: random}}
budget: {{rounds: {rounds}}}
metrics: {{samples: {samples}}}
evaluate: {{pool: false}}
runtime: {{threads: 1, device: cpu}}
"""

ALL = {"replicas": 4, "raters": "{}", "initial": 8, "batch": 8}
ONE_BY_ONE = {
    "replicas": 1,
    "raters": "{first: random, then: need, again: 12, most: 4}",
    "initial": 32,
    "batch": 32,
}
ARMS = {
    "random": ("{type: random}", ALL),
    "bald": ("{type: uncertainty, measure: bald}", ALL),
    "discounted": ("{type: uncertainty, measure: epistemic_discounted}", ALL),
    "opinions": ("{type: uncertainty, measure: bald}", ONE_BY_ONE),
}
"""Strategy, and how many raters are asked about how many images: 32 answers a round in every arm."""


def campaign(arm: str, seed: int, root: Path, *, quick: bool) -> Config:
    """The configuration of one arm with one seed."""
    strategy, asked = ARMS[arm]
    size = {"steps": 20, "validate_every": 20, "rounds": 1, "samples": 4} if quick else {}
    size = {"steps": 300, "validate_every": 100, "rounds": 5, "samples": 16} | size
    text = CAMPAIGN.format(name=f"{arm}-{seed}", seed=seed, root=root, strategy=strategy, **asked, **size)
    return config.loads(text, folder=root)


def run(arm: str, seed: int, root: Path, *, quick: bool) -> Config:
    """Run one campaign to its end, or go on with it."""
    chosen, began = campaign(arm, seed, root, quick=quick), time.process_time()
    with compose.open_campaign(chosen) as opened:
        standing = opened.run()
    print(
        f"{chosen.name}: {standing.status}, {standing.reason} ({time.process_time() - began:.0f} s of CPU)", flush=True
    )
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "lidc-campaign")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it run at all?")
    given = parser.parse_args(arguments)
    root = given.folder.resolve() / ("quick" if given.quick else "full")
    root.mkdir(parents=True, exist_ok=True)
    crop(root)
    first = campaign(given.arms[0], given.seeds[0], root, quick=given.quick)
    compose.ingest(first)
    for seed in given.seeds:
        for arm in given.arms:
            run(arm, seed, root, quick=given.quick)
    target = root / "lidc-campaign.md" if given.quick else ROOT / "docs" / "results" / "lidc-campaign.md"
    names = {arm: [campaign(arm, seed, root, quick=given.quick).name for seed in given.seeds] for arm in given.arms}
    with compose.open_ledger(first) as ledger:
        write_page(target, ledger, names, samples=first.metrics.samples)
    print(f"wrote {os.path.relpath(target)}")


if __name__ == "__main__":
    main()
