"""One colour for each class, the same in every front end and program."""

from __future__ import annotations

import colorsys

__all__ = ["colour", "rgb"]

_BACKGROUND = "#8c8c8c"
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
"""Okabe & Ito (2008): told apart by the colour-blind; those that stand out from stained tissue come first."""


def colour(class_id: int) -> str:
    """``#rrggbb`` of a class; background (0) is grey."""
    if class_id == 0:
        return _BACKGROUND
    if class_id <= len(_COLOURS):
        return _COLOURS[class_id - 1]
    hue = (class_id * 0.6180339887) % 1.0  # the golden angle spreads any number of hues
    red, green, blue = colorsys.hls_to_rgb(hue, 0.4 + 0.2 * (class_id % 2), 0.65)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def rgb(class_id: int) -> tuple[int, int, int]:
    """The same as three bytes."""
    text = colour(class_id)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
