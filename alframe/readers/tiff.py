"""TIFF by tifffile: 8- to 32-bit, grey or colour, one page or many (pages are ``Z`` unless `axes` says otherwise)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from alframe.errors import DataError
from alframe.readers.base import RawImage, arrange, bad, check_size, unreadable
from alframe.readers.settings import Limits

__all__ = ["TiffReader"]

_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    RuntimeError,
    tifffile.TiffFileError,
)
_RAW = {1, 32773}
_DEFLATE = {8, 32946}
_LIBTIFF = {5: "LZW", 7: "JPEG"}
_PALETTE = 3


@dataclass(frozen=True, slots=True)
class TiffReader:
    """Reads TIFF, BigTIFF, ImageJ and OME-TIFF files that hold one image or stack.

    Compression: none, PackBits, deflate (checked for bombs strip by strip), LZW and JPEG. Voxel sizes are not taken from
    the file: its resolution tags are about printing; give `spacing` in the settings.
    """

    suffixes: tuple[str, ...] = (".tif", ".tiff")

    def read(self, path: Path, *, axes: str = "", mask: bool = False, limits: Limits) -> RawImage:
        """Decode a file.

        Raises:
            DataError: when it is damaged, too large, holds several images, or has axes that cannot be told apart.
        """
        try:
            # an OME description may name other files, wherever they are: they are not opened
            with tifffile.TiffFile(path, _multifile=False) as file:
                return self._decode(path, file, axes, mask, limits)
        except DataError:
            raise
        except _UNREADABLE as error:
            raise unreadable(path, "TIFF", error) from error

    def _decode(self, path: Path, file: tifffile.TiffFile, axes: str, mask: bool, limits: Limits) -> RawImage:
        len(
            file.pages
        )  # follows the chain of pages to its end, and notices a circle; going through them one by one does not
        if len(file.series) != 1:
            found = f"{len(file.series)} of different shapes or kinds"
            raise bad(path, "one image or stack in the file", found, "Save each as a file of its own.")
        series = file.series[0]
        if series.dtype is None:
            raise bad(path, "pixels of one number type", "a mixture")
        check_size(path, series.shape, series.dtype.itemsize, limits)
        first = series.keyframe
        if int(first.photometric) == _PALETTE and not mask:
            raise bad(path, "a grey or RGB image", "a palette image", "Convert it to RGB.")
        letters = _axes(path, series, axes)
        kind = int(first.compression)
        if kind in _LIBTIFF:
            array = _by_libtiff(path, series, _LIBTIFF[kind])
        elif kind in _RAW | _DEFLATE:
            if kind in _DEFLATE:
                _check_deflate(path, file, series)
            array = series.asarray(maxworkers=1)
        else:
            hint = "Save it without compression, or with LZW or deflate."
            raise bad(path, "a common compression", getattr(first.compression, "name", kind), hint)
        return arrange(path, array.reshape([n for n, _ in letters]), "".join(a for _, a in letters), mask=mask)


def _axes(path: Path, series: Any, stated: str) -> list[tuple[int, str]]:
    """(length, letter of ``C Z Y X``) of each axis, axes of length one dropped where nothing names them."""
    pairs = list(zip(series.shape, series.axes, strict=True))
    if stated:
        kept = pairs if len(stated) == len(pairs) else [pair for pair in pairs if pair[0] > 1 or pair[1] in "YX"]
        if len(stated) != len(kept):
            raise bad(
                path, f"axes {stated}", f"shape {series.shape} ({series.axes})", "Set `axes` to the order on disk."
            )
        return [(length, letter) for (length, _), letter in zip(kept, stated, strict=True)]
    named = []
    for length, letter in pairs:
        meaning = {"S": "C", "I": "Z", "Q": "Z"}.get(letter, letter)
        if length == 1 and meaning not in "ZYX":
            continue
        named.append((length, meaning))
    letters = "".join(letter for _, letter in named)
    if len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters) <= set("CZYX"):
        hint = "Name the order on disk with `axes`, for example ZYX or CYX."
        raise bad(path, "axes among C, Z, Y, X, each once", f"shape {series.shape} ({series.axes})", hint)
    return named


def _check_deflate(path: Path, file: tifffile.TiffFile, series: Any) -> None:
    """Refuse strips or tiles that inflate to more than the header promises, without keeping what they inflate to."""
    first = series.keyframe
    length = first.tilelength if first.is_tiled else first.rowsperstrip
    width = first.tilewidth if first.is_tiled else first.imagewidth
    depth = max(1, first.tiledepth) if first.is_tiled else 1
    samples = first.samplesperpixel if first.planarconfig == 1 else 1
    row = -(-width * samples * first.bitspersample // 8)
    promised = int(min(length, first.imagelength) if not first.is_tiled else length) * row * depth
    handle = file.filehandle
    for page in series.pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            handle.seek(offset)
            inflated = len(zlib.decompressobj().decompress(handle.read(count), promised + 1))
            if inflated > promised:
                found = "a compressed strip that inflates beyond it"
                raise bad(path, f"at most {promised:,} bytes per strip or tile", found, "Do not open this file.")


def _by_libtiff(path: Path, series: Any, name: str) -> NDArray[Any]:
    """Pages that tifffile cannot decode by itself, through Pillow's libtiff, checked against the header's shape and dtype."""
    with path.open("rb") as file:
        image = TiffImagePlugin.TiffImageFile(file)
        pages = []
        for index in range(len(series.pages)):
            image.seek(index)
            if image.size != (series.keyframe.imagewidth, series.keyframe.imagelength):
                raise bad(path, f"pages of one size, {series.keyframe.shape}", f"one of {image.size}", "Save it again.")
            pages.append(np.asarray(image))
    shapes = [(page.shape, page.dtype.newbyteorder("=")) for page in pages]
    array = np.stack(pages)
    wanted = series.dtype.newbyteorder("=")
    if any(a != b for a, b in pairwise(shapes)) or array.size != np.prod(series.shape) or shapes[0][1] != wanted:
        hint = "Save it without compression or with deflate."
        raise bad(
            path, f"{name} pages that decode to {series.shape} of {wanted}", f"{array.shape} of {array.dtype}", hint
        )
    if series.keyframe.planarconfig != 1 and series.keyframe.samplesperpixel > 1:
        raise bad(path, "colours stored pixel by pixel", f"separate colour planes with {name}", "Save it with deflate.")
    return array.reshape(series.shape)
