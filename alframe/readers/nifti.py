"""NIfTI by nibabel: ``X Y Z`` on disk becomes ``Z Y X``; spacing and orientation come from the header."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from alframe.errors import DataError
from alframe.readers.base import RawImage, arrange, bad, check_size, unreadable
from alframe.readers.settings import Limits

__all__ = ["NiftiReader"]

_UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error, OverflowError, KeyError)


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
        volume = nibabel.load(path)
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
