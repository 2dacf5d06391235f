"""The artifact store on a local file system: immutable bytes under their SHA-256, durable before ``put`` returns.

Layout: ``<root>/<kind>/<first two hex digits>/<sha256>``. A file appears under its name complete or not at all; what a killed
writer leaves is a ``.part-…`` file that nothing reads. An artifact that no ledger row names is harmless.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from alframe import failpoints
from alframe.errors import ArtifactDamaged, ArtifactMissing, InvalidValue, StoreUnavailable
from alframe.storage import arrays as array_format
from alframe.storage import parquet
from alframe.storage.durable import TEMPORARY, fsync_folder, make_folders, write_file
from alframe.types import ArtifactRef

__all__ = ["FileArtifacts"]

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
            if _holds(path, data):
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

    def hashes(self, kind: str) -> Iterator[str]:
        """The SHA-256 names of all stored artifacts of one kind, sorted; unfinished files are left out."""
        folder = self.root / _checked_kind(kind)
        for shelf in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield from sorted(entry.name for entry in shelf.iterdir() if not entry.name.startswith(TEMPORARY))

    def delete(self, ref: ArtifactRef) -> None:
        """Remove an artifact that no ledger row names (the caller knows). Does nothing when it is absent already."""
        path = self._path(ref)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_folder(path.parent)

    def _path(self, ref: ArtifactRef) -> Path:
        if not _SHA256.fullmatch(ref.sha256):
            raise InvalidValue(f"expected a SHA-256 of 64 lower-case hex digits, got {ref.sha256!r}")
        return self.root / _checked_kind(ref.kind) / ref.sha256[:2] / ref.sha256


def _checked_kind(kind: str) -> str:
    if not _KIND.fullmatch(kind):
        raise InvalidValue(f"an artifact kind is a lower-case name such as 'mask', got {kind!r}")
    return kind


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file at `path` is exactly `data` (False when absent, shorter, longer or damaged)."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
