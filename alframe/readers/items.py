"""One item from its files: decoded, its masks mapped to classes, everything checked. Used at the check and at the write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import DataError, Problem
from alframe.ports import ItemArrays
from alframe.readers.base import RawImage, Reader
from alframe.readers.formats import find_reader
from alframe.readers.listing import Source
from alframe.readers.settings import DataSettings
from alframe.types import UNANNOTATED, LabelMap

__all__ = ["Decoded", "decode_item"]

_SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """The pixels of an item, their spacing in ``(Z) Y X``, and the `affine` of :class:`~alframe.types.ItemInfo`."""

    arrays: ItemArrays
    spacing: tuple[float, ...]
    affine: tuple[float, ...]


def decode_item(source: Source, settings: DataSettings, readers: Sequence[Reader]) -> Decoded:
    """Read and check the image and every mask of an item.

    Raises:
        DataError: with all problems of this item, each naming it.
    """
    problems: list[Problem] = []
    image = _read(source, source.image, settings, readers, problems)
    if image is not None:
        problems += _check_image(f"{source.id} ({source.image.name})", image, settings)
    truth: dict[str, LabelMap] = {}
    for rater, path in source.masks.items():
        mask = _read(source, path, settings, readers, problems, mask=True)
        if mask is None:
            continue
        where = f"{source.id} ({path.name}, rater {rater})"
        found = _check_geometry(where, image, mask) if image is not None else []
        labels = _labels(where, mask.array[0], settings, found)
        problems += found
        if labels is not None:
            truth[rater] = labels
    if problems or image is None:
        raise DataError(problems)
    spacing = settings.spacing or image.spacing
    arrays = ItemArrays(image=image.array, truth=truth)
    return Decoded(arrays=arrays, spacing=spacing, affine=_stretched(image.affine, settings.spacing))


def _read(
    source: Source,
    path: Path,
    settings: DataSettings,
    readers: Sequence[Reader],
    problems: list[Problem],
    *,
    mask: bool = False,
) -> RawImage | None:
    axes = settings.axes.replace("C", "") if mask else settings.axes
    try:
        return find_reader(path, readers).read(path, axes=axes, mask=mask, limits=settings.limits)
    except DataError as error:
        problems += [replace(problem, where=f"{source.id} ({path.name})") for problem in error.problems]
        return None


def _stretched(affine: tuple[float, ...], spacing: tuple[float, ...]) -> tuple[float, ...]:
    """A file's matrix with its voxels as long as the settings say; its directions and its origin stay."""
    if not affine or not spacing:
        return affine
    matrix = np.reshape(affine, (3, 4)).copy()
    axes = len(spacing)
    matrix[:, :axes] *= np.array(spacing[::-1]) / np.linalg.norm(matrix[:, :axes], axis=0)
    return tuple(matrix.ravel().tolist())


def _check_image(where: str, image: RawImage, settings: DataSettings) -> list[Problem]:
    problems = []
    if settings.spacing and len(settings.spacing) != len(image.spacing):
        expected = f"as many axes as `spacing` {settings.spacing}"
        problems.append(Problem(where=where, expected=expected, found=f"shape {image.array.shape[1:]}"))
    finite = np.isfinite(image.array) if image.array.dtype.kind == "f" else None
    if finite is not None and not finite.all():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), finite.shape))
        found = f"{int((~finite).sum()):,} NaN or infinite, the first at (C, S) = {first}"
        hint = "Repair or remove the image; alframe never replaces them."
        problems.append(Problem(where=where, expected="finite values", found=found, hint=hint))
    return problems


def _check_geometry(where: str, image: RawImage, mask: RawImage) -> list[Problem]:
    """A mask must lie on its image's grid: size, voxel size, and the way its axes point."""
    if mask.array.shape[1:] != image.array.shape[1:]:
        expected = f"the image's size {image.array.shape[1:]}"
        hint = "Is it the mask of another image, or one saved at another magnification?"
        return [Problem(where=where, expected=expected, found=str(mask.array.shape[1:]), hint=hint)]
    if not np.allclose(mask.spacing, image.spacing, rtol=_SPACING_TOLERANCE):
        found = str(mask.spacing)
        return [
            Problem(
                where=where, expected=f"the image's spacing {image.spacing}", found=found, hint="Resample the mask."
            )
        ]
    if mask.orientation != image.orientation and mask.orientation and image.orientation:
        hint = "Turn the mask onto the image's grid and save it again."
        expected = f"the image's orientation {image.orientation}"
        return [Problem(where=where, expected=expected, found=mask.orientation, hint=hint)]
    return []


def _labels(where: str, mask: NDArray[Any], settings: DataSettings, problems: list[Problem]) -> LabelMap | None:
    """Classes (and object numbers) of a mask of shape S, or None after noting what is wrong with its values."""
    values = np.unique(mask)
    if not np.isfinite(values).all() or (values != np.floor(values)).any():
        odd = [float(value) for value in values if not float(value).is_integer()]
        hint = "A resampled mask? Use nearest-neighbour interpolation."
        problems.append(Problem(where=where, expected="whole numbers", found=_some(odd), hint=hint))
        return None
    table = settings.class_ids
    if settings.instances:
        ignored = [value for value, meaning in table.items() if meaning == UNANNOTATED]
        if values[0] < 0:
            problems.append(Problem(where=where, expected="object numbers from 0", found=_some(values[values < 0])))
            return None
        skip = np.isin(mask, ignored)
        objects = np.where(skip, 0, mask).astype(np.int32)
        classes = np.where(skip, UNANNOTATED, objects > 0).astype(np.uint8)
        return LabelMap(classes=classes, instances=objects)
    known = table or {index: index for index in range(len(settings.classes))}
    strange = [int(value) for value in values if int(value) not in known]
    if strange:
        expected = f"the values {_some(sorted(known))}" if table else f"class ids 0 to {len(settings.classes) - 1}"
        hint = "Map them to classes, or to ignore, with `values`; set `instances: true` if they number objects."
        problems.append(Problem(where=where, expected=expected, found=f"unknown {_some(strange)}", hint=hint))
        return None
    lookup = np.array([known[int(value)] for value in values], np.uint8)
    return LabelMap(classes=lookup[np.searchsorted(values, mask)])


def _some(values: Any) -> str:
    """The first few of a sequence of numbers, in words."""
    listed = [f"{value:g}" for value in values[:6]]
    more = len(values) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")
