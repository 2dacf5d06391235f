"""Labels, predictions, scores and models as files that other tools open. Every export appears complete or not at all.

Legend: ``C`` classes, ``S`` the spatial axes ``(Z) Y X``. Class maps are ``uint8`` with 255 where nobody annotated.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alframe import seeding
from alframe.composition import CommittedLabels
from alframe.errors import ConflictError, InvalidValue, NotFound
from alframe.ports import Artifacts, Ledger, Pool, Predictor
from alframe.report import rle
from alframe.types import ItemInfo, LabelMap

__all__ = ["MAP_FORMATS", "MODEL_FORMATS", "MapFormat", "ModelFormat", "labels", "model", "predictions", "scores"]

MapFormat = Literal["png", "tiff", "nifti", "coco"]
ModelFormat = Literal["safetensors", "torchscript", "onnx"]
MAP_FORMATS: tuple[MapFormat, ...] = ("png", "tiff", "nifti", "coco")
MODEL_FORMATS: tuple[ModelFormat, ...] = ("safetensors", "torchscript", "onnx")
SUFFIX = {"png": ".png", "tiff": ".tiff", "nifti": ".nii.gz"}
MAX_BYTES = 64 * 2**30
"""Largest export, uncompressed, unless the caller allows more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Map:
    """The label map of one item, on its way to a file."""

    info: ItemInfo
    labels: LabelMap


