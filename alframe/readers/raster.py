"""PNG, BMP and JPEG by Pillow. Axes ``Y X`` or ``Y X C``, as the file's colour type says."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin

from alframe.errors import DataError
from alframe.readers.base import RawImage, arrange, bad, check_size, unreadable
from alframe.readers.settings import Limits

__all__ = ["RasterReader"]

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
_ORIENTATION_TAG = 0x0112
_DECODED_BYTES = {"I;16": 2, "I;16B": 2, "I": 4, "F": 4}


@dataclass(frozen=True, slots=True)
class RasterReader:
    """Reads one kind of raster image. Palette masks keep their indices; palette images become RGB.

    The classes of Pillow are used directly: its own guess of the format, and its global pixel limit, are not wanted.
    """

    suffixes: tuple[str, ...] = (".png", ".bmp", ".jpg", ".jpeg")

    def read(self, path: Path, *, axes: str = "", mask: bool = False, limits: Limits) -> RawImage:
        """Decode a file.

        Raises:
            DataError: when it is damaged, too large, not upright (EXIF), or of a colour type that would lose information.
        """
        lossy = path.suffix.lower() in (".jpg", ".jpeg")
        if mask and lossy:
            raise bad(
                path, "a mask in a lossless format", "JPEG", "JPEG changes pixel values; save masks as PNG or TIFF."
            )
        try:
            with path.open("rb") as file:
                return self._decode(path, file, axes, mask, limits)
        except DataError:
            raise
        except _UNREADABLE as error:
            raise unreadable(path, "image", error) from error

    def _decode(self, path: Path, file: IO[bytes], axes: str, mask: bool, limits: Limits) -> RawImage:
        depth = _png_depth(path, file)
        image = _open(path, file)
        width, height = image.size
        bands = len(image.getbands())
        check_size(path, (height, width, *((bands,) if bands > 1 else ())), _DECODED_BYTES.get(image.mode, 1), limits)
        if getattr(image, "n_frames", 1) > 1:
            raise bad(path, "one image in the file", f"{image.n_frames} frames")  # type: ignore[attr-defined]
        turned = image.getexif().get(_ORIENTATION_TAG, 1)
        if turned != 1:
            hint = "Viewers turn it, masks may not be: save it upright without the tag."
            raise bad(path, "an upright image (EXIF orientation 1)", f"orientation {turned}", hint)
        array = _pixels(path, image, mask=mask)
        if (
            depth in (2, 4) and image.mode == "L"
        ):  # Pillow stretches few-bit greys to 0..255; masks need what was stored
            array = array // (255 // (2**depth - 1))
        return arrange(path, array, axes or ("YX" if array.ndim == 2 else "YXC"), mask=mask)


def _png_depth(path: Path, file: IO[bytes]) -> int:
    """Bits per sample of a PNG (0 for other formats), from its first chunk.

    Raises DataError for 16-bit colour, which Pillow would silently cut to 8 bits.
    """
    head = file.read(26)
    file.seek(0)
    if path.suffix.lower() != ".png" or len(head) < 26:
        return 0
    depth, colour = head[24], head[25]
    if depth == 16 and colour != 0:
        raise bad(path, "8-bit colour or 16-bit grey", "16-bit colour in a PNG", "Save it as a 16-bit TIFF.")
    return depth


def _open(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    suffix = path.suffix.lower()
    if suffix == ".png":
        return PngImagePlugin.PngImageFile(file)
    if suffix == ".bmp":
        return BmpImagePlugin.BmpImageFile(file)
    return JpegImagePlugin.JpegImageFile(file)


def _pixels(path: Path, image: ImageFile.ImageFile, *, mask: bool) -> NDArray[Any]:
    """Values of shape (Y, X) or (Y, X, C); alpha is dropped when every pixel is opaque."""
    if image.mode in ("1", "L", "I;16", "I;16B", "I", "F", "RGB") or (image.mode == "P" and mask):
        return np.asarray(image)
    if image.mode == "P":
        array = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    elif image.mode in ("RGBA", "LA"):
        array = np.asarray(image)
    else:
        raise bad(path, "a grey, RGB or palette image", f"colour mode {image.mode}", "Convert it to RGB.")
    if array.shape[2] == 3:
        return array
    if (array[..., -1] != 255).any():
        raise bad(path, "an opaque image", "an alpha channel with transparent pixels", "Flatten it before ingest.")
    return array[..., 0] if array.shape[2] == 2 else array[..., :-1]
