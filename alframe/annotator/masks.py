"""Masks as they travel: gzip'd bytes, an indexed PNG, or NIfTI, to an array of the box's shape and nothing larger.

The expected size is known from the task before anything is decoded, so that no input unpacks to more than that. ``S`` are the
spatial axes ``(Z) Y X`` of the box.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
import warnings
import zlib
from collections.abc import Callable, Mapping

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from alframe.errors import InvalidValue

__all__ = ["ENCODINGS", "decode", "gzipped"]

_NIFTI_HEADER = 2**16
"""Bytes that a NIfTI may have before its voxels: header and extensions."""
_EXTENDED = 348
"""Where a NIfTI says whether extensions follow. Nobody needs them: they are not parsed."""
_PNG_MODES = ("P", "L", "1")


def gzipped(data: bytes, level: int = 1) -> bytes:
    """`data` in a gzip container without a time, so that equal data give equal bytes."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def decode(encoding: str, shape: tuple[int, ...], sha256: str, data: str) -> NDArray[np.uint8]:
    """The mask (uint8 S) that `data` (base64) holds.

    Raises:
        InvalidValue: when it is not in `encoding`, not of `shape`, or does not have the hash `sha256` once decoded.
    """
    try:
        packed = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue(f"mask.data: expected base64 ({error})") from error
    mask = np.ascontiguousarray(ENCODINGS[encoding](packed, shape))
    found = hashlib.sha256(mask.tobytes()).hexdigest()
    if found != sha256:
        raise InvalidValue(f"mask.sha256: the decoded mask has {found}, the request says {sha256}; send it again")
    return mask


def _inflated(packed: bytes, most: int, kind: str) -> bytes:
    """Unpack one gzip member to at most `most` bytes. Raises InvalidValue."""
    unpacker = zlib.decompressobj(31)
    try:
        found = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise InvalidValue(f"mask.data: expected gzip'd {kind} ({error})") from error
    if len(found) > most or unpacker.unused_data or not unpacker.eof:
        more = "more than" if len(found) > most or not unpacker.eof else "something behind"
        raise InvalidValue(f"mask.data: {more} the {most} bytes of {kind} that this task can have, or cut off")
    return found


def _from_gzip(packed: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size = math.prod(shape)
    raw = _inflated(packed, size, "uint8 samples")
    if len(raw) != size:
        raise InvalidValue(f"mask.data: expected {size} bytes for shape {shape}, got {len(raw)}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _from_png(packed: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A PNG of one plane whose palette index (or grey value) is the class."""
    if len(shape) != 2:
        raise InvalidValue("mask.encoding: a PNG holds one plane; send gzip or nifti for a volume")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(packed), formats=("PNG",)) as image:
                if (image.height, image.width) != shape or image.mode not in _PNG_MODES:
                    raise InvalidValue(
                        f"mask.data: expected an indexed or 8-bit grey PNG of {shape[1]} × {shape[0]} pixels, "
                        f"got {image.width} × {image.height} ({image.mode})"
                    )
                return np.array(image, dtype=np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, Warning) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(f"mask.data: this PNG cannot be read ({type(error).__name__})") from error
    except zlib.error as error:
        raise InvalidValue(f"mask.data: this PNG cannot be read ({error})") from error


def _from_nifti(packed: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A single-file NIfTI-1 (gzip'd or not): ``X Y (Z)`` on disk, whole numbers from 0 to 255."""
    size = math.prod(shape)
    raw = _inflated(packed, 8 * size + _NIFTI_HEADER, "NIfTI") if packed[:2] == b"\x1f\x8b" else packed
    raw = raw[:_EXTENDED] + bytes(4) + raw[_EXTENDED + 4 :]
    try:
        volume = nibabel.Nifti1Image.from_bytes(raw)
        found = tuple(int(n) for n in volume.shape)
        while len(found) > len(shape) and found[-1] == 1:
            found = found[:-1]
        if found != shape[::-1]:
            raise InvalidValue(f"mask.data: expected a NIfTI of X Y (Z) = {shape[::-1]}, got {found}")
        values = np.asanyarray(volume.dataobj).reshape(found).T
    except (
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        OverflowError,
        KeyError,
    ) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(f"mask.data: this NIfTI cannot be read ({type(error).__name__})") from error
    if values.dtype.kind not in "uif" or values.min() < 0 or values.max() > 255 or np.any(values != np.round(values)):
        raise InvalidValue(f"mask.data: expected whole numbers from 0 to 255, got {values.dtype}")
    return np.asarray(values, dtype=np.uint8)


ENCODINGS: Mapping[str, Callable[[bytes, tuple[int, ...]], NDArray[np.uint8]]] = {
    "gzip": _from_gzip,
    "png": _from_png,
    "nifti": _from_nifti,
}
