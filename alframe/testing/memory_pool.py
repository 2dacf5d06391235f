"""A pool held in memory: the smallest implementation of :class:`alframe.ports.Pool`, for tests and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import ArtifactDamaged, InvalidValue, NotFound
from alframe.ports import ItemArrays, PoolItem
from alframe.storage.pool_manifest import check_arrays, check_infos, describe, manifest_hash, measured
from alframe.types import Box, Intensities, ItemInfo, LabelMap, Split

__all__ = ["MemoryPool", "pool_item"]


def pool_item(
    id: str,
    image: NDArray[Any],
    truth: dict[str, LabelMap] | None = None,
    *,
    split: Split = Split.TRAIN,
    group: str = "",
    spacing: Sequence[float] = (),
    affine: Sequence[float] = (),
) -> PoolItem:
    """An item from arrays: `image` has shape ``(C, *S)``; shape, dtype, raters and instances are taken from the arrays."""
    labels = dict(truth or {})
    info = ItemInfo(
        id=id,
        shape=image.shape[1:],
        channels=image.shape[0],
        dtype=str(image.dtype),
        split=split,
        group=group or id,
        spacing=tuple(spacing) or (1.0,) * (image.ndim - 1),
        affine=tuple(affine),
        raters=tuple(labels),
        instances=any(label.instances is not None for label in labels.values()),
    )
    arrays = ItemArrays(image=image, truth=labels)
    return PoolItem(info=info, load=lambda: arrays)


class MemoryPool:
    """All items in memory; the same behaviour, checks and manifest hash as a pool on disk that holds the same items.

    Reads return copies, so that a caller cannot change the pool. Can be pickled (with its pixels).

    Raises:
        DataError: when items or classes do not fit together.
    """

    def __init__(self, items: Iterable[PoolItem], *, classes: Sequence[str] = ("background", "object")) -> None:
        given = sorted(items, key=lambda item: item.info.id)
        self._classes = tuple(classes)
        check_infos([item.info for item in given], self._classes)
        self._infos = {item.info.id: item.info for item in given}
        self._arrays = {item.info.id: item.load() for item in given}
        for name, info in self._infos.items():
            check_arrays(info, self._arrays[name], self._classes)
        entries = [describe(info, self._arrays[name]) for name, info in self._infos.items()]
        self._hash = manifest_hash(self._classes, entries)

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hex) over items, splits, classes and array contents."""
        return self._hash

    def verify(self) -> None:
        """Compare the arrays with the hash that they had. Raises ArtifactDamaged."""
        entries = [describe(info, self._arrays[name]) for name, info in self._infos.items()]
        if manifest_hash(self._classes, entries) != self._hash:
            raise ArtifactDamaged("the arrays of this pool were changed after it was made; make it again")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; position = class id."""
        return self._classes

    def items(self, split: Split | None = None) -> tuple[ItemInfo, ...]:
        """Items sorted by id, of one split or of all."""
        return tuple(info for info in self._infos.values() if split is None or info.split == split)

    def info(self, item: str) -> ItemInfo:
        """One item.

        Raises:
            NotFound: when the pool has no such item.
        """
        if item not in self._infos:
            raise NotFound(f"the pool has no item {item!r}; it holds {len(self._infos)} items")
        return self._infos[item]

    def image(self, item: str, box: Box | None = None) -> NDArray[Any]:
        """Pixels ``(C, *S)`` of the item or of `box`.

        Raises:
            NotFound: when the pool has no such item.
            InvalidValue: when the box leaves the item.
        """
        info = self.info(item)
        if box is None:
            return self._arrays[item].image.copy()
        if not box.within(info.shape):
            raise InvalidValue(f"box {box.start}..{box.stop} leaves item {item} of shape {info.shape}")
        return np.array(self._arrays[item].image[(slice(None), *box.slices)])

    def intensities(self, item: str) -> tuple[Intensities, ...]:
        """The range of values of each channel.

        Raises:
            NotFound: when the pool has no such item.
        """
        self.info(item)
        return measured(self._arrays[item].image)

    def truth(self, item: str, rater: str | None = None) -> LabelMap:
        """Ingested truth of one rater (None = the first one).

        Raises:
            NotFound: when the pool has no such item, or the item no truth by that rater.
        """
        info = self.info(item)
        name = rater if rater is not None else (info.raters[0] if info.raters else "")
        if name not in self._arrays[item].truth:
            raise NotFound(f"item {item} has no truth by rater {name!r}; it has {list(info.raters)}")
        labels = self._arrays[item].truth[name]
        return labels.crop(Box.whole(labels.shape))
