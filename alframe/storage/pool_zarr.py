"""The pool on disk: plain Zarr v3, written once, then read-only, with a manifest that knows the hash of every file.

Layout: ``manifest.json`` and, for the n-th item, the arrays ``i00000n/image`` (C, S) in the image's own dtype,
``i00000n/classes`` (R, S; uint8, one layer a rater) and ``i00000n/instances`` (R, S; int32). Names are generated, so
that ids never become paths. The manifest also holds the range of values of each channel, for whoever shows or scales images
without reading all of them. A chunk is a whole image where it is small, a tile otherwise; zstd with its checksum.

In an object store the arrays are below one prefix with a random name, which the manifest names: it is published last, by
a put on the condition that there is none.

Zarr reads a missing chunk as the fill value and does not notice most swapped ones. So every file that is read is compared
with its SHA-256 in the manifest first: lost, altered and exchanged chunks are errors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, ObjectStore, WrapperStore

from alframe.errors import ArtifactDamaged, InvalidValue, NotFound
from alframe.storage.locations import locate
from alframe.storage.objects import ObjectFolder
from alframe.storage.pool_manifest import canonical, info_of, manifest_hash
from alframe.types import Box, Intensities, ItemInfo, LabelMap, Split

__all__ = ["FORMAT", "MANIFEST", "Place", "ZarrPool", "place_of"]

MANIFEST = "manifest.json"
FORMAT = 2
Place = Path | ObjectFolder
_NAME = re.compile(r"i[0-9]{6,12}")
_DATA = re.compile(r"data-[0-9a-f]{32}")
_READERS = 8
_HANDLES = 256
"""Arrays that stay open: 2 KiB each, and 0.4 ms to open again. A pool may have millions."""
_CHUNK_BYTES = 2 * 2**30


def place_of(path: str | Path) -> Place:
    """The folder, or the prefix of an object store, that a path or an address names.

    Raises:
        InvalidValue: for an address that is not allowed.
    """
    found = locate(str(path))
    return ObjectFolder(found) if isinstance(found, str) else found


def _read(place: Place, key: str) -> bytes | None:
    if isinstance(place, ObjectFolder):
        return place.read(key)
    try:
        return (place / key).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


class _VerifiedStore(WrapperStore[Store]):
    """A store that hands out no byte which the manifest does not vouch for."""

    def __init__(self, place: Place, hashes: Mapping[str, str]) -> None:
        super().__init__(
            ObjectStore(place.client, read_only=True)
            if isinstance(place, ObjectFolder)
            else LocalStore(place, read_only=True)
        )
        self.place, self.hashes = place, hashes

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        expected = self.hashes.get(key)
        if expected is None or byte_range is not None:
            raise ArtifactDamaged(f"{self.place}: the manifest does not know the file {key} (range {byte_range})")
        with self.place.explained("read", key) if isinstance(self.place, ObjectFolder) else nullcontext():
            data = await super().get(key, prototype)
        if data is None:
            raise ArtifactDamaged(f"{self.place}/{key} is missing; restore the pool from a backup or ingest again")
        if hashlib.sha256(data.as_numpy_array().data).hexdigest() != expected:
            raise ArtifactDamaged(f"{self.place}/{key} does not have its hash; restore the pool or ingest again")
        return data


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Opened:
    """What a pool holds once its manifest is read."""

    hash: str
    classes: tuple[str, ...]
    infos: dict[str, ItemInfo]
    intensities: dict[str, tuple[Intensities, ...]]
    names: dict[str, str]
    store: _VerifiedStore


class ZarrPool:
    """A pool in a folder or an object store, as :func:`alframe.storage.write_pool` made it. Implements :class:`alframe.ports.Pool`.

    Holds its place only and opens at first use, so that it travels to workers cheaply. Safe for many threads and processes.
    Every method may raise NotFound (no pool there) or ArtifactDamaged (a manifest or chunk that is not what was written).
    """

    def __init__(self, path: str | Path) -> None:
        self._path = place_of(path)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._state: _Opened | None = None
        self._array = functools.lru_cache(maxsize=_HANDLES)(self._open_array)

    def __getstate__(self) -> Place:
        return self._path

    def __setstate__(self, state: Place) -> None:
        self._path = state
        self._start()

    def __repr__(self) -> str:
        return f"ZarrPool({str(self._path)!r})"

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hex) over items, splits, classes and array contents."""
        return self._open().hash

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; position = class id."""
        return self._open().classes

    def items(self, split: Split | None = None) -> tuple[ItemInfo, ...]:
        """Items sorted by id, of one split or of all."""
        return tuple(info for info in self._open().infos.values() if split is None or info.split == split)

    def info(self, item: str) -> ItemInfo:
        """One item.

        Raises:
            NotFound: when the pool has no such item.
        """
        infos = self._open().infos
        if item not in infos:
            raise NotFound(f"the pool {self._path} has no item {item!r}; it holds {len(infos)} items")
        return infos[item]

    def image(self, item: str, box: Box | None = None) -> NDArray[Any]:
        """Pixels ``(C, *S)`` of the item, or of `box` from the chunks it touches.

        Raises:
            NotFound: when the pool has no such item.
            InvalidValue: when the box leaves the item.
            ArtifactDamaged: when a chunk is missing or is not what was written.
        """
        info = self.info(item)
        if box is not None and not box.within(info.shape):
            raise InvalidValue(f"box {box.start}..{box.stop} leaves item {item} of shape {info.shape}")
        index = (slice(None), *(box or Box.whole(info.shape)).slices)
        return np.asarray(self._array(item, "image")[index])

    def intensities(self, item: str) -> tuple[Intensities, ...]:
        """The range of values of each channel, as it was measured at ingest.

        Raises:
            NotFound: when the pool has no such item.
        """
        self.info(item)
        return self._open().intensities[item]

    def truth(self, item: str, rater: str | None = None) -> LabelMap:
        """Ingested truth of one rater (None = the first one).

        Raises:
            NotFound: when the pool has no such item, or the item no truth by that rater.
            ArtifactDamaged: when a chunk is missing or is not what was written.
        """
        info = self.info(item)
        name = rater if rater is not None else (info.raters[0] if info.raters else "")
        if name not in info.raters:
            raise NotFound(f"item {item} has no truth by rater {name!r}; it has {list(info.raters)}")
        layer = info.raters.index(name)
        objects = np.asarray(self._array(item, "instances")[layer]) if info.instances else None
        return LabelMap(classes=np.asarray(self._array(item, "classes")[layer]), instances=objects)

    def verify(self) -> None:
        """Read every file of the pool and compare it with the manifest.

        Raises:
            ArtifactDamaged: naming each file that is missing or altered.
        """
        store = self._open().store

        def altered(key: str) -> bool:
            data = _read(store.place, key)
            return data is None or hashlib.sha256(data).hexdigest() != store.hashes[key]

        with ThreadPoolExecutor(_READERS, thread_name_prefix="verify") as threads:
            wrong = [key for key, bad in zip(store.hashes, threads.map(altered, store.hashes), strict=True) if bad]
        if wrong:
            raise ArtifactDamaged(f"{self._path}: missing or altered: {', '.join(wrong)}")

    def _open_array(self, item: str, kind: str) -> zarr.Array[Any]:
        state = self._open()
        key = f"{state.names[item]}/{kind}"
        array: zarr.Array[Any] = zarr.open_array(store=state.store, path=key, mode="r", zarr_format=3)
        info = state.infos[item]
        layers = info.channels if kind == "image" else len(info.raters)
        if array.shape != (layers, *info.shape) or math.prod(array.chunks) * array.dtype.itemsize > _CHUNK_BYTES:
            raise ArtifactDamaged(
                f"{self._path}: {key} has the shape {array.shape} in chunks of {array.chunks}, "
                f"not {(layers, *info.shape)} in chunks of at most {_CHUNK_BYTES} bytes"
            )
        return array

    def _open(self) -> _Opened:
        with self._lock:
            if self._state is None:
                self._state = _read_manifest(self._path)
            return self._state


def _intensities(four: list[float]) -> Intensities:
    minimum, low, high, maximum = map(float, four)
    if not -math.inf < minimum <= low <= high <= maximum < math.inf:
        raise ValueError(f"expected four finite numbers in ascending order, got {four}")
    return Intensities(minimum=minimum, low=low, high=high, maximum=maximum)


class _OtherFormat(InvalidValue):
    """A sound manifest of another version of alframe."""


def _read_manifest(place: Place) -> _Opened:
    text = _read(place, MANIFEST)
    if text is None:
        raise NotFound(f"no pool at {place}: run `alframe ingest` first")
    try:
        return _opened(place, text)
    except _OtherFormat:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ArtifactDamaged(f"{place}/{MANIFEST} cannot be read: {type(error).__name__} {error}") from error


def _opened(place: Place, text: bytes) -> _Opened:
    document = json.loads(text)
    body = document["body"]
    if document["sha256"] != hashlib.sha256(canonical(body)).hexdigest():
        raise ArtifactDamaged(f"{place}/{MANIFEST} does not have its hash; restore it or ingest again")
    if body["format"] != FORMAT:
        raise _OtherFormat(f"{place} has format {body['format']}, this version reads {FORMAT}: ingest the data again")
    entries = body["items"]
    infos = {entry["id"]: info_of(entry) for entry in entries}
    names, files = dict(body["names"]), dict(body["files"])
    intensities = {item: tuple(map(_intensities, channels)) for item, channels in body["intensities"].items()}
    complete = names.keys() == infos.keys() and {n: len(r) for n, r in intensities.items()} == {
        n: info.channels for n, info in infos.items()
    }
    if not complete or manifest_hash(body["classes"], entries) != body["manifest_hash"]:
        raise ArtifactDamaged(f"{place}/{MANIFEST} contradicts itself; restore it or ingest again")
    odd = [name for name in names.values() if not _NAME.fullmatch(name)]
    odd += [key for key in files if ".." in key.split("/") or key.startswith("/")]
    if odd:
        raise ArtifactDamaged(f"{place}/{MANIFEST} names {odd[0]!r}, which is no file of a pool")
    data = place
    if isinstance(place, ObjectFolder):
        if not _DATA.fullmatch(body["data"]):
            raise ArtifactDamaged(f"{place}/{MANIFEST} names the data {body['data']!r}, which is none of a pool's")
        data = place / body["data"]
    return _Opened(
        hash=body["manifest_hash"],
        classes=tuple(body["classes"]),
        infos=infos,
        intensities=intensities,
        names=names,
        store=_VerifiedStore(data, files),
    )
