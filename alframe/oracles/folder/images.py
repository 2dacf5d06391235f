"""Regions and class maps as PNG, TIFF or NIfTI files, and the matrix that places them in space.

Legend: ``C`` channels, ``S`` the box's spatial axes ``(Z) Y X``. NIfTI stores ``X Y Z (C)``.
"""

from __future__ import annotations

import gzip
import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.oracles.pictures import png
from alframe.types import ItemInfo

__all__ = ["SUFFIX", "Format", "choose", "encode", "onto"]

Format = Literal["png", "tiff", "nifti"]
SUFFIX: dict[str, str] = {"png": ".png", "tiff": ".tiff", "nifti": ".nii.gz"}
_TOLERANCE = 0.1
"""Of a voxel: how far the last voxel of a label map may lie from the image's grid."""


def choose(info: ItemInfo, wanted: str) -> Format:
    """The file format of an item's regions: as `wanted`, or for ``auto`` PNG where it fits, TIFF elsewhere, NIfTI for volumes.

    Raises:
        InvalidValue: when the pixels do not fit the wanted format.
    """
    fits_png = len(info.shape) == 2 and (info.dtype, info.channels) in (("uint8", 1), ("uint8", 3), ("uint16", 1))
    if wanted == "png" and not fits_png:
        raise InvalidValue(
            f"item {info.id} has {info.channels} channels of {info.dtype} and {len(info.shape)} axes; a PNG holds flat images "
            "of one or three channels of 8 bits, or one of 16: set the oracle's format to auto, tiff or nifti"
        )
    if wanted == "auto":
        return "nifti" if len(info.shape) == 3 else "png" if fits_png else "tiff"
    return wanted  # type: ignore[return-value]


def encode(array_CS: NDArray[Any], format: Format, matrix: NDArray[np.float64]) -> bytes:
    """A file of the array; `matrix` (4, 4) places NIfTI in space."""
    if format == "png":
        return png(np.moveaxis(array_CS, 0, -1) if array_CS.shape[0] == 3 else array_CS[0])
    if format == "tiff":
        return _tiff(array_CS)
    import nibabel

    array = array_CS.T if array_CS.shape[0] > 1 else array_CS[0].T
    if array_CS.ndim == 3 and array_CS.shape[0] > 1:
        array = array[:, :, np.newaxis]  # the fourth axis holds the channels
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    image = nibabel.Nifti1Image(np.ascontiguousarray(array), matrix)
    image.header.set_xyzt_units("mm")
    image.set_sform(matrix, "aligned")
    image.set_qform(matrix, "aligned", strip_shears=True)
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _tiff(array_CS: NDArray[Any]) -> bytes:
    import tifffile

    stream = io.BytesIO()
    axes = "ZYX"[-(array_CS.ndim - 1) :]
    colour = array_CS.shape[0] == 3 and array_CS.dtype in (np.uint8, np.uint16) and len(axes) == 2
    if colour:
        tifffile.imwrite(stream, np.moveaxis(array_CS, 0, -1), photometric="rgb", compression="zlib")
    else:
        array, named = (array_CS[0], axes) if array_CS.shape[0] == 1 else (array_CS, f"C{axes}")
        tifffile.imwrite(stream, array, photometric="minisblack", compression="zlib", metadata={"axes": named})
    return stream.getvalue()


def onto(labels_S: NDArray[Any], stored: tuple[float, ...], wanted: NDArray[np.float64]) -> NDArray[Any]:
    """A label map as its image has it, where a tool wrote its axes in another order or direction; no value is changed.

    `stored` is the label map's own matrix (three rows), empty when its file has none: then the order is taken as it is.

    Raises:
        InvalidValue: when the label map lies elsewhere in space, or on another grid.
    """
    if not stored:
        return labels_S
    own = np.vstack([np.array(stored).reshape(3, 4), [0, 0, 0, 1]])
    step = np.linalg.solve(wanted, own)  # from the label map's voxels to the image's
    turn = np.rint(step[:3, :3])
    shape = np.array([*reversed(labels_S.shape), 1, 1][:3])
    far = np.abs(step[:3, :3] - turn) @ shape
    is_turn = all((np.abs(turn).sum(axis=axis) == 1).all() for axis in (0, 1))
    corner = step[:3, 3] + turn.clip(max=0) @ (shape - 1)  # where the image's first voxel must be
    if not is_turn or max(far.max(), np.abs(corner).max()) > _TOLERANCE:
        raise InvalidValue(
            "the label map lies on another grid than its image (voxel size, origin or direction differ); save it with the "
            "image as reference geometry"
        )
    if labels_S.ndim == 2:
        if abs(turn[2, 2]) != 1:
            raise InvalidValue("the label map is turned out of its image's plane; save it with the image as reference")
        turn = turn[:2, :2]
    order = np.abs(turn).argmax(axis=1)  # image axis (x, y, z) → axis of the label map
    array = labels_S.T.transpose(order)
    flips = tuple(slice(None, None, -1) if turn[axis, order[axis]] < 0 else slice(None) for axis in range(len(order)))
    return np.ascontiguousarray(array[flips].T)
