"""Objects from probabilities, against scikit-image and scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from alframe.errors import InvalidValue
from alframe.metrics import MetricSpec, instances_from, observe, summarise
from alframe.types import LabelMap


def drawing(text: str) -> np.ndarray:
    return np.array([[0.9 if mark == "#" else 0.1 for mark in row] for row in text.split()])


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10_000), axes=st.integers(2, 3), min_size=st.integers(0, 9), dilate=st.sampled_from([0, 1, 2.5])
)
def test_equals_the_steps_done_with_scikit_image(seed, axes, min_size, dilate):
    from skimage.measure import label
    from skimage.segmentation import expand_labels, relabel_sequential

    random = np.random.default_rng(seed)
    foreground, contour = random.random((2, *(9,) * axes))
    expected = label((foreground >= 0.4) & (contour < 0.4), connectivity=1)
    count = expected.max()
    for number in range(1, count + 1):
        filled = ndimage.binary_fill_holes(expected == number)
        expected[filled & (expected == 0)] = number
    for number in range(1, count + 1):
        if (expected == number).sum() < min_size:
            expected[expected == number] = 0
    expected = relabel_sequential(expected)[0]
    if dilate:
        expected = expand_labels(expected, dilate)
    got = instances_from(foreground, contour, threshold=0.4, min_size=min_size, dilate=dilate)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)


def test_a_contour_separates_and_dilation_gives_its_pixels_back():
    foreground = np.zeros((7, 11))
    foreground[1:6, 1:10] = 0.9
    contour = np.zeros_like(foreground)
    contour[:, 5] = 0.8
    apart = instances_from(foreground, contour)
    assert apart.max() == 2
    assert (apart[:, 5] == 0).all()
    together = instances_from(foreground, contour, dilate=1)
    assert together.max() == 2
    assert (together[1:6, 5] > 0).all()


def test_holes_are_filled_and_a_small_object_is_dropped():
    got = instances_from(drawing("##### #...# #...# ##### ..... ....#"), None, min_size=2)
    assert (got[:4] == 1).all()
    assert not got[4:].any()


def test_an_object_inside_a_hole_keeps_its_number():
    got = instances_from(drawing("##### #...# #.#.# #...# #####"), None)
    assert got[2, 2] == 2
    assert (np.delete(got.ravel(), 12) == 1).all()


def test_background_between_two_objects_is_no_hole():
    got = instances_from(drawing(".###. ##.## .....  ##.## .###."), None)
    assert got.max() == 2
    assert not got[2].any()


def test_no_foreground_gives_no_object():
    assert not instances_from(np.zeros((4, 5)), None, dilate=2).any()


def test_wrong_options_are_refused():
    p = np.zeros((3, 3))
    with pytest.raises(InvalidValue, match="differ in shape"):
        instances_from(p, p[:2])
    with pytest.raises(InvalidValue, match="negative"):
        instances_from(p, None, min_size=-1)


def test_real_glands_come_back_from_their_own_contours(glas_masks):
    from alframe.composition import CONTOUR_RADIUS, contour_target

    spec = MetricSpec(classes=("background", "gland"), objects=True)
    states = []
    for name, instances in glas_masks:
        truth = LabelMap(classes=(instances > 0).astype(np.uint8), instances=instances)
        mean = np.stack([instances == 0, instances > 0]).astype(np.float32)
        contour = contour_target(truth).astype(np.float32)
        found = instances_from(mean[1], contour, min_size=spec.min_object, dilate=CONTOUR_RADIUS + 1)
        states.append(observe(spec, item=name, mean=mean, truth=truth, instances=found))
    value = {m.name: m.value for m in summarise(spec, states[0].merge(*states[1:])) if not m.label}
    assert value["object_f1"] > 0.95
    assert value["object_dice"] > 0.97
