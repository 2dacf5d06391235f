"""Which reader reads which file: by the longest suffix that fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alframe.readers.base import RawImage, Reader, bad
from alframe.readers.settings import Limits

__all__ = ["built_in", "find_reader", "read", "read_mask", "stem"]


def built_in() -> tuple[Reader, ...]:
    """The readers that alframe brings: PNG, BMP and JPEG; TIFF; NIfTI."""
    from alframe.readers.nifti import NiftiReader
    from alframe.readers.raster import RasterReader
    from alframe.readers.tiff import TiffReader

    return (RasterReader(), TiffReader(), NiftiReader())


def find_reader(path: Path, readers: Sequence[Reader]) -> Reader:
    """The reader whose suffix fits the file name best; of equals the last, so that a plug-in may replace a built-in one.

    Raises:
        DataError: when none fits.
    """
    name = path.name.lower()
    fits = [
        (len(suffix), order, reader)
        for order, reader in enumerate(readers)
        for suffix in reader.suffixes
        if name.endswith(suffix)
    ]
    if not fits:
        known = ", ".join(sorted({suffix for reader in readers for suffix in reader.suffixes}))
        raise bad(
            path, f"a file ending in {known}", path.name, "Convert it, or install a reader plug-in (docs/how-to)."
        )
    return max(fits, key=lambda fit: fit[:2])[2]


def read(
    path: Path, *, axes: str = "", mask: bool = False, limits: Limits | None = None, readers: Sequence[Reader] = ()
) -> RawImage:
    """Decode one file with the reader that its name asks for (`readers` come on top of the built-in ones).

    Raises:
        DataError: naming the file, when no reader fits or it cannot be read.
    """
    reader = find_reader(path, (*built_in(), *readers))
    return reader.read(path, axes=axes, mask=mask, limits=limits or Limits())


def read_mask(path: Path, most: int) -> RawImage:
    """Decode a label map of at most `most` pixels; its values stay as they are stored, C = 1.

    Raises:
        DataError: naming the file, when it cannot be read.
    """
    return read(path, mask=True, limits=Limits(pixels=most, megabytes=max(1, 8 * most // 2**20)))


def stem(path: Path, readers: Sequence[Reader]) -> str:
    """The file name without its reader's suffix (``a.nii.gz`` → ``a``), or without the last suffix when none fits."""
    name = path.name
    fits = [suffix for reader in readers for suffix in reader.suffixes if name.lower().endswith(suffix)]
    return name[: -len(max(fits, key=len))] if fits else path.stem
