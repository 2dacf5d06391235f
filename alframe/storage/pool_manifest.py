"""What a pool's identity is: a description of every item and of the content of its arrays, and one hash over all of it.

The hash depends on what the data *are*, not on how they are stored: the same items give the same hash in memory, in Zarr,
and under another compressor. Nothing here imports Zarr.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import DataError, Problem
from alframe.ports import ItemArrays
from alframe.types import UNANNOTATED, Intensities, ItemInfo, Split

__all__ = [
    "array_hash",
    "canonical",
    "check_arrays",
    "check_infos",
    "describe",
    "info_of",
    "manifest_hash",
    "measured",
    "sealed",
]


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sealed(body: Mapping[str, Any]) -> bytes:
    """A manifest as it is stored: its body and the SHA-256 (hex) of that."""
    return canonical({"body": body, "sha256": hashlib.sha256(canonical(body)).hexdigest()})


def array_hash(array: NDArray[Any]) -> str:
    """SHA-256 (hex) of an array's dtype, shape and pixels in C order, the same on machines of either byte order."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode())
    digest.update(little.data.cast("B") if little.size else b"")
    return digest.hexdigest()


_SAMPLES = 100_000


def measured(image: NDArray[Any]) -> tuple[Intensities, ...]:
    """The range of each channel of an `image` (C, S). Percentiles are of at most 100,000 values, evenly spaced in C order."""
    return tuple(_range(channel.ravel()) for channel in image)


def _range(values: NDArray[Any]) -> Intensities:
    finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
    if not finite.size:
        return Intensities(minimum=0.0, low=0.0, high=0.0, maximum=0.0)
    step = -(-finite.size // _SAMPLES)
    while math.gcd(step, finite.size) > 1:  # a step that divides the width would see a few columns only
        step += 1
    low, high = np.percentile(finite[::step].astype(np.float64), (1, 99))
    return Intensities(minimum=float(finite.min()), low=float(low), high=float(high), maximum=float(finite.max()))


def describe(info: ItemInfo, arrays: ItemArrays) -> dict[str, Any]:
    """The manifest's entry of one item: its `info` and the content hash of each array."""
    truth = {
        rater: {
            "classes": array_hash(labels.classes),
            "instances": None if labels.instances is None else array_hash(labels.instances),
        }
        for rater, labels in arrays.truth.items()
    }
    return {
        "id": info.id,
        "shape": list(info.shape),
        "channels": info.channels,
        "dtype": info.dtype,
        "split": str(info.split),
        "group": info.group,
        "spacing": list(info.spacing),
        "affine": list(info.affine),
        "raters": list(info.raters),
        "instances": info.instances,
        "image": array_hash(arrays.image),
        "truth": truth,
    }


def info_of(entry: Mapping[str, Any]) -> ItemInfo:
    """The inverse of :func:`describe`, without the hashes."""
    return ItemInfo(
        id=entry["id"],
        shape=tuple(entry["shape"]),
        channels=entry["channels"],
        dtype=entry["dtype"],
        split=Split(entry["split"]),
        group=entry["group"],
        spacing=tuple(entry["spacing"]),
        affine=tuple(entry["affine"]),
        raters=tuple(entry["raters"]),
        instances=entry["instances"],
    )


def manifest_hash(classes: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 (hex) over classes and items, in the order of their ids."""
    ordered = sorted(entries, key=lambda entry: str(entry["id"]))
    return hashlib.sha256(canonical({"classes": list(classes), "items": ordered})).hexdigest()


def check_infos(infos: Sequence[ItemInfo], classes: Sequence[str]) -> None:
    """Refuse a pool that could not work: no items, an id twice, bad class names, mixed dimensionality.

    Raises:
        DataError: with every problem found.
    """
    problems = []
    if not infos:
        problems.append(Problem(where="pool", expected="at least one item", found="none"))
    if len(classes) < 2 or len(set(classes)) != len(classes) or len(classes) > UNANNOTATED:
        expected = f"2 to {UNANNOTATED} different class names, background first"
        problems.append(Problem(where="classes", expected=expected, found=repr(tuple(classes))))
    seen: set[str] = set()
    for info in infos:
        if info.id in seen:
            problems.append(Problem(where=info.id, expected="one item of this id", found="two"))
        seen.add(info.id)
        if len(info.shape) != len(infos[0].shape):
            expected = f"{len(infos[0].shape)} spatial axes as in {infos[0].id}"
            problems.append(Problem(where=info.id, expected=expected, found=f"shape {info.shape}"))
    if problems:
        raise DataError(problems)


def check_arrays(info: ItemInfo, arrays: ItemArrays, classes: Sequence[str]) -> None:
    """Refuse arrays that are not what `info` promised.

    Raises:
        DataError: naming the item and every difference.
    """
    found: list[tuple[str, str]] = []
    if arrays.image.shape != (info.channels, *info.shape) or str(arrays.image.dtype) != info.dtype:
        expected = f"an image {(info.channels, *info.shape)} of {info.dtype}"
        found.append((expected, f"{arrays.image.shape} of {arrays.image.dtype}"))
    if tuple(arrays.truth) != info.raters:
        found.append((f"truth by raters {info.raters}", f"{tuple(arrays.truth)}"))
    for rater, labels in arrays.truth.items():
        if labels.shape != info.shape:
            found.append((f"labels of {rater} of shape {info.shape}", f"{labels.shape}"))
        if (labels.instances is not None) != info.instances:
            found.append((f"labels of {rater} {'with' if info.instances else 'without'} instances", "the opposite"))
        known = labels.classes[labels.annotated]
        if known.size and int(known.max()) >= len(classes):
            found.append((f"class ids below {len(classes)} by {rater}", f"{int(known.max())}"))
    if found:
        raise DataError([Problem(where=info.id, expected=expected, found=what) for expected, what in found])
