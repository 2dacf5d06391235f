"""Writing a pool: into a folder beside its place, made durable, then renamed. It appears whole or not at all.

An object store has no rename: the arrays go below a prefix of their own, and the manifest that names it is put
last, on the condition that there is none yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, ObjectStore, WrapperStore

from alframe.errors import ConflictError, StoreUnavailable
from alframe.failpoints import reach
from alframe.ports import ItemArrays, PoolItem
from alframe.storage.durable import fsync_folder, make_folders, write_file
from alframe.storage.objects import ObjectFolder
from alframe.storage.pool_manifest import check_arrays, check_infos, describe, manifest_hash, measured, sealed
from alframe.storage.pool_zarr import FORMAT, MANIFEST, Place, ZarrPool, place_of

__all__ = ["chunk_shape", "write_pool"]

_WHOLE_BYTES = 4 * 2**20
_TILE = {2: (512, 512), 3: (32, 128, 128)}
_SYNC_THREADS = 8

Progress = Callable[[int, int], None]


def write_pool(
    path: str | Path, items: Sequence[PoolItem], *, classes: Sequence[str], progress: Progress | None = None
) -> ZarrPool:
    """Write a pool to the folder or address `path`, or return the one that is there when it holds exactly the same.

    When the call returns, every byte is durable. Killed at any moment it leaves no pool, and can be repeated: what was half
    written lies beside a folder under a hidden name and is replaced, and in an object store below ``data-…``, where nothing
    reads it. `progress` hears (items done, items).

    Raises:
        DataError: when items, classes and arrays do not fit together.
        ConflictError: when something else is at `path`, or another process is writing it.
        InvalidValue: when `path` is an address that is not allowed.
        StoreUnavailable: when an object store cannot be used.
    """
    target = place_of(path)
    ordered = sorted(items, key=lambda item: item.info.id)
    check_infos([item.info for item in ordered], classes)
    if isinstance(target, ObjectFolder):
        return _write_objects(target, ordered, classes, progress)
    if target.exists():
        return _same_pool(target, ordered, classes, progress)
    make_folders(target.parent)
    with _claimed(target.with_name(f".{target.name}.ingest")) as folder:
        if target.exists():  # another process finished while this one waited its turn
            return _same_pool(target, ordered, classes, progress)
        entries, found = _write_items(LocalStore(folder), ordered, classes, progress)
        document = _manifest(classes, entries, found, _make_durable(folder))
        write_file(folder / MANIFEST, document, lambda step: reach(f"ingest.manifest.{step}"))
        folder.rename(target)
        reach("ingest.renamed")
        fsync_folder(target.parent)
    return ZarrPool(target)


class _HashedStore(WrapperStore[Store]):
    """A store that remembers the SHA-256 (hex) of what is written."""

    def __init__(self, folder: ObjectFolder) -> None:
        super().__init__(ObjectStore(folder.client))
        self.folder = folder
        self.hashes: dict[str, str] = {}

    async def set(self, key: str, value: Buffer) -> None:
        with self.folder.explained("write", key):
            await super().set(key, value)
        self.hashes[key] = hashlib.sha256(value.to_bytes()).hexdigest()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await self.set(key, value)  # the prefix is this writer's own


def _write_objects(
    target: ObjectFolder, items: Sequence[PoolItem], classes: Sequence[str], progress: Progress | None
) -> ZarrPool:
    if target.status(MANIFEST) is not None:
        return _same_pool(target, items, classes, progress)
    data = f"data-{secrets.token_hex(16)}"
    folder = target / data
    store = _HashedStore(folder)
    written = False
    try:
        entries, found = _write_items(store, items, classes, progress)
        written = True
    finally:
        if not written:
            with suppress(StoreUnavailable):  # the first error is the one to tell
                _clear(folder)
    document = _manifest(classes, entries, found, store.hashes, data=data)
    reach("ingest.manifest.before_write")
    there = target.create(MANIFEST, document)
    reach("ingest.manifest.after_write")
    if there is not None and there != document:  # another writer was first
        _clear(folder)
        return _same_pool(target, items, classes, progress)
    return ZarrPool(target.url)


def _clear(folder: ObjectFolder) -> None:
    for status in list(folder.listing()):
        folder.delete(status.key)


def _manifest(
    classes: Sequence[str],
    entries: Sequence[dict[str, Any]],
    found: dict[str, dict[str, Any]],
    files: dict[str, str],
    **place: str,
) -> bytes:
    body = {
        "format": FORMAT,
        "manifest_hash": manifest_hash(classes, entries),
        "classes": list(classes),
        "items": entries,
        **found,
        "files": files,
        **place,
    }
    return sealed(body)


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunk of an array (layers, S): all of it up to 4 MiB, else tiles of S (512² or 32×128×128) with all layers."""
    layers, *space = shape
    if math.prod(shape) * itemsize <= _WHOLE_BYTES:
        return tuple(shape)
    return (layers, *(min(a, b) for a, b in zip(space, _TILE[len(space)], strict=True)))


