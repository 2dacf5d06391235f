"""The progress of long training runs, beside the artifacts: ``<store>/.snapshots/<key>``, replaced as a whole.

Unlike an artifact a snapshot has no hash that a row names, and may be lost at any time. Its writer forgets it when the
run's checkpoint is recorded; what a dead campaign leaves is collected by ``alframe fsck --repair`` like any unfinished file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alframe import failpoints
from alframe.errors import InvalidValue, StoreUnavailable
from alframe.storage.durable import make_folders, write_file
from alframe.storage.objects import ObjectFolder

__all__ = ["SNAPSHOTS", "FileSnapshots", "ObjectSnapshots"]

SNAPSHOTS = ".snapshots"
"""Folder of an artifact store for snapshots; a name that no kind can have."""

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


class FileSnapshots:
    """Implements :class:`~alframe.ports.Snapshots` in the folder of an artifact store. Holds the path only."""

    def __init__(self, store: Path | str) -> None:
        self.store = Path(store).absolute()

    def at(self, key: str) -> FileSnapshot:
        """The snapshot of that name. Raises InvalidValue for a key that is not a plain lower-case name."""
        return FileSnapshot(store=self.store, key=_checked(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSnapshot:
    """Implements :class:`~alframe.ports.Snapshot` as one file."""

    store: Path
    key: str

    def load(self) -> bytes | None:
        """What was saved last, or None. Raises StoreUnavailable."""
        try:
            return (self.store / SNAPSHOTS / self.key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"cannot read the snapshot {self.key} under {self.store}: {error}") from error

    def save(self, data: bytes) -> None:
        """Replace what was saved before, all of it or nothing. Raises StoreUnavailable."""
        try:
            folder = make_folders(self.store, SNAPSHOTS)
            write_file(folder / self.key, data, lambda step: failpoints.reach(f"snapshot.{step}"))
        except OSError as error:
            raise StoreUnavailable(f"cannot save the snapshot {self.key} under {self.store}: {error}") from error

    def clear(self) -> None:
        """Remove the file, if there is one. Raises StoreUnavailable."""
        try:
            (self.store / SNAPSHOTS / self.key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"cannot remove the snapshot {self.key} under {self.store}: {error}") from error


class ObjectSnapshots:
    """Implements :class:`~alframe.ports.Snapshots` below the address of an artifact store. Holds the address only."""

    def __init__(self, url: str) -> None:
        self.folder = ObjectFolder(url)

    def at(self, key: str) -> ObjectSnapshot:
        """The snapshot of that name. Raises InvalidValue for a key that is not a plain lower-case name."""
        return ObjectSnapshot(folder=self.folder, key=f"{SNAPSHOTS}/{_checked(key)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSnapshot:
    """Implements :class:`~alframe.ports.Snapshot` as one object. Every method may raise StoreUnavailable."""

    folder: ObjectFolder
    key: str

    def load(self) -> bytes | None:
        """What was saved last, or None."""
        return self.folder.read(self.key)

    def save(self, data: bytes) -> None:
        """Replace what was saved before; a put is all or nothing."""
        self.folder.overwrite(self.key, data)

    def clear(self) -> None:
        """Remove the object, if there is one."""
        self.folder.delete(self.key)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidValue(f"a snapshot's key is a lower-case name such as 'glands.3.0.0', got {key!r}")
    return key