def labels(
    ledger: Ledger,
    artifacts: Artifacts,
    pool: Pool,
    campaign: str,
    folder: Path | str,
    *,
    format: MapFormat = "png",
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write the composed labels of every item with an annotated pixel; returns `folder`.

    Raises:
        NotFound: when the campaign does not exist or has no label yet.
        InvalidValue: for an unknown format, one that cannot hold the data, or an export beyond `max_bytes`.
        ConflictError: when `folder` exists and is not empty.
        ArtifactMissing: when the store lost a mask.
        ArtifactDamaged: when a mask does not match its hash.
    """
    known = CommittedLabels(pool=pool, artifacts=artifacts, answers=ledger.answers(ledger.campaign(campaign).name))
    items = known.items()
    if not items:
        raise NotFound(f"campaign {campaign!r} has no committed label yet; run a round first")
    maps = (_Map(info=pool.info(item), labels=known.labels(item)) for item in items)
    return _write_maps(maps, [pool.info(item) for item in items], pool.classes, Path(folder), format, max_bytes)


def predictions(
    pool: Pool,
    predictor: Predictor,
    items: Sequence[str],
    folder: Path | str,
    *,
    format: MapFormat = "png",
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the most probable class of every pixel of `items`; returns `folder`.

    `seed` fixes stochastic passes, item by item. `progress` receives items done and items in all.

    Raises:
        NotFound: for an item that the pool does not hold, or for no items.
        InvalidValue: for an unknown format, one that cannot hold the data, or an export beyond `max_bytes`.
        ConflictError: when `folder` exists and is not empty.
        NonFiniteError: when a probability is NaN or infinite.
    """
    if not items:
        raise NotFound("no item to predict; choose a split that has some")
    infos = [pool.info(item) for item in items]

    def maps() -> Iterator[_Map]:
        for done, info in enumerate(infos, start=1):
            identity = seeding.derive(seed, "export", info.id)
            found = predictor.predict(pool.image(info.id), spacing=info.spacing, seed=identity)
            classes = np.asarray(found.moments.probability).argmax(axis=0).astype(np.uint8)
            yield _Map(info=info, labels=LabelMap(classes=classes))
            if progress is not None:
                progress(done, len(infos))

    return _write_maps(maps(), infos, pool.classes, Path(folder), format, max_bytes)


def scores(ledger: Ledger, artifacts: Artifacts, campaign: str, folder: Path | str) -> Path:
    """Copy the candidate tables of every round as ``round-RRR-PPPPP.parquet``; returns `folder`.

    Columns: ``item``, ``start_0`` …, ``stop_0`` … (half-open, axes ``(Z) Y X``), ``stratum``, and ``score``, which is
    higher where an answer would tell the model more.

    Raises:
        NotFound: when the campaign does not exist or has scored nothing yet.
        ConflictError: when `folder` exists and is not empty.
        ArtifactMissing: when the store lost a table.
        ArtifactDamaged: when a table does not match its hash.
    """
    found = [
        (record.index, position, ref)
        for record in ledger.rounds(ledger.campaign(campaign).name)
        for position, ref in enumerate(
            ref for key, ref in sorted(ledger.artifacts(campaign, record.index).items()) if ref.kind == "scores"
        )
    ]
    if not found:
        raise NotFound(f"campaign {campaign!r} has no scores yet; run a round first")
    with _appearing(Path(folder)) as target:
        for index, position, ref in found:
            (target / f"round-{index:03d}-{position:05d}.parquet").write_bytes(artifacts.get(ref))
    return Path(folder)


def model(
    ledger: Ledger,
    artifacts: Artifacts,
    campaign: str,
    folder: Path | str,
    *,
    format: ModelFormat = "safetensors",
    round: int | None = None,
) -> Path:
    """Write the members of a round's model (the last one trained when `round` is None) as ``member-M`` files.

    Raises:
        NotFound: when the campaign does not exist, or no model was trained in that round.
        InvalidValue: for an unknown format.
        ConflictError: when `folder` exists and is not empty.
        ExtraMissing: for ONNX when that extra is not installed.
        ArtifactMissing: when the store lost a checkpoint.
        ArtifactDamaged: when a checkpoint does not match its hash.
    """
    _known(format, MODEL_FORMATS)
    index, members = _members(ledger, campaign, round)
    suffix = {"safetensors": ".safetensors", "torchscript": ".pt", "onnx": ".onnx"}[format]
    with _appearing(Path(folder)) as target:
        for position, ref in enumerate(members):
            (target / f"member-{position}{suffix}").write_bytes(_converted(artifacts.get(ref), format))
        about = {"campaign": campaign, "round": index, "members": [ref.sha256 for ref in members]}
        (target / "model.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return Path(folder)


def _members(ledger: Ledger, campaign: str, wanted: int | None) -> tuple[int, list[Any]]:
    """The round and the checkpoints, in member order, of its chosen restarts."""
    rounds = [record.index for record in ledger.rounds(ledger.campaign(campaign).name)]
    for index in reversed(rounds) if wanted is None else [wanted]:
        stored = ledger.artifacts(campaign, index)
        keys = sorted((key for key in stored if key.startswith("member/")), key=lambda key: int(key.split("/")[1]))
        if keys:
            return index, [stored[key] for key in keys]
    where = "yet" if wanted is None else f"in round {wanted}"
    raise NotFound(f"campaign {campaign!r} trained no model {where}; its rounds are {rounds}")


def _converted(weights: bytes, format: ModelFormat) -> bytes:
    if format == "safetensors":
        return weights
    from alframe.learners import export

    converted: bytes = export.to_torchscript(weights) if format == "torchscript" else export.to_onnx(weights)
    return converted


def _known(format: str, formats: Sequence[str]) -> None:
    if format not in formats:
        raise InvalidValue(f"unknown format {format!r}; choose one of {', '.join(formats)}")


def _write_maps(
    maps: Iterable[_Map],
    infos: Sequence[ItemInfo],
    classes: Sequence[str],
    folder: Path,
    format: MapFormat,
    max_bytes: int,
) -> Path:
    _known(format, MAP_FORMATS)
    if format in ("png", "coco") and any(len(info.shape) != 2 for info in infos):
        raise InvalidValue(f"{format} holds two-dimensional maps only and the pool has volumes; choose tiff or nifti")
    size = sum(info.size * (5 if info.instances else 1) for info in infos)
    if size > max_bytes:
        raise InvalidValue(
            f"the export would take up to {size:,} bytes, more than {max_bytes:,}; export fewer items or raise the limit"
        )
    names = _file_names([info.id for info in infos])
    with _appearing(folder) as target:
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
    """One array (S) as a file. NIfTI is stored in (x, y, z) with the pool's spacing on the diagonal of its affine."""
    if format == "nifti":
        import nibabel

        spacing = (info.spacing or (1.0,) * array.ndim)[::-1]
        affine = np.diag([*spacing, *(1.0,) * (4 - array.ndim)])
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    elif format == "tiff":
        import tifffile

        tifffile.imwrite(
            path, array, compression="zlib", photometric="minisblack", metadata={"axes": "ZYX"[-array.ndim :]}
        )
    else:
        import imageio.v3 as iio

        iio.imwrite(path, array)


def _coco(maps: Iterable[_Map], classes: Sequence[str], names: dict[str, str]) -> dict[str, Any]:
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


def _file_names(items: Sequence[str]) -> dict[str, str]:
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


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A temporary sibling that takes the name `folder` when the block succeeds, and vanishes when it fails."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} exists and is not an empty folder; choose another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
