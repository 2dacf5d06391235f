"""The run-length encoder against COCO's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from alframe.report import rle


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_it_writes_what_pycocotools_writes(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = rle.encode(mask)
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}


# pycocotools 2.0 wraps its result in an array class from before NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_long_runs_come_back_as_they_were(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, left = rng.integers(0, height), rng.integers(0, width)
    mask[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
    written = rle.encode(mask)
    back = coco.decode({"size": written["size"], "counts": str(written["counts"]).encode()})
    np.testing.assert_array_equal(back.astype(bool), mask)
    theirs = coco.toBbox(coco.encode(np.asfortranarray(mask.astype(np.uint8))))
    assert rle.bounding_box(mask) == [int(value) for value in theirs]


@pytest.mark.parametrize("value", [True, False])
def test_runs_begin_with_those_that_are_off(value: bool) -> None:
    assert rle.runs(np.full((3, 4), value)).tolist() == ([0, 12] if value else [12])
