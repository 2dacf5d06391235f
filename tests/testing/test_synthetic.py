"""Synthetic data: deterministic, true to its labels, and not trivial."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from alframe.errors import InvalidValue
from alframe.readers import scan
from alframe.storage import write_pool
from alframe.testing import Habits, histology, redraw, volumes, write_histology, write_volumes
from alframe.testing.synthetic import KINDS
from alframe.types import LabelMap, Split


@pytest.fixture(scope="module")
def samples():
    return histology(60, size=96, seed=3)


def test_an_image_depends_on_its_number_and_seed_only(samples):
    again = histology(7, size=96, seed=3)
    for a, b in zip(again, samples, strict=False):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.labels.instances, b.labels.instances)
    other = histology(1, size=96, seed=4)[0]
    assert (other.image != samples[0].image).any()


def test_every_object_is_one_piece_with_a_number_of_its_own(samples):
    for sample in samples:
        objects = sample.labels.instances
        np.testing.assert_array_equal(sample.labels.classes, objects > 0)
        numbers = np.unique(objects[objects > 0])
        assert list(numbers) == list(range(1, len(numbers) + 1))
        for number in numbers:
            assert ndimage.label(objects == number)[1] == 1
            assert (objects == number).sum() >= 60


def test_it_is_varied(samples):
    assert {sample.kind for sample in samples} == set(KINDS)
    share = [sample.labels.classes.mean() for sample in samples]
    assert 0.1 < np.mean(share) < 0.4
    assert min(share) < 0.05
    assert max(share) > 0.35
    assert len({sample.group for sample in samples}) == 10
    stains = np.array([sample.image.mean((1, 2)) for sample in samples])
    between = np.array([stains[k : k + 6].mean(0) for k in range(0, 60, 6)]).std(0)
    assert (between > 2).all()


def test_colour_tells_glands_but_not_perfectly(samples):
    """A threshold on one colour is better than chance and far from good: there is something to learn."""
    best = []
    for sample in samples:
        if not 0.05 < sample.labels.classes.mean() < 0.6:
            continue
        red = ndimage.gaussian_filter(sample.image[0].astype(float), 2)
        truth = sample.labels.classes == 1
        guesses = [red < np.quantile(red, q) for q in np.linspace(0.05, 0.6, 12)]
        best.append(max(2 * (guess & truth).sum() / (guess.sum() + truth.sum()) for guess in guesses))
    assert 0.3 < np.mean(best) < 0.8


def test_volumes_have_three_classes_and_wild_scales():
    made = volumes(20, seed=1)
    for sample in made:
        assert sample.image.shape == (1, 24, 32, 32)
        assert sample.image.dtype == np.float32
        assert set(np.unique(sample.labels.classes)) == {0, 1, 2}
    tops = [float(sample.image.max()) for sample in made]
    assert max(tops) > 100 * min(tops)


@pytest.mark.parametrize(
    "make", [lambda: histology(0), lambda: histology(1, size=10), lambda: volumes(1, shape=(4, 4, 4))]
)
def test_impossible_requests(make):
    with pytest.raises(InvalidValue):
        make()


def disc(radius: float, size: int = 61) -> LabelMap:
    y, x = np.indices((size, size)) - size // 2
    objects = (np.hypot(y, x) < radius).astype(np.int32)
    return LabelMap(classes=objects.astype(np.uint8), instances=objects)


@pytest.mark.parametrize("shift", [-4.0, -2.0, 2.0, 5.0])
def test_a_shifted_border_is_that_far_away(shift):
    moved = redraw(disc(15), Habits(shift=shift), 1)
    radius = np.sqrt(moved.classes.sum() / np.pi)
    assert abs(radius - 15 - shift) < 0.5


def test_an_object_at_the_edge_does_not_shrink_from_the_edge():
    objects = np.zeros((30, 30), np.int32)
    objects[10:20, :10] = 1
    moved = redraw(LabelMap(classes=objects.astype(np.uint8), instances=objects), Habits(shift=-2), 1)
    expected = np.zeros((30, 30), bool)
    expected[12:18, :8] = True
    np.testing.assert_array_equal(moved.classes == 1, expected)


def test_missed_and_split_objects():
    labels = histology(1, size=128, seed=11)[0].labels
    count = len(np.unique(labels.instances)) - 1
    assert count >= 2
    assert not redraw(labels, Habits(miss=1), 1).classes.any()
    parted = redraw(labels, Habits(split=1), 1).instances
    assert len(np.unique(parted)) - 1 >= 2 * count - 1
    assert ((parted > 0) <= (labels.instances > 0)).all()
    for number in np.unique(parted[parted > 0]):
        assert len(np.unique(labels.instances[parted == number])) == 1


def test_wobble_keeps_the_size_and_moves_the_border():
    areas = [redraw(disc(18), Habits(wobble=2), k).classes.sum() for k in range(40)]
    assert abs(np.mean(areas) / disc(18).classes.sum() - 1) < 0.05
    assert np.std(areas) > 5


def test_a_rater_is_the_same_for_the_same_identity_and_keeps_the_unknown():
    labels = histology(1, size=128, seed=11)[0].labels
    labels.classes[:20] = 255
    habits = Habits(wobble=1.5, miss=0.3, split=0.3)
    first, again, other = (redraw(labels, habits, *who) for who in ((1, "anna"), (1, "anna"), (1, "bo")))
    np.testing.assert_array_equal(first.instances, again.instances)
    assert (first.classes != other.classes).any()
    assert (first.classes[:20] == 255).all()
    assert not first.instances[:20].any()
    assert set(np.unique(first.classes[20:])) <= {0, 1}


def test_nothing_to_move():
    full = np.ones((8, 8), np.int32)
    labels = LabelMap(classes=full.astype(np.uint8), instances=full)
    np.testing.assert_array_equal(redraw(labels, Habits(shift=-3), 0).instances, full)
    with pytest.raises(InvalidValue, match="instances"):
        redraw(LabelMap.blank((3, 3)), Habits(), 0)
    with pytest.raises(InvalidValue, match="chances"):
        Habits(miss=1.5)


def test_histology_goes_through_the_real_ingest(tmp_path: Path, samples):
    settings = write_histology(tmp_path / "data", count=60, size=96, seed=3)
    items = scan(settings)
    pool = write_pool(tmp_path / "pool", items, classes=settings.classes)
    for sample in samples:
        np.testing.assert_array_equal(pool.image(sample.id), sample.image)
        np.testing.assert_array_equal(pool.truth(sample.id).instances, sample.labels.instances)
        assert pool.info(sample.id).group == sample.group
    assert {info.split for info in pool.items()} == set(Split)


def test_simulated_raters_on_disk(tmp_path: Path):
    raters = {"exact": Habits(), "generous": Habits(shift=2), "hasty": Habits(miss=0.4)}
    items = scan(write_histology(tmp_path, count=18, size=64, seed=1, raters=raters))
    assert all(item.info.raters == ("exact", "generous", "hasty") for item in items)
    area = {name: sum(int(item.load().truth[name].classes.sum()) for item in items) for name in raters}
    assert area["generous"] > area["exact"] > area["hasty"]


def test_volumes_go_through_the_real_ingest(tmp_path: Path):
    items = scan(write_volumes(tmp_path, count=9, shape=(14, 16, 18), seed=2))
    for item, sample in zip(items, volumes(9, shape=(14, 16, 18), seed=2), strict=True):
        arrays = item.load()
        assert item.info.spacing == (1.0, 1.0, 1.0)
        np.testing.assert_array_equal(arrays.image, sample.image)
        np.testing.assert_array_equal(arrays.truth["expert"].classes, sample.labels.classes)
