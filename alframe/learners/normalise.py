"""From pixels as ingested to what a network sees: one shift and one scale per channel, found on the whole image.

Legend: ``C`` channels, ``S`` space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import NonFiniteError
from alframe.learners.settings import NormaliseKind

__all__ = ["Affine", "intensity_affine", "white_level"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """``(image − shift) / scale``, both float32 of shape (C,)."""

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an image or a crop of it (C, S)."""
        axes = (slice(None),) + (None,) * (image.ndim - 1)
        return (image.astype(np.float32) - self.shift[axes]) / self.scale[axes]


def white_level(dtype: np.dtype[Any]) -> float | None:
    """The largest value of an unsigned integer type; None for others, whose range is not known from the type."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else None


def intensity_affine(image: NDArray[Any], method: NormaliseKind) -> Affine:
    """The normalisation of one whole image (C, S).

    ``range`` maps the type's range (unsigned integers) or the image's own minimum and maximum (other types; all
    channels together) to −1 … 1; ``zscore`` gives each channel mean 0 and standard deviation 1 over the image. A
    constant channel is only shifted.

    Raises:
        NonFiniteError: when the image holds NaN or infinity.
    """
    channels = image.shape[0]
    white = white_level(image.dtype)
    if method == "zscore":
        flat = image.reshape(channels, -1)
        shift, scale = flat.mean(1, dtype=np.float64), flat.std(1, dtype=np.float64)
    elif white is not None:
        shift = scale = np.full(channels, white / 2)
    else:
        low, high = float(image.min()), float(image.max())
        shift, scale = np.full(channels, (low + high) / 2), np.full(channels, (high - low) / 2)
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        raise NonFiniteError(
            "an image to normalise holds NaN or infinity; ingest checks images, so it was changed since"
        )
    scale = np.where(scale > 0, scale, 1.0)
    return Affine(shift=shift.astype(np.float32), scale=scale.astype(np.float32))
