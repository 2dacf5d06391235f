"""Pixels for the page."""

from __future__ import annotations

import base64
import re

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alframe.annotator import pictures
from alframe.report import raster
from alframe.report.reading import read_arm
from alframe.report.selection import _around, _slab, galleries
from alframe.testing.fake_campaign import Recorded

masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 2)
)


@given(masks)
def test_an_outline_is_every_edge_between_two_classes(mask: np.ndarray) -> None:
    path = raster.outline(mask, origin=(0, 0), pixel=(1, 1))
    drawn = set()
    for x, y, way, length in re.findall(r"M([\d.]+) ([\d.]+)([hv])([\d.]+)", path):
        for step in range(int(float(length))):
            drawn.add((float(x) + step * (way == "h"), float(y) + step * (way == "v"), way))
    expected = {
        (float(x), float(y), "h")
        for y in range(1, mask.shape[0])
        for x in range(mask.shape[1])
        if mask[y, x] != mask[y - 1, x]
    } | {
        (float(x), float(y), "v")
        for y in range(mask.shape[0])
        for x in range(1, mask.shape[1])
        if mask[y, x] != mask[y, x - 1]
    }
    assert drawn == expected


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)), st.integers(1, 4))
def test_shrinking_takes_the_mean_of_blocks(image: np.ndarray, factor: int) -> None:
    small = raster.shrink(image, factor)
    for c, y, x in np.ndindex(small.shape):
        rows = np.minimum(np.arange(y * factor, (y + 1) * factor), image.shape[1] - 1)
        columns = np.minimum(np.arange(x * factor, (x + 1) * factor), image.shape[2] - 1)
        assert small[c, y, x] == pytest.approx(image[c][np.ix_(rows, columns)].astype(float).mean())


def test_the_middle_slice_of_a_volume_and_the_whole_of_an_image() -> None:
    volume = np.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 4)
    np.testing.assert_array_equal(raster.plane(volume, 3), volume[:, 2])
    np.testing.assert_array_equal(raster.plane(volume[:, 0], 2), volume[:, 0])


def _decode(address: str) -> np.ndarray:
    return np.asarray(iio.imread(base64.b64decode(address.split(",", 1)[1])))


def test_more_uncertain_is_brighter_and_more_opaque() -> None:
    pixels = _decode(raster.heat(np.array([[0.0, 0.1, 0.3, 0.5, 9.0]]), 0.5))[0].astype(int)
    assert pixels[0, 3] == 0
    assert np.all(np.diff(pixels[:4, 3]) > 0)
    assert np.all(np.diff(pixels[:4, :3].sum(axis=1)) > 0)
    np.testing.assert_array_equal(pixels[3], pixels[4])


def test_an_uncertainty_of_zero_everywhere_is_transparent() -> None:
    assert _decode(raster.heat(np.zeros((4, 4)), 0.0))[..., 3].max() == 0


def test_values_are_shown_from_black_to_white_between_the_ends_of_the_window() -> None:
    image = np.linspace(1000, 3000, 101).astype(np.uint16).reshape(1, 1, 101)
    shown = raster.picture(image, (1020.0, 2980.0))
    assert shown.shape == (1, 101, 3)
    assert shown[0, :2].tolist() == [[0, 0, 0]] * 2
    assert shown[0, -2:].tolist() == [[255, 255, 255]] * 2
    assert shown[0, 50, 0] == pytest.approx(127.5, abs=0.5)


def test_what_is_not_a_number_is_black_and_what_is_infinite_white() -> None:
    image = np.array([[[np.nan, -np.inf, 1.0, np.inf]]], np.float32)
    assert raster.picture(image, (0.0, 2.0))[0, :, 0].tolist() == [0, 0, 128, 255]


def test_colour_stays_colour() -> None:
    image = np.array([200, 100, 50], np.uint8).reshape(3, 1, 1).repeat(16, axis=1).repeat(16, axis=2)
    seen = _decode(raster.photograph(raster.picture(image, (0.0, 255.0))))
    assert np.abs(seen.astype(int) - [200, 100, 50]).max() <= 4


def test_a_region_is_as_bright_in_the_report_as_on_the_labelling_page(scans: Recorded) -> None:
    pool, (name,) = scans.pool, scans.names
    arm = read_arm(scans.ledger, pool, name)
    compared = 0
    for gallery in galleries(arm, scans.artifacts, pool):
        for query, card in zip(arm.queries[gallery.round], gallery.cards, strict=False):
            info = pool.info(query.item)
            plane = _slab(_around(query.box, info.shape), query.box)
            page = pictures.png(
                pictures.samples(pool, query.item, plane),
                pictures.window_of(info, pool.intensities(query.item)),
                rgb=False,
            )
            photo = _decode(re.findall('href="(data:image/jpeg[^"]+)"', str(card.drawing))[0])
            difference = photo[..., 0].astype(int) - iio.imread(page)
            assert np.abs(difference).mean() < 6  # what JPEG loses
            assert abs(difference.mean()) < 1
            compared += 1
    assert compared >= 8
