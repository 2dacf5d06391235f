"""LIDC for the table: centre crops as a pool in Zarr with four raters, and every rater's mask as a label."""

from __future__ import annotations

import csv
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from alframe import compose, config
from alframe.config import Config
from alframe.jobs import fused_truth
from alframe.ports import Pool
from alframe.testing.contracts.learner import MemoryLabels
from alframe.types import Split
from benchmarks.learners_data import folder

__all__ = ["SHRINK", "SIDE", "all_raters", "pool_of"]

SIDE, SHRINK = 64, 2
"""The middle of an image that is used, and how many pixels become one along each axis."""
FOLDERS = ("images", "rater0", "rater1", "rater2", "rater3")
CAMPAIGN = """
name: lidc-table
workdir: {root}/campaign
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
learner: {{type: probabilistic_unet}}
strategy: {{type: random}}
oracle: {{type: simulated}}
batch: 1
budget: {{rounds: 1}}
"""


def crop(root: Path) -> None:
    """Write the middle of every image and mask, shrunk, below `root`/crops, unless that was done.

    Pixels of an image are averaged; a mask keeps a pixel when half of those that it stands for were marked.
    """
    target, source = root / "crops", folder("lidc")
    if (target / "index.csv").exists():
        return
    with (source / "index.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    for part in FOLDERS:
        (target / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            image = imageio.imread(source / part / f"{name}.png")
            y, x = ((side - SIDE) // 2 for side in image.shape)
            blocks = image[y : y + SIDE, x : x + SIDE].reshape(SIDE // SHRINK, SHRINK, SIDE // SHRINK, SHRINK)
            mean = blocks.mean(axis=(1, 3))
            small = np.rint(mean) if part == "images" else 255 * (mean >= 127.5)
            imageio.imwrite(target / part / f"{name}.png", small.astype(np.uint8))
    (target / "index.csv").write_bytes((source / "index.csv").read_bytes())


def pool_of(root: Path) -> Pool:
    """The pool, ingested once below `root`."""
    crop(root)
    settings: Config = config.loads(CAMPAIGN.format(root=root), folder=root)
    return compose.ingest(settings)


def all_raters(pool: Pool) -> MemoryLabels:
    """What all raters said of all training items: whole masks, an empty one where a rater marked nothing."""
    training = pool.items(Split.TRAIN)
    return MemoryLabels(
        maps={info.id: fused_truth(pool, info.id) for info in training},
        raters={info.id: {rater: pool.truth(info.id, rater) for rater in info.raters} for info in training},
    )
