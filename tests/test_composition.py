"""Composition against a pixel-by-pixel replay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import filters, morphology

from alframe.composition import Placed, compose, compose_by_rater, compose_contours, contour_length, contour_target
from alframe.types import UNANNOTATED, Box, LabelMap

SHAPE = (6, 7)


@st.composite
def placed(draw: st.DrawFn) -> Placed:
    start = tuple(draw(st.integers(0, n - 1)) for n in SHAPE)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True))
    box = Box(start=start, stop=stop)
    values = draw(st.lists(st.sampled_from([0, 1, 2, UNANNOTATED]), min_size=box.size, max_size=box.size))
    classes = np.array(values, np.uint8).reshape(box.shape)
    return Placed(rater=draw(st.sampled_from("abc")), box=box, labels=LabelMap(classes=classes))


def replay(answers: list[Placed]) -> np.ndarray:
    """Majority over raters, each pixel on its own; ties to the earliest rater that voted for a tied class."""
    out = np.full(SHAPE, UNANNOTATED, np.uint8)
    for pixel in np.ndindex(SHAPE):
        said: dict[str, int] = {}
        order: list[str] = []
        for answer in answers:
            if answer.rater not in order:
                order.append(answer.rater)
            inside = all(a <= p < b for a, p, b in zip(answer.box.start, pixel, answer.box.stop, strict=True))
            if inside:
                value = answer.labels.classes[tuple(p - a for p, a in zip(pixel, answer.box.start, strict=True))]
                if value != UNANNOTATED:
                    said[answer.rater] = int(value)
        if said:
            counts = {c: list(said.values()).count(c) for c in said.values()}
            best = max(counts.values())
            out[pixel] = next(said[r] for r in order if r in said and counts[said[r]] == best)
    return out


@given(st.lists(placed(), max_size=7))
def test_composition_equals_a_replay_of_every_pixel(answers: list[Placed]) -> None:
    assert np.array_equal(compose(SHAPE, answers).classes, replay(answers))


def test_a_later_answer_of_the_same_rater_corrects_the_earlier_one() -> None:
    box = Box.whole((2, 2))
    first = Placed(rater="a", box=box, labels=LabelMap(classes=np.zeros((2, 2), np.uint8)))
    second = Placed(rater="a", box=box, labels=LabelMap(classes=np.ones((2, 2), np.uint8)))
    assert compose((2, 2), [first, second]).classes.tolist() == [[1, 1], [1, 1]]


def test_objects_come_from_the_earliest_rater_who_agrees_with_the_majority() -> None:
    box = Box.whole((1, 3))

    def says(rater: str, classes: list[int], objects: list[int]) -> Placed:
        labels = LabelMap(classes=np.array([classes], np.uint8), instances=np.array([objects], np.int32))
        return Placed(rater=rater, box=box, labels=labels)

    found = compose(
        (1, 3),
        [says("a", [0, 1, 1], [0, 5, 5]), says("b", [1, 1, 0], [7, 7, 0]), says("c", [1, 1, 0], [9, 9, 0])],
        instances=True,
    )
    assert found.classes.tolist() == [[1, 1, 0]]
    assert found.instances is not None
    assert found.instances.tolist() == [[7, 5, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_contours_agree_with_sobel_and_a_disk_inside_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3) > 0.02)
    labels = LabelMap(classes=(objects > 0).astype(np.uint8), instances=objects.astype(np.int32))
    sobel = filters.sobel(objects.astype(float)) > 0
    reference = morphology.dilation(sobel, morphology.disk(3))
    assert np.mean(contour_target(labels).astype(bool) == reference) > 0.995


def test_the_frame_of_a_region_is_not_an_object_border() -> None:
    inside = LabelMap(classes=np.ones((9, 9), np.uint8), instances=np.full((9, 9), 4, np.int32))
    target = compose_contours((20, 20), [Placed(rater="a", box=Box(start=(5, 5), stop=(14, 14)), labels=inside)])
    assert set(np.unique(target)) == {0, UNANNOTATED}


def test_contour_length_of_a_square_is_its_border() -> None:
    classes = np.zeros((10, 10), np.uint8)
    classes[2:7, 3:8] = 1
    assert contour_length(LabelMap(classes=classes)) == 16


def test_each_raters_own_labels_come_in_the_order_of_their_first_answers() -> None:
    first = Placed(
        rater="bo", box=Box(start=(0, 0), stop=(1, 2)), labels=LabelMap(classes=np.array([[1, 255]], np.uint8))
    )
    second = Placed(rater="al", box=Box(start=(0, 1), stop=(1, 2)), labels=LabelMap(classes=np.array([[0]], np.uint8)))
    third = Placed(rater="bo", box=Box(start=(0, 1), stop=(1, 2)), labels=LabelMap(classes=np.array([[2]], np.uint8)))
    found = compose_by_rater((1, 3), [first, second, third])
    assert {name: own.classes.tolist() for name, own in found.items()} == {"bo": [[1, 2, 255]], "al": [[255, 0, 255]]}
    assert list(found) == ["bo", "al"]
