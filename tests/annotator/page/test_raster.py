"""Brush, polygon and fill of the page against brute force in whole numbers, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from alframe import seeding

from .conftest import Run, packed, unpacked
from .shapes import capsule, polygon, snapped, stroke

pytestmark = pytest.mark.browser

SHAPE = (40, 52)
BRUSH = """
const { snap, capsule } = await load("core/raster.js");
const plane = new Uint8Array(height * width);
let last = null;
for (const [x, y] of points) {
  const at = snap(x, y, diameter);
  capsule(last ?? at, at, diameter, width, height, (row, from, to) => plane.fill(1, row * width + from, row * width + to));
  last = at;
}
return text(plane);
"""
coordinates = st.floats(-12, 60, allow_nan=False, width=32)


@settings(max_examples=150)
@given(
    points=st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=4),
    diameter=st.one_of(st.integers(1, 9), st.integers(10, 70)),
)
def test_a_brush_stroke_is_all_pixels_near_its_path(run: Run, points: list[tuple[float, float]], diameter: int) -> None:
    height, width = SHAPE
    drawn = run(BRUSH, points=points, diameter=diameter, height=height, width=width)
    np.testing.assert_array_equal(unpacked(drawn, SHAPE).astype(bool), stroke(points, diameter, SHAPE))


def test_where_the_float_guess_ties_the_whole_numbers_decide(run: Run) -> None:
    """Slopes 3 : 4 make distances rational, so that pixels lie exactly on the border."""
    for diameter in range(1, 25):
        points = [(4.0, 4.0), (4.0 + 24, 4.0 + 18), (40.0, 6.0)]
        drawn = unpacked(run(BRUSH, points=points, diameter=diameter, height=40, width=52), SHAPE)
        np.testing.assert_array_equal(drawn.astype(bool), stroke(points, diameter, SHAPE))


def test_the_smallest_brush_is_the_pixel_under_the_pointer(run: Run) -> None:
    drawn = unpacked(run(BRUSH, points=[(7.01, 3.99)], diameter=1, height=40, width=52), SHAPE)
    assert np.argwhere(drawn).tolist() == [[3, 7]]
    assert snapped(7.01, 3.99, 1) == (7.5, 3.5)
    assert capsule((2.0, 2.0), (2.0, 2.0), 2, SHAPE).sum() == 4


@settings(max_examples=150)
@given(points=st.lists(st.tuples(st.integers(-8, 60), st.integers(-8, 48)), min_size=3, max_size=9))
def test_a_polygon_is_even_odd(run: Run, points: list[tuple[int, int]]) -> None:
    script = """
    const { polygon } = await load("core/raster.js"), plane = new Uint8Array(height * width);
    polygon(points, width, height, (row, from, to) => plane.fill(1, row * width + from, row * width + to));
    return text(plane);
    """
    drawn = run(script, points=points, height=SHAPE[0], width=SHAPE[1])
    np.testing.assert_array_equal(unpacked(drawn, SHAPE).astype(bool), polygon(points, SHAPE))


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), density=st.floats(0.3, 0.7))
def test_fill_takes_what_is_connected(run: Run, seed: int, density: float) -> None:
    rng = seeding.generator(seed, "fill")
    plane = (rng.random(SHAPE) < density).astype(np.uint8)
    y, x = (int(rng.integers(size)) for size in SHAPE)
    script = """
    const { flood } = await load("core/raster.js"), found = bytes(plane), spans = [];
    flood(found, width, height, x, y, (row, from, to) => {
      spans.push([row, from, to]);
      found.fill(9, row * width + from, row * width + to);
    });
    return { plane: text(found), pixels: spans.reduce((sum, [, from, to]) => sum + to - from, 0) };
    """
    found = run(script, plane=packed(plane), x=x, y=y, height=SHAPE[0], width=SHAPE[1])
    parts = ndimage.label(plane == plane[y, x])[0]
    expected = np.where(parts == parts[y, x], 9, plane)
    np.testing.assert_array_equal(unpacked(found["plane"], SHAPE), expected)
    assert found["pixels"] == (expected == 9).sum()  # no pixel twice
