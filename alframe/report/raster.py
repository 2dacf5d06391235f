"""Pixels for the page: one plane of an image as a small JPEG, an uncertainty map as a transparent PNG, outlines as paths.

Legend: ``C`` channels, ``Y X`` the plane shown, ``S`` the item's spatial axes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alframe.report.svg import num

__all__ = ["coloured", "grey", "heat", "outline", "photograph", "picture", "plane", "shrink"]

_INFERNO = np.array(
    [
        [0, 0, 4],
        [40, 11, 84],
        [101, 21, 110],
        [159, 42, 99],
        [212, 72, 66],
        [245, 125, 21],
        [250, 193, 39],
        [252, 255, 164],
    ],
    np.float64,
)
"""Eight anchors of Matplotlib's ``inferno`` (van der Walt & Smith 2015): even in lightness, safe for the colour-blind."""


def plane(array_S: NDArray[np.generic], axes: int) -> NDArray[np.generic]:
    """The middle slice of the last `axes` axes, with earlier axes (channels) kept; two spatial axes stay as they are."""
    return array_S[..., array_S.shape[-3] // 2, :, :] if axes == 3 else array_S


def shrink(image_CYX: NDArray[np.generic], factor: int) -> NDArray[np.float64]:
    """Mean over blocks of `factor` × `factor` pixels; the last row and column are repeated to fill their block."""
    values = image_CYX.astype(np.float64)
    if factor == 1:
        return values
    pads = [(0, 0)] * (values.ndim - 2) + [(0, -side % factor) for side in values.shape[-2:]]
    values = np.pad(values, pads, mode="edge")
    *lead, height, width = values.shape
    blocks = values.reshape(*lead, height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def picture(image_CYX: NDArray[np.generic], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Display values (Y, X, 3): three channels as RGB, otherwise the first as grey; `window` maps to black and white.

    What is not a number is black.
    """
    low, high = window
    scaled = np.clip((image_CYX.astype(np.float64) - low) / ((high - low) or 1.0), 0, 1)
    scaled = np.nan_to_num(scaled, nan=0.0)
    chosen = scaled if scaled.shape[0] == 3 else np.repeat(scaled[:1], 3, axis=0)
    return np.moveaxis(np.round(255 * chosen), 0, -1).astype(np.uint8)


def photograph(image_YX3: NDArray[np.uint8]) -> str:
    """A JPEG as a ``data:`` address."""
    import imageio.v3 as iio

    data = iio.imwrite("<bytes>", image_YX3, extension=".jpg", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def coloured(values_YX: NDArray[np.floating], highest: float) -> str:
    """A PNG as a ``data:`` address: 0 is black, `highest` the brightest of 64 opaque colours."""
    level = np.clip(values_YX.astype(np.float64) / (highest or 1.0), 0, 1)
    position = np.linspace(0, len(_INFERNO) - 1, 64)
    colours = np.stack([np.interp(position, np.arange(len(_INFERNO)), _INFERNO[:, c]) for c in range(3)], axis=-1)
    return _indexed(np.round(63 * level).astype(np.uint8), np.round(colours).astype(np.uint8))


def grey(values_YX: NDArray[np.floating]) -> str:
    """A PNG as a ``data:`` address: 0 is black, 1 is white, in 64 steps."""
    level = np.round(63 * np.clip(values_YX.astype(np.float64), 0, 1)).astype(np.uint8)
    ramp = np.round(np.linspace(0, 255, 64)).astype(np.uint8)
    return _indexed(level, np.repeat(ramp[:, None], 3, axis=1))


def _indexed(level_YX: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    import io

    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(level_YX)).convert("P")
    image.putdata(level_YX.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def heat(uncertainty_YX: NDArray[np.floating], highest: float) -> str:
    """A PNG as a ``data:`` address: the more uncertain, the brighter and the more opaque; `highest` is full scale."""
    import imageio.v3 as iio

    level = np.clip(uncertainty_YX.astype(np.float64) / (highest or 1.0), 0, 1)
    level = np.round(level * 23) / 23
    position = level * (len(_INFERNO) - 1)
    colours = np.stack([np.interp(position, np.arange(len(_INFERNO)), _INFERNO[:, c]) for c in range(3)], axis=-1)
    opacity = 235 * np.minimum(1.0, 1.2 * level)
    pixels = np.round(np.concatenate([colours, opacity[..., None]], axis=-1)).astype(np.uint8)
    data = iio.imwrite("<bytes>", pixels, extension=".png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def outline(classes_YX: NDArray[np.uint8], *, origin: Sequence[float], pixel: Sequence[float]) -> str:
    """Path data along the pixel edges where the class changes inside the map; `origin` and `pixel` place it (y, x)."""
    steps: list[str] = []
    for down in (True, False):
        values = classes_YX if down else classes_YX.T
        differs = values[1:] != values[:-1]
        for line, row in enumerate(differs, start=1):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
            for first, last in zip(edges[::2], edges[1::2], strict=True):
                if down:
                    x, y = origin[1] + first * pixel[1], origin[0] + line * pixel[0]
                    steps.append(f"M{num(x)} {num(y)}h{num((last - first) * pixel[1])}")
                else:
                    x, y = origin[1] + line * pixel[1], origin[0] + first * pixel[0]
                    steps.append(f"M{num(x)} {num(y)}v{num((last - first) * pixel[0])}")
    return "".join(steps)
