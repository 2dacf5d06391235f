"""The pool on disk: plain Zarr v3, written once, then read-only, with a manifest that knows the hash of every file.

Layout: ``manifest.json`` and, for the n-th item, the arrays ``i00000n/image`` (C, S) in the image's own dtype,
``i00000n/classes`` (R, S; uint8, one layer a rater) and ``i00000n/instances`` (R, S; int32). Names are generated, so
that ids never become paths. A chunk is a whole image where it is small, a tile otherwise; zstd with its checksum.

Zarr reads a missing chunk as the fill value and does not notice most swapped ones. So every file that is read is compared
with its SHA-256 in the manifest first: lost, altered and exchanged chunks are errors.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from alframe.errors import ArtifactDamaged, InvalidValue, NotFound
from alframe.storage.pool_manifest import canonical, info_of, manifest_hash
from alframe.types import Box, ItemInfo, LabelMap, Split

__all__ = ["FORMAT", "MANIFEST", "ZarrPool", "local_path"]

MANIFEST = "manifest.json"
FORMAT = 1


def local_path(path: str | Path) -> Path:
    """An absolute local path.

    Raises:
        InvalidValue: for a URL.
    """
    if "://" in str(path):
        raise InvalidValue(f"a pool lives in a local folder (or a mounted one), got the URL {path}")
    return Path(path).absolute()


class _VerifiedStore(LocalStore):
    """A local store that hands out no byte which the manifest does not vouch for."""

    def __init__(self, root: Path, hashes: dict[str, str]) -> None:
        super().__init__(root, read_only=True)
        self._hashes = hashes

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        expected = self._hashes.get(key)
        if expected is None or byte_range is not None:
            raise ArtifactDamaged(f"{self.root}: the manifest does not know the file {key} (range {byte_range})")
        data = await super().get(key, prototype or default_buffer_prototype())
        if data is None:
            raise ArtifactDamaged(f"{self.root}/{key} is missing; restore the pool from a backup or ingest again")
        if hashlib.sha256(data.as_numpy_array().data).hexdigest() != expected:
            raise ArtifactDamaged(f"{self.root}/{key} does not have its hash; restore the pool or ingest again")
        return data


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Opened:
    """What a pool holds once its manifest is read."""

    hash: str
    classes: tuple[str, ...]
    infos: dict[str, ItemInfo]
    names: dict[str, str]
    store: _VerifiedStore


class ZarrPool:
    """A pool in a folder, as :func:`alframe.storage.write_pool` made it. Implements :class:`alframe.ports.Pool`.

    Holds its path only and opens at first use, so that it travels to workers cheaply. Safe for many threads and processes.
    Every method may raise NotFound (no pool there) or ArtifactDamaged (a manifest or chunk that is not what was written).
    """

    def __init__(self, path: str | Path) -> None:
        self._path = local_path(path)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._state: _Opened | None = None
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, state: Path) -> None:
        self._path = state
        self._start()

    def __repr__(self) -> str:
        return f"ZarrPool({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

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
        wrong = []
        for key, expected in self._open().store._hashes.items():
            file = self._path / key
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                wrong.append(key)
        if wrong:
            raise ArtifactDamaged(f"{self._path}: missing or altered: {', '.join(wrong)}")

    def _array(self, item: str, kind: str) -> zarr.Array[Any]:
        state = self._open()
        key = f"{state.names[item]}/{kind}"
        array = self._arrays.get(key)
        if array is None:  # two threads may open it at once; both handles read the same bytes
            array = zarr.open_array(store=state.store, path=key, mode="r", zarr_format=3)
            self._arrays[key] = array
        return array

    def _open(self) -> _Opened:
        with self._lock:
            if self._state is None:
                self._state = _read_manifest(self._path)
            return self._state


def _read_manifest(path: Path) -> _Opened:
    try:
        text = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no pool at {path}: run `alframe ingest` first") from error
    try:
        document = json.loads(text)
        body = document["body"]
        sound = document["sha256"] == hashlib.sha256(canonical(body)).hexdigest()
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactDamaged(f"{path / MANIFEST} cannot be read: {error}") from error
    if not sound:
        raise ArtifactDamaged(f"{path / MANIFEST} does not have its hash; restore it or ingest again")
    if body["format"] != FORMAT:
        raise InvalidValue(f"{path} has format {body['format']}, this version reads {FORMAT}: ingest the data again")
    entries = body["items"]
    if manifest_hash(body["classes"], entries) != body["manifest_hash"]:
        raise ArtifactDamaged(f"{path / MANIFEST} contradicts itself; restore it or ingest again")
    return _Opened(
        hash=body["manifest_hash"],
        classes=tuple(body["classes"]),
        infos={entry["id"]: info_of(entry) for entry in entries},
        names=body["names"],
        store=_VerifiedStore(path, body["files"]),
    )
