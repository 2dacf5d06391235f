"""What every :class:`alframe.ports.Pool` must do. Subclass and give :meth:`PoolContract.make`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from alframe.errors import DataError, InvalidValue, NotFound
from alframe.ports import ItemArrays, Pool, PoolItem
from alframe.types import Box, Intensities, ItemInfo, LabelMap, Split

__all__ = ["CLASSES", "PoolContract", "sample_items"]

CLASSES = ("background", "gland", "tumour")


def _labels(rng: np.random.Generator, shape: tuple[int, ...], *, empty: bool = False) -> LabelMap:
    classes = np.zeros(shape, np.uint8) if empty else rng.choice(np.array([0, 1, 2, 255], np.uint8), shape)
    objects = np.where(classes == 1, rng.integers(1, 90_000, shape), 0).astype(np.int32)
    return LabelMap(classes=classes, instances=objects)


def sample_items(axes: int = 2, seed: int = 7) -> tuple[PoolItem, ...]:
    """Five items, not in the order of their ids: several dtypes, splits, zero to three raters, an all-zero image and mask."""
    rng = np.random.default_rng(seed)
    plan: list[tuple[str, str, Split, tuple[str, ...]]] = [
        ("zeta", "uint8", Split.TRAIN, ("anna", "bo", "cy")),
        ("alpha", "uint16", Split.TEST, ("bo",)),
        ("Über 1", "float32", Split.VALIDATION, ("anna", "bo")),
        ("blank", "uint8", Split.TRAIN, ("anna",)),
        ("unread", "int16", Split.TRAIN, ()),
    ]
    items = []
    for index, (name, dtype, split, raters) in enumerate(plan):
        shape = tuple(int(n) for n in rng.integers(9, 14, axes))
        values = rng.normal(100, 40, (2, *shape)).clip(0, 255).astype(dtype)
        image = np.zeros_like(values) if name == "blank" else values
        truth = {rater: _labels(rng, shape, empty=name == "blank") for rater in raters}
        info = ItemInfo(
            id=name,
            shape=shape,
            channels=2,
            dtype=dtype,
            split=split,
            group=f"patient{index // 2}",
            spacing=(0.5,) * axes,
            affine=(0.0, 0.5, 0.0, 7.0, -0.5, 0.0, 0.0, -3.25, 0.0, 0.0, 0.5, 1e-3) if index % 2 else (),
            raters=raters,
            instances=bool(raters),
        )
        arrays = ItemArrays(image=image, truth=truth)
        items.append(PoolItem(info=info, load=lambda arrays=arrays: arrays))  # type: ignore[misc]
    return tuple(items)


def _same(a: LabelMap, b: LabelMap) -> bool:
    if (a.instances is None) != (b.instances is None):
        return False
    objects = a.instances is None or b.instances is None or bool(np.array_equal(a.instances, b.instances))
    return objects and bool(np.array_equal(a.classes, b.classes))


class PoolContract:
    """The promises of the port, for 2-D and 3-D pools."""

    def make(self, items: Sequence[PoolItem], classes: Sequence[str]) -> Pool:
        """A new pool of these items."""
        raise NotImplementedError

    @pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
    def given(self, request: pytest.FixtureRequest) -> tuple[PoolItem, ...]:
        """Items of a pool."""
        return sample_items(request.param)

    @pytest.fixture
    def pool(self, given: tuple[PoolItem, ...]) -> Pool:
        """The pool that holds them."""
        return self.make(given, CLASSES)

    def test_items_come_sorted_and_whole(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        expected = sorted((item.info for item in given), key=lambda info: info.id)
        assert list(pool.items()) == expected
        assert pool.classes == CLASSES
        for split in Split:
            assert list(pool.items(split)) == [info for info in expected if info.split == split]
        assert pool.info("zeta") == next(info for info in expected if info.id == "zeta")

    def test_an_intact_pool_passes_its_verification(self, pool: Pool) -> None:
        pool.verify()

    def test_pixels_come_back_as_given(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        for item in given:
            image = pool.image(item.info.id)
            assert image.dtype == np.dtype(item.info.dtype)
            np.testing.assert_array_equal(image, item.load().image)

    def test_a_box_is_the_crop(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        rng = np.random.default_rng(3)
        for item in given:
            for _ in range(5):
                start = tuple(int(rng.integers(0, n)) for n in item.info.shape)
                stop = tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, item.info.shape, strict=True))
                box = Box(start=start, stop=stop)
                expected = item.load().image[(slice(None), *box.slices)]
                np.testing.assert_array_equal(pool.image(item.info.id, box), expected)

    def test_intensities_are_those_of_the_pixels(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        for item in given:
            found = pool.intensities(item.info.id)
            assert len(found) == item.info.channels
            for one, channel in zip(found, item.load().image.astype(np.float64), strict=True):
                assert (one.minimum, one.maximum) == (channel.min(), channel.max())
                np.testing.assert_allclose((one.low, one.high), np.quantile(channel, (0.01, 0.99)), rtol=1e-12)

    def test_intensities_are_of_finite_values(self, given: tuple[PoolItem, ...]) -> None:
        whole = given[2].load()
        image = np.stack([np.full(given[2].info.shape, np.nan, np.float32), whole.image[0]])
        image[1].flat[::5] = np.inf
        arrays = ItemArrays(image=image, truth=whole.truth)
        found = self.make((PoolItem(info=given[2].info, load=lambda: arrays),), CLASSES).intensities(given[2].info.id)
        assert found[0] == Intensities(minimum=0, low=0, high=0, maximum=0)
        kept = image[1][np.isfinite(image[1])]
        assert (found[1].minimum, found[1].maximum) == (kept.min(), kept.max())

    def test_a_box_outside_is_refused(self, pool: Pool) -> None:
        shape = pool.info("zeta").shape
        with pytest.raises(InvalidValue, match="zeta"):
            pool.image("zeta", Box(start=(0,) * len(shape), stop=(shape[0] + 1, *shape[1:])))

    def test_truth_per_rater(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        for item in given:
            for rater, labels in item.load().truth.items():
                assert _same(pool.truth(item.info.id, rater), labels)
            if item.info.raters:
                assert _same(pool.truth(item.info.id), pool.truth(item.info.id, item.info.raters[0]))

    def test_what_is_not_there_is_said(self, pool: Pool) -> None:
        calls: list[Callable[[], object]] = [
            lambda: pool.info("nobody"),
            lambda: pool.image("nobody"),
            lambda: pool.intensities("nobody"),
            lambda: pool.truth("nobody"),
            lambda: pool.truth("alpha", "anna"),
            lambda: pool.truth("unread"),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()

    def test_what_is_read_is_the_callers_own(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        pool.image("zeta")[...] = 0
        pool.truth("zeta").classes[...] = 9
        again = {item.info.id: item for item in given}["zeta"].load()
        np.testing.assert_array_equal(pool.image("zeta"), again.image)
        assert _same(pool.truth("zeta"), again.truth["anna"])

    def test_a_pickled_copy_reads_the_same(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        copy: Any = pickle.loads(pickle.dumps(pool))  # noqa: S301  (our own bytes, one line ago)
        assert copy.manifest_hash == pool.manifest_hash
        for item in given:
            np.testing.assert_array_equal(copy.image(item.info.id), item.load().image)

    def test_many_threads_read_the_same(self, pool: Pool, given: tuple[PoolItem, ...]) -> None:
        names = [item.info.id for item in given] * 8
        expected = {item.info.id: item.load().image for item in given}
        with ThreadPoolExecutor(8) as threads:
            for name, image in zip(names, threads.map(pool.image, names), strict=True):
                np.testing.assert_array_equal(image, expected[name])

    def test_hash_is_of_the_content(self, given: tuple[PoolItem, ...], pool: Pool) -> None:
        assert len(pool.manifest_hash) == 64
        assert int(pool.manifest_hash, 16) >= 0
        assert self.make(given[::-1], CLASSES).manifest_hash == pool.manifest_hash

    @pytest.mark.parametrize("what", ["pixel", "class", "instance", "split", "group", "affine", "classes"])
    def test_hash_sees_every_change(self, pool: Pool, given: tuple[PoolItem, ...], what: str) -> None:
        classes = ("background", "gland", "other") if what == "classes" else CLASSES
        changed = (_changed(given[0], what), *given[1:])
        assert self.make(changed, classes).manifest_hash != pool.manifest_hash

    def test_a_bad_set_is_refused(self, given: tuple[PoolItem, ...]) -> None:
        other = sample_items(5 - len(given[0].info.shape))
        for items, classes in [
            ((), CLASSES),
            ((*given, given[0]), CLASSES),
            ((given[0], other[1]), CLASSES),
            (given, ("only",)),
            (given, ("background", "gland")),
        ]:
            with pytest.raises(DataError):
                self.make(items, classes)


def _changed(item: PoolItem, what: str) -> PoolItem:
    arrays = item.load()
    info = {name: getattr(item.info, name) for name in ItemInfo.__slots__}
    image = arrays.image.copy()
    truth = dict(arrays.truth)
    first = truth["anna"]
    assert first.instances is not None
    if what == "pixel":
        image.flat[-1] += 1
    elif what == "class":
        classes = first.classes.copy()
        classes.flat[-1] = (int(classes.flat[-1]) + 1) % 3
        truth["anna"] = LabelMap(classes=classes, instances=first.instances)
    elif what == "instance":
        truth["anna"] = LabelMap(classes=first.classes, instances=first.instances + np.int32(1))
    elif what == "split":
        info["split"] = Split.TEST
    elif what == "affine":
        info["affine"] = (*item.info.affine[:-1], 2.0) if item.info.affine else tuple(float(n) for n in range(12))
    elif what == "group":
        info["group"] = "somebody"
    new = ItemArrays(image=image, truth=truth)
    return PoolItem(info=ItemInfo(**info), load=lambda: new)
