"""One colour for each class, the same in every front end and tool: the first seven safe for the colour-blind (Okabe & Ito 2008)."""

from __future__ import annotations

import colorsys

__all__ = ["colour", "rgb"]

_FIRST = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_GOLDEN = 0.618033988749895
"""A step of hue that never comes back to the same place."""


def colour(class_id: int) -> str:
    """``#rrggbb`` of a class; background (0) is black."""
    if class_id < len(_FIRST):
        return _FIRST[class_id]
    steps = class_id - len(_FIRST)
    lightness = (0.45, 0.65, 0.3)[steps % 3]
    channels = colorsys.hls_to_rgb((0.05 + steps * _GOLDEN) % 1.0, lightness, 0.75)
    return "#" + "".join(f"{round(255 * value):02x}" for value in channels)


def rgb(class_id: int) -> tuple[int, int, int]:
    """The same as three bytes."""
    text = colour(class_id)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
