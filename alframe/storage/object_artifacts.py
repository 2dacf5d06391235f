"""The artifact store in an object store: immutable bytes under their SHA-256.

Layout: ``<address>/<kind>/<first two hex digits>/<sha256>``, as in a folder. A put on the condition that nothing has the name
takes the place of the rename, so there are no half-written objects, and of two writers of the same bytes one writes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from alframe import failpoints
from alframe.errors import ArtifactDamaged, ArtifactMissing, InvalidValue
from alframe.ports import StoredFile
from alframe.storage import arrays as array_format
from alframe.storage import parquet
from alframe.storage.objects import ObjectFolder
from alframe.storage.snapshots import SNAPSHOTS
from alframe.types import ArtifactRef

__all__ = ["ObjectArtifacts"]

QUARANTINE = ".quarantine"
FRESH_SECONDS = 600.0
"""An object put again is written again when it is older, so that nobody collects it before its row is written."""
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEY = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})/([0-9a-f]{2})/(\2[0-9a-f]{62})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ObjectArtifacts:
    """Implements :class:`~alframe.ports.Artifacts` below an address such as ``s3://bucket/prefix``.

    Holds the address only: picklable, safe in threads and processes. Every method may raise StoreUnavailable.
    """

    def __init__(self, url: str) -> None:
        self.folder = ObjectFolder(url)

    def __repr__(self) -> str:
        return f"ObjectArtifacts({self.folder.url!r})"

    def put(self, kind: str, data: bytes) -> ArtifactRef:
        """Store `data` durably under its hash; a damaged earlier copy is replaced.

        Raises:
            InvalidValue: for a `kind` that is not a plain lower-case name.
            StoreUnavailable: when the store cannot be written; nothing was recorded.
        """
        ref = ArtifactRef(kind=kind, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        key = _key(ref)
        failpoints.reach(f"artifact.{kind}.before_write")
        there = self.folder.create(key, data)
        if there is not None and (there != data or self._age(key) > FRESH_SECONDS):
            self.folder.overwrite(key, data)
        failpoints.reach(f"artifact.{kind}.after_write")
        return ref

    def _age(self, key: str) -> float:
        status = self.folder.status(key)
        return float("inf") if status is None else status.age

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of `ref`, verified; an object of another size is not downloaded.

        Raises:
            ArtifactMissing: when the store does not hold them.
            ArtifactDamaged: when they do not have the hash they are named by.
        """
        key = _key(ref)
        data = self.folder.read(key, size=ref.size)
        if data is None:
            raise ArtifactMissing(
                f"{ref.kind} {ref.sha256} is not in {self.folder}; restore it from a backup, or recompute its round"
            )
        if len(data) != ref.size or hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ArtifactDamaged(
                f"{self.folder}/{key} does not hold the {ref.size} bytes named {ref.sha256[:12]}…; "
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
        """All objects of the store, sorted by place, without those in quarantine."""
        for status in sorted(self.folder.listing(), key=lambda status: status.key):
            if status.key.startswith(f"{QUARANTINE}/"):
                continue
            match = _KEY.fullmatch(status.key)
            ref = ArtifactRef(kind=match[1], sha256=match[3], size=status.size) if match else None
            progress = status.key.startswith(f"{SNAPSHOTS}/")
            yield StoredFile(place=status.key, age=status.age, ref=ref, unfinished=progress)

    def delete(self, file: StoredFile, *, older: float) -> bool:
        """Remove an object that no ledger row names (the caller knows), unless it was put within the last `older` seconds.

        Raises:
            InvalidValue: when the place is outside the store.
        """
        if ".." in file.place.split("/"):
            raise InvalidValue(f"expected a place inside {self.folder}, got {file.place!r}")
        status = self.folder.status(file.place)
        if status is not None and status.age < older:
            return False
        self.folder.delete(file.place)
        return True

    def quarantine(self, ref: ArtifactRef) -> str:
        """Move the bytes of `ref` to ``.quarantine`` in the store. Raises ArtifactMissing, StoreUnavailable."""
        key, kept = _key(ref), f"{QUARANTINE}/{ref.kind}-{ref.sha256}-{secrets.token_hex(4)}"
        if self.folder.status(key) is None:
            raise ArtifactMissing(f"{ref.kind} {ref.sha256} is not in {self.folder}; there is nothing to keep")
        self.folder.copy(key, kept)
        self.folder.delete(key)
        return f"{self.folder}/{kept}"


def _key(ref: ArtifactRef) -> str:
    if not _KIND.fullmatch(ref.kind):
        raise InvalidValue(f"an artifact kind is a lower-case name such as 'mask', got {ref.kind!r}")
    if not _SHA256.fullmatch(ref.sha256):
        raise InvalidValue(f"expected a SHA-256 of 64 lower-case hex digits, got {ref.sha256!r}")
    return f"{ref.kind}/{ref.sha256[:2]}/{ref.sha256}"
