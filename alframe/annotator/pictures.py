"""Pixels for the page: a plane of a region as PNG, raw samples, the whole item in small, and the display window of grey images.

Legend: ``C`` channels, ``S`` the spatial axes ``(Z) Y X``, ``Y X`` the plane shown.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alframe.ports import Pool
from alframe.types import Box, Intensities, ItemInfo, display_window

__all__ = [
    "THUMBNAIL",
    "Window",
    "context_size",
    "is_rgb",
    "plane_box",
    "png",
    "samples",
    "thumbnail",
    "window_of",
]

THUMBNAIL = 512
"""Pixels of the longer side of a thumbnail, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`low` to `high` is shown from black to white (the 1st and 99th percentile); `min` and `max` are the values there are."""

    low: float
    high: float
    min: float
    max: float


def is_rgb(info: ItemInfo) -> bool:
    """Whether an item is shown in colour."""
    return info.channels == 3


def window_of(info: ItemInfo, channels: Sequence[Intensities]) -> Window:
    """The window of an item, and the values that what is shown of its channels has."""
    shown = channels[:3] if is_rgb(info) else channels[:1]
    low, high = display_window(info, channels)
    if is_rgb(info) and info.dtype == "uint8":
        return Window(low=low, high=high, min=low, max=high)
    return Window(low=low, high=high, min=min(one.minimum for one in shown), max=max(one.maximum for one in shown))


def plane_box(box: Box, number: int) -> Box:
    """Slice `number` of a region, as a box that is one slice thick (a flat region is its own slice 0)."""
    if len(box.start) == 2:
        return box
    z = box.start[0] + number
    return Box(start=(z, *box.start[1:]), stop=(z + 1, *box.stop[1:]))


def samples(pool: Pool, item: str, plane: Box) -> NDArray[np.generic]:
    """Native samples of one plane, (C, Y, X), little-endian."""
    found = pool.image(item, plane)
    pixels = found.reshape(found.shape[0], *found.shape[-2:])
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))


def png(image_CYX: NDArray[np.generic], window: Window, *, rgb: bool) -> bytes:
    """An 8-bit PNG: three channels in colour, otherwise the first in grey; values outside the window are clipped."""
    shown = image_CYX if rgb else image_CYX[:1]
    if shown.dtype != np.uint8 or (window.low, window.high) != (0.0, 255.0):
        span = (window.high - window.low) or 1.0
        scaled = np.nan_to_num((shown.astype(np.float64) - window.low) / span, nan=0.0, posinf=1.0, neginf=0.0)
        shown = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    pixels = np.moveaxis(shown, 0, -1) if rgb else shown[0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def context_size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How many pixels become one, and the height and width of the thumbnail of an item."""
    height, width = shape[-2:]
    factor = math.ceil(max(height, width) / THUMBNAIL)
    return factor, math.ceil(height / factor), math.ceil(width / factor)


def thumbnail(pool: Pool, info: ItemInfo, box: Box, number: int, window: Window) -> bytes:
    """The whole plane of slice `number` of the region `box`, in small (means over blocks), as PNG."""
    whole = Box.whole(info.shape)
    plane = whole
    if len(info.shape) == 3:
        z = box.start[0] + number
        plane = Box(start=(z, 0, 0), stop=(z + 1, *whole.stop[1:]))
    factor, height, width = context_size(info.shape)
    pixels = samples(pool, info.id, plane)[: 3 if is_rgb(info) else 1]
    channels, tall, wide = pixels.shape
    padded = np.pad(pixels, ((0, 0), (0, height * factor - tall), (0, width * factor - wide)), mode="edge")
    blocks = padded.reshape(channels, height, factor, width, factor)
    small = blocks.mean(axis=(2, 4), dtype=np.float64 if padded.dtype.itemsize > 4 else np.float32)
    return png(small, window, rgb=is_rgb(info))
