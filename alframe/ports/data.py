"""What a campaign reads: the pool, immutable artifacts, and the labels that its answers compose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alframe.types import ArtifactRef, Box, Intensities, ItemInfo, LabelMap, Split

__all__ = ["Artifacts", "ItemArrays", "Labels", "Pool", "PoolItem", "StoredFile", "Upkeep"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemArrays:
    """The pixels of one item: `image` (C, S) and one label map per rater (empty when the item has no truth)."""

    image: NDArray[Any]
    truth: Mapping[str, LabelMap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolItem:
    """An item on its way into a pool: what is known of it, and a function that reads its (already validated) pixels."""

    info: ItemInfo
    load: Callable[[], ItemArrays]


class Pool(Protocol):
    """All items with their truth; written once at ingest, then read-only. Safe to use from many threads and processes."""

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hex) of the manifest: items, splits, classes and the content hash of every array."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; position = class id, position 0 = background."""

    def items(self, split: Split | None = None) -> tuple[ItemInfo, ...]:
        """Items sorted by id, of one split or of all."""

    def info(self, item: str) -> ItemInfo:
        """One item. Raises NotFound."""

    def image(self, item: str, box: Box | None = None) -> NDArray[Any]:
        """Pixels as ingested, shape ``(C, *S)``, native dtype; a box reads only the chunks it touches.

        Raises NotFound, or ArtifactDamaged when a chunk is missing or its checksum differs.
        """

    def intensities(self, item: str) -> tuple[Intensities, ...]:
        """The range of values of each channel of an item, known since ingest: no pixel is read. Raises NotFound."""

    def truth(self, item: str, rater: str | None = None) -> LabelMap:
        """Ingested truth of one rater (None = the first one). Visible to simulated oracles and to validation/test only.

        Raises NotFound when the item has no truth by that rater.
        """

    def verify(self) -> None:
        """Read all that the pool holds. Raises ArtifactDamaged, naming each part that is missing or not what was written."""


class Artifacts(Protocol):
    """Immutable content-addressed bytes. A ``put`` returns after the bytes and their folder entry are durable.

    Putting the same bytes twice is harmless and returns an equal reference. Safe to use from many threads and processes.
    """

    def put(self, kind: str, data: bytes) -> ArtifactRef:
        """Store bytes under their hash; `kind` (``checkpoint``, ``scores``, ``mask`` …) only names the folder."""

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes, verified against their hash. Raises ArtifactMissing or ArtifactDamaged."""

    def put_arrays(self, kind: str, arrays: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store named arrays; equal arrays give equal references."""

    def get_arrays(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_arrays`."""

    def put_table(self, kind: str, columns: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store equally long one-dimensional columns as Parquet; equal tables give equal references."""

    def get_table(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_table`; strings come back as NumPy unicode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What lies in an artifact store, by its place: `age` in seconds since it was last put; `ref` is None for anything that is
    no artifact, of which `unfinished` ones were left behind by a killed writer or training run."""

    place: str
    age: float
    ref: ArtifactRef | None = None
    unfinished: bool = False


@runtime_checkable
class Upkeep(Protocol):
    """What a store of artifacts offers to whoever keeps it in order (`alframe fsck`). Safe beside writers."""

    def stored(self) -> Iterator[StoredFile]:
        """All that is there, sorted by place; what is in quarantine is left out. Nothing is read or verified."""

    def delete(self, file: StoredFile, *, older: float) -> bool:
        """Remove a file unless it was put again within the last `older` seconds; whether it is gone now."""

    def quarantine(self, ref: ArtifactRef) -> str:
        """Take the bytes of `ref` out of the store without losing them; returns where they are kept. Raises ArtifactMissing."""


class Labels(Protocol):
    """What a campaign knows of its items so far: committed answers, composed. Read-only and picklable."""

    def items(self) -> tuple[str, ...]:
        """Items with at least one annotated pixel, sorted."""

    def labels(self, item: str) -> LabelMap:
        """The composed label map (255 where not annotated)."""

    def by_rater(self, item: str) -> Mapping[str, LabelMap]:
        """Each rater's own labels of the item (255 where that rater did not answer), in the order of their first answers."""

    def contours(self, item: str) -> NDArray[np.uint8]:
        """Contour target (S): 1 on object borders, 0 inside and in background, 255 where not annotated."""

    def history(self, item: str) -> tuple[Box, ...]:
        """Boxes of this item that were queried before, whatever the outcome, in commit order."""

    def retired(self, item: str) -> bool:
        """Whether a rater called the item unusable; it is never queried or trained on again."""
