"""The artifact store on a local file system: immutable bytes under their SHA-256, durable before ``put`` returns.

Layout: ``<root>/<kind>/<first two hex digits>/<sha256>``. A file appears under its name complete or not at all; what a killed
writer leaves is a ``.part-…`` file that nothing reads. An artifact that no ledger row names is harmless.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from numpy.typing import NDArray

from alframe import failpoints
from alframe.errors import ArtifactDamaged, ArtifactMissing, InvalidValue, StoreUnavailable
from alframe.ports import StoredFile
from alframe.storage import arrays as array_format
from alframe.storage import parquet
from alframe.storage.durable import TEMPORARY, fsync_folder, make_folders, write_file
from alframe.storage.snapshots import SNAPSHOTS
from alframe.types import ArtifactRef

__all__ = ["QUARANTINE", "FileArtifacts"]

QUARANTINE = ".quarantine"
"""Folder of the store for damaged or unnamed labels; a name that no kind can have."""

_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileArtifacts:
    """Implements :class:`~alframe.ports.Artifacts` in a folder. Holds the path only: picklable, safe in threads and processes."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def __repr__(self) -> str:
        return f"FileArtifacts({str(self.root)!r})"

    def put(self, kind: str, data: bytes) -> ArtifactRef:
        """Store `data` durably under its hash; a damaged earlier copy is replaced.

        Raises:
            InvalidValue: for a `kind` that is not a plain lower-case name.
            StoreUnavailable: when the folder cannot be written (full, read-only); nothing was stored.
        """
        ref = ArtifactRef(kind=kind, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        path = self._path(ref)
        try:
            make_folders(self.root, kind, path.parent.name)
            if _touched(path) and _holds(path, data):
                fsync_folder(path.parent)  # whoever wrote it may have died before this
            else:
                write_file(path, data, lambda step: failpoints.reach(f"artifact.{kind}.{step}"))
        except OSError as error:
            raise StoreUnavailable(
                f"cannot store a {kind} of {len(data)} bytes under {self.root}: {error}; nothing was recorded, "
                "make room or repair the folder, then resume"
            ) from error
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of `ref`, verified.

        Raises:
            ArtifactMissing: when the store does not hold them.
            ArtifactDamaged: when they do not have the hash they are named by.
        """
        path = self._path(ref)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read() if size == ref.size else b""
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"{ref.kind} {ref.sha256} is not under {self.root}; restore it from a backup, or recompute its round"
            ) from error
        if size != ref.size or hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ArtifactDamaged(
                f"{path} holds {size} bytes that are not the {ref.size} bytes named {ref.sha256[:12]}…; "
                "restore it from a backup, or delete it and recompute (a mask can only be restored or labelled again)"
            )
        return data

    def put_arrays(self, kind: str, arrays: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store named arrays (:mod:`alframe.storage.arrays`). Raises InvalidValue, StoreUnavailable."""
        return self.put(kind, array_format.encode(arrays))

    def get_arrays(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_arrays`. Raises ArtifactMissing, ArtifactDamaged, InvalidValue."""
        return array_format.decode(self.get(ref))

    def put_table(self, kind: str, columns: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store columns as Parquet (:mod:`alframe.storage.parquet`). Raises InvalidValue, StoreUnavailable."""
        return self.put(kind, parquet.encode(columns))

    def get_table(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_table`. Raises ArtifactMissing, ArtifactDamaged, InvalidValue."""
        return parquet.decode(self.get(ref))

    def stored(self) -> Iterator[StoredFile]:
        """All files of the store, sorted by place, without those in quarantine."""
        for folder, shelves, files in os.walk(self.root):
            shelves[:] = sorted(shelf for shelf in shelves if shelf != QUARANTINE)
            for name in sorted(files):
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # a writer finished, or somebody else collects
                    yield self._described(path, path.lstat())

    def _described(self, path: Path, status: os.stat_result) -> StoredFile:
        place, age = path.relative_to(self.root), time.time() - status.st_mtime
        if path.name.startswith(TEMPORARY) or place.parts[0] == SNAPSHOTS:
            return StoredFile(place=str(place), age=age, unfinished=True)
        if len(place.parts) == 3 and _KIND.fullmatch(place.parts[0]) and _SHA256.fullmatch(path.name):
            ref = ArtifactRef(kind=place.parts[0], sha256=path.name, size=status.st_size)
            if self._path(ref) == path and S_ISREG(status.st_mode):
                return StoredFile(place=str(place), age=age, ref=ref)
        return StoredFile(place=str(place), age=age)

    def delete(self, file: StoredFile, *, older: float) -> bool:
        """Remove a file that no ledger row names (the caller knows), unless it was put within the last `older` seconds.

        Raises:
            InvalidValue: when the place is outside the store.
        """
        path = self.root / file.place
        if ".." in path.parts:
            raise InvalidValue(f"expected a place inside {self.root}, got {file.place!r}")
        with suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime < older:
                return False
            path.unlink()
            fsync_folder(path.parent)
        return True

    def quarantine(self, ref: ArtifactRef) -> str:
        """Move the bytes of `ref` to the folder ``.quarantine`` of the store. Raises ArtifactMissing, StoreUnavailable."""
        path = self._path(ref)
        try:
            kept = make_folders(self.root, QUARANTINE) / f"{ref.kind}-{ref.sha256}-{secrets.token_hex(4)}"
            path.rename(kept)
            fsync_folder(kept.parent)
            fsync_folder(path.parent)
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"{ref.kind} {ref.sha256} is not under {self.root}; there is nothing to keep"
            ) from error
        except OSError as error:
            raise StoreUnavailable(f"cannot move {path} to quarantine: {error}; it stays where it is") from error
        return str(kept)

    def _path(self, ref: ArtifactRef) -> Path:
        if not _SHA256.fullmatch(ref.sha256):
            raise InvalidValue(f"expected a SHA-256 of 64 lower-case hex digits, got {ref.sha256!r}")
        return self.root / _checked_kind(ref.kind) / ref.sha256[:2] / ref.sha256


def _checked_kind(kind: str) -> str:
    if not _KIND.fullmatch(kind):
        raise InvalidValue(f"an artifact kind is a lower-case name such as 'mask', got {kind!r}")
    return kind


def _touched(path: Path) -> bool:
    """Whether there is a file at `path`; it counts as put now, so that nobody collects it before its row is written."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file at `path` is exactly `data` (False when absent, shorter, longer or damaged)."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
