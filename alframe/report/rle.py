"""Run-length encoding of binary masks as COCO's tools read it (Lin et al. 2014, format as in the reference ``maskApi.c``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bounding_box", "encode", "runs"]


def runs(mask_YX: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs down the columns, alternately off and on, beginning with off (which may be 0)."""
    flat = np.asarray(mask_YX, bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(ends)
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def encode(mask_YX: NDArray[np.bool_]) -> dict[str, list[int] | str]:
    """The mask as ``{"size": [height, width], "counts": text}``, the compressed form of ``pycocotools``.

    From the fourth run on, each length is written as its difference to the one two places before; then in groups of five bits,
    lowest first, a sixth bit saying that more follow, each group as the character 48 + value.
    """
    lengths = [int(length) for length in runs(mask_YX)]
    characters: list[str] = []
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        while True:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            characters.append(chr(48 + (group | (0x20 if more else 0))))
            if not more:
                break
    return {"size": [int(side) for side in mask_YX.shape], "counts": "".join(characters)}


def bounding_box(mask_YX: NDArray[np.bool_]) -> list[int]:
    """``[x, y, width, height]`` in pixels of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask_YX.any(axis=1)), np.flatnonzero(mask_YX.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
