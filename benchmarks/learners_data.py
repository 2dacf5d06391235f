"""The real data sets as pools in memory, for the learners' benchmarks. `ALFRAME_DATA` names the folder that holds them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import imageio.v3 as imageio
import nibabel
import numpy as np

from alframe.ports import PoolItem
from alframe.testing.contracts.learner import MemoryLabels
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import LabelMap, Split

HERE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder of one data set; ends the program when it is absent."""
    path = Path(os.environ.get("ALFRAME_DATA", HERE.parent / "shared" / "data")) / name
    if not path.is_dir():
        raise SystemExit(f"no data at {path}: set ALFRAME_DATA to the folder that holds {name}")
    return path


def glas(validation_patients: int = 3) -> MemoryPool:
    """GlaS with object numbers; training patients whose number comes last in a fixed shuffle are for validation."""
    root = folder("glas")
    rows = list(csv.DictReader((root / "index.csv").open()))
    patients = sorted({row["patient"] for row in rows if row["split"] == "train"}, key=int)
    held = set(np.random.default_rng(7).permutation(patients)[:validation_patients])
    items: list[PoolItem] = []
    for row in rows:
        image = np.moveaxis(imageio.imread(root / "images" / f"{row['name']}.png")[..., :3], -1, 0).copy()
        objects = imageio.imread(root / "masks" / f"{row['name']}.png").astype(np.int32)
        truth = LabelMap(classes=(objects > 0).astype(np.uint8), instances=objects)
        split = Split.TEST if row["split"] != "train" else Split.TRAIN
        if split is Split.TRAIN and row["patient"] in held:
            split = Split.VALIDATION
        items.append(pool_item(row["name"], image, {"one": truth}, split=split, group=row["patient"]))
    return MemoryPool(items, classes=("background", "gland"))


def hippocampus() -> MemoryPool:
    """Hippocampus volumes: a fixed shuffle into 65 for training, 10 for validation, 25 for test."""
    root = folder("hippocampus")
    names = sorted(path.name for path in (root / "images").glob("*.nii.gz"))
    order = np.random.default_rng(7).permutation(len(names))
    items: list[PoolItem] = []
    for place, number in enumerate(order):
        name = names[number]
        image = np.asarray(nibabel.load(root / "images" / name).dataobj, np.float32)
        classes = np.asarray(nibabel.load(root / "labels" / name).dataobj).round().astype(np.uint8)
        split = Split.TRAIN if place < 65 else Split.VALIDATION if place < 75 else Split.TEST
        volume, truth = image.transpose(2, 1, 0)[None].copy(), LabelMap(classes=classes.transpose(2, 1, 0).copy())
        items.append(pool_item(name.removesuffix(".nii.gz"), volume, {"one": truth}, split=split))
    return MemoryPool(items, classes=("background", "anterior", "posterior"))


def fully_labelled(pool: MemoryPool) -> MemoryLabels:
    """The truth of all training items as labels."""
    return MemoryLabels(maps={info.id: pool.truth(info.id) for info in pool.items(Split.TRAIN)})
