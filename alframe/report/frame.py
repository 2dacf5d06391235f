"""From the pixels of an item to the user units of a drawing.

Legend: ``Y X`` the plane that is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alframe.report import raster
from alframe.report.svg import tag
from alframe.types import Box

__all__ = ["Frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """From item pixels (y, x) to the thumbnail: `pixel` user units a pixel, `factor` image pixels a stored pixel."""

    top: int
    left: int
    pixel: tuple[float, float]
    factor: int
    height: float
    width: float

    @classmethod
    def of(cls, view: Box, spacing: tuple[float, ...], side: float) -> Frame:
        """A frame for the plane of `view` whose longest side is `side` user units, in the proportions of `spacing`."""
        rows, columns = view.shape[-2:]
        high, wide = rows * spacing[0], columns * spacing[1]
        scale = side / max(high, wide)
        return cls(
            top=view.start[-2],
            left=view.start[-1],
            pixel=(scale * spacing[0], scale * spacing[1]),
            factor=max(1, math.ceil(max(rows, columns) / (2 * side))),
            height=high * scale,
            width=wide * scale,
        )

    def _corner(self, box: Box) -> tuple[float, float, float, float]:
        y, x = (box.start[-2] - self.top) * self.pixel[0], (box.start[-1] - self.left) * self.pixel[1]
        return y, x, box.shape[-2] * self.pixel[0], box.shape[-1] * self.pixel[1]

    def image(self, address: str, box: Box, class_: str) -> str:
        """A picture that fills `box`."""
        y, x, height, width = self._corner(box)
        return tag(
            "image", href=address, x=x, y=y, width=width, height=height, class_=class_, preserveAspectRatio="none"
        )

    def rectangle(self, box: Box, class_: str) -> str:
        """The edge of `box`."""
        y, x, height, width = self._corner(box)
        return tag("rect", x=x, y=y, width=width, height=height, class_=class_)

    def path(self, classes: NDArray[np.generic], box: Box) -> str:
        """The borders of the classes (Y, X) inside `box`, as path data."""
        y, x, _, _ = self._corner(box)
        return raster.outline(np.asarray(classes, np.uint8), origin=(y, x), pixel=self.pixel)

    def outline(self, classes: NDArray[np.generic], box: Box, class_: str) -> str:
        """The borders of the classes (Y, X) inside `box`, with a dark casing below."""
        path = self.path(classes, box)
        return tag("path", d=path, class_=f"case {class_}") + tag("path", d=path, class_=class_)
