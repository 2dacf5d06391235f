"""Regions as pictures that people look at: 8-bit grey or RGB, and the whole item with the region framed.

Legend: ``C`` channels, ``Y X`` the plane, ``S`` the item's spatial axes.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from alframe.ports import Pool
from alframe.types import Box

__all__ = ["as_bytes", "context", "framed", "grey_window", "png", "visible"]

_FRAME = (255, 196, 0)
_LARGEST = 1024
"""Longer side of a context picture, in pixels."""


def grey_window(image_CS: NDArray[Any]) -> tuple[float, float]:
    """Black and white point: all of a byte's range, else the 1st and 99th percentile of the first channel."""
    if image_CS.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(image_CS[0], (1, 99))
    return float(low), float(max(high, low + 1e-9))


def visible(image_CYX: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """(Y, X, 3) where there are three channels, else (Y, X) of the first; `window` becomes black and white."""
    low, high = window
    chosen = np.moveaxis(image_CYX, 0, -1) if image_CYX.shape[0] == 3 else image_CYX[0]
    if chosen.dtype == np.uint8 and window == (0.0, 255.0):
        return np.ascontiguousarray(chosen)
    return as_bytes((chosen.astype(np.float64) - low) / (high - low))


def as_bytes(share: NDArray[Any]) -> NDArray[np.uint8]:
    """0 … 1 as 0 … 255."""
    scaled: NDArray[np.uint8] = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return scaled


def png(array: NDArray[Any]) -> bytes:
    """A PNG file of an array (Y, X) of uint8 or uint16, or (Y, X, 3) of uint8."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, "PNG")
    return stream.getvalue()


def context(pool: Pool, item: str, box: Box) -> bytes | None:
    """A PNG of a flat item, at most 1024 pixels a side, with the box framed; None where the box is all of it."""
    info = pool.info(item)
    if len(info.shape) != 2 or box.shape == info.shape:
        return None
    step = max(1, -(-max(info.shape) // _LARGEST))
    image = pool.image(item)[:, ::step, ::step]
    picture = Image.fromarray(visible(image, grey_window(image))).convert("RGB")
    (top, left), (bottom, right) = ([value // step for value in corner] for corner in (box.start, box.stop))
    frame = (left - 1, top - 1, max(right, left + 1), max(bottom, top + 1))
    ImageDraw.Draw(picture).rectangle(frame, outline=_FRAME, width=max(1, max(picture.size) // 400))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def framed(plane: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """A picture (Y, X, 3) with a frame of one pixel around a box; no pixel of the box itself is touched."""
    picture = Image.fromarray(plane).convert("RGB")
    (top, left), (bottom, right) = box.start, box.stop
    ImageDraw.Draw(picture).rectangle((left - 1, top - 1, right, bottom), outline=_FRAME)
    return np.asarray(picture)