@contextmanager
def _claimed(folder: Path) -> Iterator[Path]:
    """An empty folder that no other living process writes to; whatever is left of it in the end is removed.

    The lock is on the folder itself, so it dies with its process. A folder that was renamed into its place, or removed,
    between opening and locking is not ours to use.
    """
    while True:
        folder.mkdir(exist_ok=True)
        with _descriptor(folder) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConflictError(f"another process is writing {folder}: wait until it is done") from error
            if not _is_at(handle, folder):
                continue
            try:
                _empty(folder)
                yield folder
            finally:
                if _is_at(handle, folder):
                    shutil.rmtree(folder)
            return


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    """Whether the open folder is still the one of this name."""
    return folder.is_dir() and os.path.samestat(os.fstat(handle), folder.stat())


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _write_items(
    store: Store, items: Sequence[PoolItem], classes: Sequence[str], progress: Progress | None
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Write all arrays; returns what identifies the items, and what else is known of them: ``names`` and ``intensities``."""
    root = zarr.create_group(store=store, zarr_format=3, attributes={"classes": list(classes)})
    entries = []
    names: dict[str, Any] = {}
    intensities: dict[str, Any] = {}
    for index, item in enumerate(items, start=1):
        arrays = item.load()
        check_arrays(item.info, arrays, classes)
        name = f"i{index:06d}"
        group = root.create_group(name, attributes={"id": item.info.id, "raters": list(item.info.raters)})
        for kind, array in _layers(arrays).items():
            _write_array(group, kind, array)
        entries.append(describe(item.info, arrays))
        names[item.info.id] = name
        intensities[item.info.id] = [astuple(channel) for channel in measured(arrays.image)]
        reach("ingest.item")
        if progress is not None:
            progress(index, len(items))
    return entries, {"names": names, "intensities": intensities}


def _layers(arrays: ItemArrays) -> dict[str, NDArray[Any]]:
    """The arrays of an item by name; label maps are stacked over raters (R, S)."""
    layers: dict[str, NDArray[Any]] = {"image": arrays.image}
    if arrays.truth:
        layers["classes"] = np.stack([labels.classes for labels in arrays.truth.values()])
        objects = [labels.instances for labels in arrays.truth.values() if labels.instances is not None]
        if objects:
            layers["instances"] = np.stack(objects)
    return layers


def _write_array(group: zarr.Group, name: str, array: NDArray[Any]) -> None:
    shape = array.shape if name == "image" else (1, *array.shape[1:])
    space = ("z", "y", "x")[-(array.ndim - 1) :]
    group.create_array(
        name,
        data=array,
        chunks=chunk_shape(shape, array.dtype.itemsize),
        compressors=[ZstdCodec(level=3, checksum=True)],
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=("channel" if name == "image" else "rater", *space),
        config={"write_empty_chunks": True},
    )


def _make_durable(folder: Path) -> dict[str, str]:
    """Fsync every file and folder, deepest first; returns the SHA-256 (hex) of each file by its path below `folder`."""

    def seal(path: Path) -> str:
        with path.open("rb+") as file:
            data = file.read()
            os.fsync(file.fileno())
        return hashlib.sha256(data).hexdigest()

    entries = sorted(folder.rglob("*"))
    files = [entry for entry in entries if entry.is_file()]
    folders = [entry for entry in entries if entry.is_dir()]
    with ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="fsync") as threads:
        hashes = list(threads.map(seal, files))
        list(threads.map(fsync_folder, folders))
    fsync_folder(folder)
    return {file.relative_to(folder).as_posix(): digest for file, digest in zip(files, hashes, strict=True)}


def _same_pool(target: Place, items: Sequence[PoolItem], classes: Sequence[str], progress: Progress | None) -> ZarrPool:
    """The pool at `target`, if it has exactly these classes and items with these pixels."""
    if isinstance(target, Path) and not (target / MANIFEST).is_file():
        raise ConflictError(f"{target} exists and is not a pool: choose another place")
    pool = ZarrPool(str(target))
    advice = "choose another place, or remove it if no campaign uses it"
    if pool.classes != tuple(classes):
        raise ConflictError(f"the pool {target} has the classes {pool.classes}, not {tuple(classes)}: {advice}")
    there, here = pool.items(), tuple(item.info for item in items)
    if there != here:
        odd = sorted({info.id for info in set(there) ^ set(here)})
        raise ConflictError(f"the pool {target} differs in {len(odd)} items, first {odd[0]}: {advice}")
    entries = []
    for done, item in enumerate(items, start=1):
        entries.append(describe(item.info, item.load()))
        if progress is not None:
            progress(done, len(items))
    if manifest_hash(classes, entries) != pool.manifest_hash:
        raise ConflictError(f"the pool {target} has the same items with other pixels or labels: {advice}")
    return pool
