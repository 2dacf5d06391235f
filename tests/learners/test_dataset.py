"""Training patches: every one holds an annotated pixel, shows what is there, and invents nothing beyond the item."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe.errors import InvalidValue
from alframe.learners.dataset import PixelIndex, TrainingSet
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import UNANNOTATED, LabelMap


@given(seed=st.integers(0, 9999), share=st.floats(0.01, 1), axes=st.integers(2, 3))
@settings(max_examples=50)
def test_the_nth_set_pixel_is_that_of_a_list(seed: int, share: float, axes: int) -> None:
    mask = np.random.default_rng(seed).random((4, 5, 6)[:axes]) < share
    index = PixelIndex(mask)
    listed = np.argwhere(mask)
    assert index.count == len(listed)
    assert [index.find(n, mask) for n in range(index.count)] == [tuple(row) for row in listed]


def one_item(classes: np.ndarray, *, cache_mib: int = 16) -> TrainingSet:
    """An item whose pixel values are their own positions."""
    image = np.arange(classes.size, dtype=np.uint16).reshape(1, *classes.shape) + 1
    pool = MemoryPool([pool_item("only", image)], classes=("background", "object"))
    labels = MemoryLabels(maps={"only": LabelMap(classes=classes)})
    return TrainingSet(fit_task(pool, labels), normalise="range", contours=True, cache_mib=cache_mib)


@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    patch=st.tuples(st.integers(2, 16), st.integers(2, 16)),
    extra=st.integers(0, 5),
    cache=st.sampled_from([0, 16]),
)
@settings(max_examples=60)
def test_a_patch_holds_an_annotated_pixel_and_the_truth(
    seed: int, shape: tuple[int, int], patch: tuple[int, int], extra: int, cache: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = np.full(shape, UNANNOTATED, np.uint8)
    classes[tuple(rng.integers(0, shape))] = 1
    data = one_item(classes, cache_mib=cache)
    source = tuple(side + extra for side in patch)
    piece = data.draw(rng, patch=patch, source=source, foreground=0.5)
    assert piece.image.shape == (1, *source)
    assert piece.classes.shape == source
    inner = tuple(slice(extra // 2, extra // 2 + side) for side in patch)
    known = piece.classes != UNANNOTATED
    assert (piece.classes[inner] == 1).any()
    assert known.sum() == 1
    assert piece.contours is not None
    np.testing.assert_array_equal(piece.contours != UNANNOTATED, known)
    values = piece.image[0][known]
    assert values == np.flatnonzero(classes.ravel() == 1) + 1
    assert set(piece.image.ravel()) <= set(range(1, classes.size + 1))


def test_each_annotated_pixel_is_sought_equally_often() -> None:
    classes = np.full((20, 20), UNANNOTATED, np.uint8)
    classes[2, 3], classes[17, 4:7] = 0, 1
    data = one_item(classes)
    rng = np.random.default_rng(0)
    draws = [data.draw(rng, patch=(1, 1), source=(1, 1), foreground=0.0).image.item() for _ in range(2000)]
    share = {value: count / len(draws) for value, count in Counter(draws).items()}
    assert sorted(share) == [44, 345, 346, 347]
    assert all(part == pytest.approx(0.25, abs=0.04) for part in share.values())
    wanted = [data.draw(rng, patch=(1, 1), source=(1, 1), foreground=1.0).classes.item() for _ in range(50)]
    assert set(wanted) == {1}


def test_foreground_is_not_sought_where_there_is_none() -> None:
    data = one_item(np.zeros((6, 6), np.uint8))
    piece = data.draw(np.random.default_rng(0), patch=(4, 4), source=(4, 4), foreground=1.0)
    assert not piece.classes.any()


def test_reading_patches_from_the_pool_gives_the_same_as_memory() -> None:
    pool = blob_pool()
    sets = [TrainingSet(fit_task(pool), normalise="zscore", contours=True, cache_mib=mib) for mib in (0, 64)]
    draws = [
        [data.draw(np.random.default_rng(n), patch=(24, 24), source=(40, 30), foreground=0.3) for n in range(12)]
        for data in sets
    ]
    for read, cached in zip(*draws, strict=True):
        np.testing.assert_array_equal(read.image, cached.image)
        np.testing.assert_array_equal(read.classes, cached.classes)
        np.testing.assert_array_equal(read.affine.shift, cached.affine.shift)


def test_nothing_annotated_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one annotated pixel"):
        one_item(np.full((4, 4), UNANNOTATED, np.uint8))
