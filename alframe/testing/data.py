"""Synthetic data sets on disk, in the formats that people have, so that tests and the demo go through the real ingest."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alframe.readers.settings import DataSettings, SplitSettings
from alframe.testing.raters import Habits, redraw
from alframe.testing.synthetic import histology, volumes

__all__ = ["write_histology", "write_volumes"]


def write_histology(
    folder: Path, *, count: int = 72, size: int = 96, seed: int = 0, raters: Mapping[str, Habits] | None = None
) -> DataSettings:
    """Write RGB images, 16-bit masks of gland numbers and ``manifest.csv`` below `folder`; returns how to read them.

    With `raters`, each draws a mask of her own; without, there is one exact mask an image.
    """
    columns = {f"mask:{name}": name for name in raters} if raters else {"mask": ""}
    for name in ("images", *(f"masks/{rater}" for rater in columns.values())):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for sample in histology(count, size=size, seed=seed):
        row = {"id": sample.id, "image": f"images/{sample.id}.png", "group": sample.group}
        _save(folder / row["image"], np.moveaxis(sample.image, 0, -1))
        for column, rater in columns.items():
            seen = redraw(sample.labels, raters[rater], seed, rater, sample.id) if raters else sample.labels
            row[column] = "/".join(part for part in ("masks", rater, f"{sample.id}.png") if part)
            objects = seen.instances if seen.instances is not None else np.zeros(seen.shape, np.int32)
            _save(folder / row[column], objects.astype(np.uint16))
        rows.append(row)
    _save_table(folder / "manifest.csv", rows)
    return DataSettings(
        root=str(folder),
        manifest="manifest.csv",
        classes=("background", "gland"),
        instances=True,
        splits=SplitSettings(seed=seed),
    )


def write_volumes(
    folder: Path, *, count: int = 12, shape: tuple[int, int, int] = (24, 32, 32), seed: int = 0
) -> DataSettings:
    """Write NIfTI volumes of 1 mm with labels 0, 1, 2 below `folder`, every third label map as float32."""
    import nibabel

    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, sample in enumerate(volumes(count, shape=shape, seed=seed)):
        labels = sample.labels.classes.astype(np.float32 if index % 3 == 2 else np.uint8)
        for name, array in (("images", sample.image[0]), ("labels", labels)):
            image = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.eye(4))
            nibabel.save(image, folder / name / f"{sample.id}.nii.gz")
    return DataSettings(
        root=str(folder),
        images="images/*.nii.gz",
        masks="labels/*.nii.gz",
        classes=("background", "body", "cap"),
        splits=SplitSettings(seed=seed),
    )


def _save(path: Path, array: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]) -> None:
    Image.fromarray(np.ascontiguousarray(array)).save(path)


def _save_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
