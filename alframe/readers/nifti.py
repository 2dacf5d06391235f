"""NIfTI by nibabel: ``X Y Z`` on disk becomes ``Z Y X``; spacing and orientation come from the header."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Extensions
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from alframe.errors import DataError
from alframe.readers.base import RawImage, arrange, bad, check_size, unreadable
from alframe.readers.settings import Limits

__all__ = ["NiftiReader"]

_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    struct.error,
    OverflowError,
    KeyError,
)
_LONGEST_HEADER = 2**24
"""Bytes before the first voxel. Unpacking is stopped nowhere else: a gzip of a few kilobytes could hold gigabytes of header."""


class _Unread(Nifti1Extensions):  # type: ignore[misc]
    """No extensions. Nobody here needs them, and their sizes, which a file states as it likes, say what is read into memory."""

    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> _Unread:
        return cls()


class _Header1(nibabel.Nifti1Header):  # type: ignore[misc]
    exts_klass = _Unread


class _Header2(nibabel.Nifti2Header):  # type: ignore[misc]
    exts_klass = _Unread


class _Image1(nibabel.Nifti1Image):  # type: ignore[misc]
    header_class = _Header1


class _Image2(nibabel.Nifti2Image):  # type: ignore[misc]
    header_class = _Header2


@dataclass(frozen=True, slots=True)
class NiftiReader:
    """Reads NIfTI-1 and -2, plain or gzipped. The stored scale and offset are applied; nothing is resampled or turned."""

    suffixes: tuple[str, ...] = (".nii", ".nii.gz")

    def read(self, path: Path, *, axes: str = "", mask: bool = False, limits: Limits) -> RawImage:
        """Decode a file. Without `axes` the order is ``X Y Z`` (``X Y`` for a flat image); time or channels must be named.

        Raises:
            DataError: when it is damaged, too large, or has axes that the format does not name.
        """
        try:
            return self._decode(path, axes, mask, limits)
        except DataError:
            raise
        except _UNREADABLE as error:
            raise unreadable(path, "NIfTI", error) from error

    def _decode(self, path: Path, axes: str, mask: bool, limits: Limits) -> RawImage:
        volume = _open(path)
        shape = tuple(int(n) for n in volume.shape)
        check_size(path, shape, max(volume.get_data_dtype().itemsize, 4), limits)
        letters = axes or "XYZ"[: max(2, len(shape))]
        kept = shape
        while len(kept) > len(letters) and kept[-1] == 1:  # trailing axes of length one are only padding of the header
            kept = kept[:-1]
        if len(kept) != len(letters):
            hint = "Name the order on disk with `axes`, for example XYZC, or split time points into files."
            raise bad(path, f"axes {letters}", f"{len(kept)} axes of shape {kept}", hint)
        array = np.asanyarray(volume.dataobj).reshape(kept)
        steps = dict(zip(letters, (float(step) for step in volume.header.get_zooms()), strict=False))
        steps.pop("C", None)
        if any(not math.isfinite(step) or step <= 0 for step in steps.values()):
            raise bad(path, "positive voxel sizes", steps, "Repair the header or set `spacing`.")
        raw = arrange(path, array, letters, mask=mask, spacing=steps)
        orientation = "".join(code or "?" for code in nibabel.aff2axcodes(volume.affine))
        return replace(raw, orientation=orientation, affine=_affine(volume, letters))


def _open(path: Path) -> Any:
    """The volume, its voxels still on disk. Raises DataError: when it is no NIfTI, or its voxels begin too far into the file."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        head = file.read(540)
    for order in "<>":
        if head[:4] == struct.pack(f"{order}i", 348):
            kind, offset = _Image1, struct.unpack_from(f"{order}f", head, 108)[0]
        elif head[:4] == struct.pack(f"{order}i", 540):
            kind, offset = _Image2, struct.unpack_from(f"{order}q", head, 168)[0]
        else:
            continue
        if not offset <= _LONGEST_HEADER:
            raise bad(path, f"voxels that begin within {_LONGEST_HEADER:,} bytes", f"a header that says {offset}")
        return kind.from_filename(path)
    raise bad(path, "a NIfTI-1 or NIfTI-2 file", f"a file that begins with {head[:4]!r}")


def _affine(volume: Any, letters: str) -> tuple[float, ...]:
    """The header's matrix with its columns in the order x, y, z; empty when neither of its two forms is set."""
    header = volume.header
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        return ()
    matrix = np.asarray(volume.affine, np.float64)[:3]
    order = {letter: place for place, letter in enumerate(letters[:3]) if letter != "C"}
    spare = [place for place in range(3) if place not in order.values()]
    columns = [order[letter] if letter in order else spare.pop() for letter in "XYZ"]
    return tuple(matrix[:, [*columns, 3]].ravel().tolist())
