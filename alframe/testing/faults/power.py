"""Power loss: of what a process wrote, only that survives which it had synced.

:class:`PowerLoss` watches ``os.fsync`` in its process, below all of alframe, and so cannot be told that something was
synced which was not. A file's bytes are durable from the moment its descriptor was synced, its name from the moment its folder was.
At :meth:`PowerLoss.strike` everything else is thrown away: all of it, or each piece by the toss of a coin, as disks do.

SQLite syncs its log itself, at each commit, before ``COMMIT`` returns. What a cut of the power can take from it is a commit
that has not returned: :func:`tear_last_commit` cuts the write-ahead log somewhere within the last one.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
from pathlib import Path
from typing import Any

__all__ = ["PowerLoss", "tear_last_commit"]

LEDGER = "ledger."
"""Files of this prefix are SQLite's."""
_HEADER, _FRAME = 32, 24


class PowerLoss:
    """Watches what this process syncs below `root`. What lies there when the watch begins is durable.

    It is never taken back: the process is meant to die by :meth:`strike`. With `gambling`, un-synced pieces survive by chance.
    """

    def __init__(self, root: Path, rng: random.Random, *, gambling: bool) -> None:
        self._root, self._rng, self._gambling = root, rng, gambling
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._sync, self._replace, self._unlink = os.fsync, os.replace, os.unlink
        for folder, _, files in os.walk(root):
            self._note_folder(folder)
            for file in files:
                if not file.startswith(LEDGER):
                    self._note_file(os.path.join(folder, file))  # noqa: PTH118

    def watch(self) -> None:
        """Begin."""
        patched: Any = os
        patched.fsync, patched.replace, patched.unlink = self._on_fsync, self._on_replace, self._on_unlink

    def strike(self) -> None:
        """Throw away what is not durable; the process must not write afterwards."""
        patched: Any = os
        patched.fsync, patched.replace, patched.unlink = self._sync, self._replace, self._unlink
        self._strike(self._root)

    def _note_folder(self, path: str | Path) -> None:
        with os.scandir(path) as entries:
            self._names[Path(path).stat().st_ino] = {entry.name: entry.inode() for entry in entries}

    def _note_file(self, path: str | Path) -> None:
        self._bytes[Path(path).stat().st_ino] = Path(path).read_bytes()

    def _on_fsync(self, handle: Any) -> None:
        self._sync(handle)
        number = handle if isinstance(handle, int) else handle.fileno()
        place = f"/proc/self/fd/{number}"
        if stat.S_ISDIR(os.fstat(number).st_mode):
            self._note_folder(place)
        else:
            self._note_file(place)

    def _forget(self, path: Any) -> None:
        """The file at `path` ends here: its number may be given to another one."""
        if Path(path).exists():
            self._bytes.pop(Path(path).stat().st_ino, None)

    def _on_replace(self, source: Any, target: Any, **options: Any) -> None:
        self._forget(target)
        self._replace(source, target, **options)

    def _on_unlink(self, path: Any, **options: Any) -> None:
        self._forget(path)
        self._unlink(path, **options)

    def _lost(self) -> bool:
        return not self._gambling or self._rng.random() < 0.5

    def _strike(self, folder: Path) -> None:
        durable = self._names.get(folder.stat().st_ino, {})
        for path in sorted(folder.iterdir()):
            if path.name.startswith(LEDGER):
                continue
            if durable.get(path.name) != path.stat().st_ino and self._lost():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_dir():
                self._strike(path)
            else:
                self._tear(path)

    def _tear(self, path: Path) -> None:
        found, kept = path.read_bytes(), self._bytes.get(path.stat().st_ino)
        if found == kept or not self._lost():
            return
        path.write_bytes(found[: self._rng.randrange(len(found) + 1) // 2] if kept is None else kept)


def tear_last_commit(log: Path, rng: random.Random) -> None:
    """Cut the SQLite write-ahead log `log` at a random place within its last commit, as if its sync had not come to an end."""
    data = log.read_bytes()
    page = struct.unpack_from(">I", data, 8)[0]
    salts = data[16:24]
    ends = [_HEADER]
    for start in range(_HEADER, len(data) - _FRAME - page + 1, _FRAME + page):
        pages = struct.unpack_from(">I", data, start + 4)[0]
        if data[start + 8 : start + 16] != salts:
            break  # frames of an earlier turn of the log
        if pages:
            ends.append(start + _FRAME + page)
    if len(ends) > 1:
        os.truncate(log, rng.randrange(ends[-2], ends[-1]))
