"""What a reader of one file format promises, and what all of them share: limits, axes, tidy dtypes, and errors for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alframe.errors import DataError, Problem
from alframe.readers.settings import Limits

__all__ = ["RawImage", "Reader", "arrange", "bad", "check_size", "tidy", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawImage:
    """A decoded file: `array` (C, S) with S = ``(Z) Y X``, `spacing` along S (1.0 when unknown).

    `orientation` is where the array's axes point in the patient (as ``RAS``) or empty when the format does not say. `affine`
    holds the first three rows of the matrix from a voxel's (x, y, z, 1) to millimetres, row by row; empty when unknown.
    """

    array: NDArray[Any]
    spacing: tuple[float, ...]
    orientation: str = ""
    affine: tuple[float, ...] = ()


class Reader(Protocol):
    """Decodes files of one format. Stateless; safe to call from many threads."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings in lower case, with the dot: ``(".nii", ".nii.gz")``."""

    def read(self, path: Path, *, axes: str = "", mask: bool = False, limits: Limits) -> RawImage:
        """Decode `path`. `axes` overrides the order that the format implies; a mask keeps its stored values and has C = 1.

        Nothing is decoded before the size that the header promises is within `limits`.
        Raises DataError, naming the file, when it cannot be read or would lose information.
        """


def bad(path: Path, expected: str, found: object, hint: str = "") -> DataError:
    """The error of one file, ready to raise."""
    return DataError([Problem(where=path.name, expected=expected, found=str(found), hint=hint)])


def unreadable(path: Path, kind: str, error: BaseException) -> DataError:
    """The error of a file that its library could not decode."""
    named = isinstance(error, OSError | SyntaxError | ValueError) and str(error)
    found = str(error) if named else f"damaged data ({type(error).__name__}: {error})"
    return bad(path, f"a readable {kind} file", found, "Is it complete, and what its name says?")


def check_size(path: Path, shape: Sequence[int], itemsize: int, limits: Limits) -> None:
    """Refuse what would not fit, from the header alone.

    Raises:
        DataError: when the shape is empty or exceeds a limit.
    """
    size = math.prod(shape)
    if size < 1:
        raise bad(path, "at least one pixel", f"shape {tuple(shape)}")
    if size > limits.pixels or size * itemsize > limits.bytes:
        expected = f"at most {limits.pixels:,} values and {limits.megabytes:,} MB when decoded"
        found = f"a header that promises {size:,} values of {itemsize} bytes, shape {tuple(shape)}"
        raise bad(path, expected, found, "If the file is what you expect, raise `limits` in the data settings.")


def arrange(
    path: Path, array: NDArray[Any], axes: str, *, mask: bool, spacing: Mapping[str, float] | None = None
) -> RawImage:
    """Bring an array with named `axes` (one letter of ``C Z Y X`` per axis) into the order (C, (Z) Y X).

    `spacing` is per letter; what it does not name is 1.0.

    Raises:
        DataError: when `axes` does not fit the array, or a mask has several channels.
    """
    if len(axes) != array.ndim:
        raise bad(
            path,
            f"{len(axes)} axes ({axes})",
            f"{array.ndim} of shape {array.shape}",
            "Set `axes` to the order on disk.",
        )
    space = [letter for letter in "ZYX" if letter in axes]
    order = [axes.index(letter) for letter in (["C"] if "C" in axes else []) + space]
    arranged = array.transpose(order)
    if "C" not in axes:
        arranged = arranged[np.newaxis]
    if mask and arranged.shape[0] > 1:
        if (arranged != arranged[:1]).any():
            hint = "Save one number per pixel: a class id or an object number."
            raise bad(
                path, "a mask with one value per pixel", f"{arranged.shape[0]} channels that differ (colours?)", hint
            )
        arranged = arranged[:1]
    steps = tuple(float((spacing or {}).get(letter, 1.0)) for letter in space)
    return RawImage(array=tidy(path, arranged), spacing=steps)


def tidy(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous copy in this machine's byte order, in a dtype that networks take.

    Booleans become uint8 (0, 1), float64 becomes float32, wide integers become int32 where they fit.

    Raises:
        DataError: for other kinds of numbers, or integers beyond int32.
    """
    kind = array.dtype.kind
    target: np.dtype[Any]
    if kind == "b":
        target = np.dtype(np.uint8)
    elif kind == "f":
        target = np.dtype(np.float16 if array.dtype.itemsize == 2 else np.float32)
    elif kind in "iu" and (array.dtype.itemsize < 4 or array.dtype == np.int32):
        target = array.dtype.newbyteorder("=")
    elif kind in "iu":
        target = np.dtype(np.int32)
        lowest, highest = int(array.min()), int(array.max())
        if lowest < -(2**31) or highest >= 2**31:
            raise bad(path, "integers within 32 bits", f"values from {lowest} to {highest}")
    else:
        raise bad(path, "real numbers, one per channel", f"values of type {array.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array).astype(target, copy=True)
