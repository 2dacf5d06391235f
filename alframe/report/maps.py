"""Label maps as files: PNG, TIFF, NIfTI, or one COCO JSON. A folder of them appears complete or not at all.

Class maps are ``uint8`` with 255 where nobody annotated; object numbers go to files of their own beside them.
Legend: ``S`` the spatial axes ``(Z) Y X``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.folders import appearing
from alframe.report import rle
from alframe.types import ItemInfo, LabelMap

__all__ = ["MAP_FORMATS", "MAX_BYTES", "ItemMap", "MapFormat", "file_names", "known_format", "write_maps"]

MapFormat = Literal["png", "tiff", "nifti", "coco"]
MAP_FORMATS: tuple[MapFormat, ...] = ("png", "tiff", "nifti", "coco")
SUFFIX = {"png": ".png", "tiff": ".tiff", "nifti": ".nii.gz"}
MAX_BYTES = 64 * 2**30
"""Largest export, uncompressed, unless the caller allows more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemMap:
    """The label map of one item, on its way to a file."""

    info: ItemInfo
    labels: LabelMap


def known_format(format: str, formats: Sequence[str]) -> None:
    """Raises InvalidValue, naming the formats there are, for another one."""
    if format not in formats:
        raise InvalidValue(f"unknown format {format!r}; choose one of {', '.join(formats)}")


def write_maps(
    maps: Iterable[ItemMap],
    infos: Sequence[ItemInfo],
    classes: Sequence[str],
    folder: Path,
    format: MapFormat,
    max_bytes: int,
) -> Path:
    """Write `maps`, of the items `infos` in that order, into a new `folder`, and return it.

    Images become one file an item (two with objects) and a ``labels.json`` that says which file is which item; COCO becomes
    one ``annotations.json``.

    Raises:
        InvalidValue: for an unknown format, one that cannot hold the data, or more than `max_bytes` before compression.
        ConflictError: when `folder` exists and is not empty.
    """
    known_format(format, MAP_FORMATS)
    if format in ("png", "coco") and any(len(info.shape) != 2 for info in infos):
        raise InvalidValue(f"{format} holds two-dimensional maps only and the pool has volumes; choose tiff or nifti")
    size = sum(info.size * (5 if info.instances else 1) for info in infos)
    if size > max_bytes:
        raise InvalidValue(
            f"the export would take up to {size:,} bytes, more than {max_bytes:,}; export fewer items or raise the limit"
        )
    names = file_names([info.id for info in infos])
    with appearing(folder) as target:
        if format == "coco":
            text = json.dumps(_coco(maps, classes, names), separators=(",", ":"))
            (target / "annotations.json").write_text(text, encoding="utf-8")
        else:
            for one in maps:
                stem = target / names[one.info.id]
                _write_array(stem.with_name(stem.name + SUFFIX[format]), one.labels.classes, one.info, format)
                if one.labels.instances is not None:
                    objects = _small(one.labels.instances, format)
                    _write_array(stem.with_name(f"{stem.name}_instances{SUFFIX[format]}"), objects, one.info, format)
            about = {"classes": list(classes), "not_annotated": 255, "items": names}
            (target / "labels.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return folder


def _small(objects: NDArray[np.int32], format: MapFormat) -> NDArray[np.uint16] | NDArray[np.int32]:
    """16-bit object numbers where they fit: PNG has no more, and most readers like them best."""
    if objects.max(initial=0) < 2**16:
        return objects.astype(np.uint16)
    if format == "png":
        highest = int(objects.max())
        raise InvalidValue(f"PNG holds object numbers up to 65,535, an item has {highest:,}; choose tiff or nifti")
    return objects


def _write_array(path: Path, array: NDArray[Any], info: ItemInfo, format: MapFormat) -> None:
    """One array (S) as a file. NIfTI is stored in (x, y, z) and lies in space where its image does."""
    if format == "nifti":
        import nibabel

        image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), info.to_world())
        image.header.set_xyzt_units("mm")
        image.set_qform(image.affine, "aligned", strip_shears=True)  # some programs read this one only
        nibabel.save(image, path)
    elif format == "tiff":
        import tifffile

        tifffile.imwrite(
            path, array, compression="zlib", photometric="minisblack", metadata={"axes": "ZYX"[-array.ndim :]}
        )
    else:
        import imageio.v3 as iio

        iio.imwrite(path, array)


def _coco(maps: Iterable[ItemMap], classes: Sequence[str], names: dict[str, str]) -> dict[str, Any]:
    """COCO's object-detection JSON: one annotation an object, or a class where objects are not told apart.

    `annotated` of an image is the mask of all annotated pixels: outside it, nothing is known.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(maps, start=1):
        known = one.labels.annotated
        height, width = one.info.shape
        image = {"id": number, "file_name": names[one.info.id], "item": one.info.id, "height": height, "width": width}
        images.append(image | {"annotated": rle.encode(known)})
        for category, mask in _objects(one.labels):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": rle.encode(mask),
                    "area": int(mask.sum()),
                    "bbox": rle.bounding_box(mask),
                    "iscrowd": int(one.labels.instances is None),
                }
            )
    categories = [{"id": index, "name": name} for index, name in enumerate(classes) if index > 0]
    return {
        "info": {"description": "alframe export"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _objects(label: LabelMap) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """(class, mask) of every object, or of every foreground class where objects are not told apart."""
    foreground = label.annotated & (label.classes > 0)
    for category in np.unique(label.classes[foreground]):
        of_class = foreground & (label.classes == category)
        if label.instances is None:
            yield int(category), of_class
            continue
        for number in np.unique(label.instances[of_class]):
            yield int(category), of_class & (label.instances == number)


def file_names(items: Sequence[str]) -> dict[str, str]:
    """A portable, unique file name for each item id: other characters become ``_``, doubles and reserved names a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for item in items:
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", item).strip("._")[:120] or "item"
        name, number = base, 1
        while {name.lower(), f"{name.lower()}_instances"} & taken or name.lower() == "labels":
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        taken.add(f"{name.lower()}_instances")
        names[item] = name
    return names
