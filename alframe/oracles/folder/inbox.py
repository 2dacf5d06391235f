"""The label files of a folder: which ones there are, whether they are complete, and what they say.

A file is taken when nothing about it changed for `settle` seconds by the clock of its file system, so that a copy under way is left
alone; it is read once, and its hash and its pixels come from the same bytes. Links are never followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alframe.errors import DataError, InvalidValue
from alframe.labelling import Said
from alframe.oracles.folder.images import onto
from alframe.oracles.folder.layout import PROBLEM
from alframe.types import UNANNOTATED, LabelMap, Outcome

__all__ = ["SHEET", "Entry", "Inbox", "Incomplete", "MaskReader", "Piece", "entries", "say", "version"]

_MASKS = (".nii.gz", ".nii", ".png", ".tiff", ".tif")
SHEET = ".json"
_OURS = (PROBLEM, ".txt", ".md", ".log", ".tmp", ".part", ".partial", ".crdownload", "~")
_SYSTEM = ("thumbs.db", "desktop.ini")
_KEYS: dict[str, tuple[type, ...]] = {"outcome": (str,), "reason": (str,), "seconds": (int, float)}


class RawMask(Protocol):
    """A decoded label map."""

    @property
    def array(self) -> NDArray[Any]:
        """Its numbers (1, S)."""

    @property
    def affine(self) -> tuple[float, ...]:
        """The first three rows of the matrix that places NIfTI in space; empty where there is none."""


MaskReader = Callable[[Path, int], RawMask]
"""Decodes the label file at a path that may hold at most so many pixels. Raises DataError."""


class Incomplete(Exception):
    """The file changed a moment ago; somebody is still writing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One visible file or link below ``labels``: `rater` is the name of its folder, empty at the top."""

    path: Path
    rater: str
    suffix: str

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.name[: len(self.path.name) - len(self.suffix)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one rater saved for one name: a label map, a sheet, or both."""

    rater: str
    stem: str
    mask: Path | None = None
    sheet: Path | None = None

    @property
    def main(self) -> Path:
        """The file that stands for the piece in messages."""
        path = self.mask or self.sheet
        assert path is not None
        return path


def entries(labels: Path) -> Iterator[Entry]:
    """All files that somebody put into ``labels`` or a folder there, by name; an empty suffix = not a kind that is read."""
    for entry in sorted(labels.iterdir(), key=lambda path: path.name):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            for inner in sorted(entry.iterdir(), key=lambda path: path.name):
                yield from _entry(inner, entry.name)
        else:
            yield from _entry(entry, "")


def _entry(path: Path, rater: str) -> Iterator[Entry]:
    name = path.name.lower()
    if name.startswith(".") or name.endswith(_OURS) or name in _SYSTEM:
        return
    suffix = next((one for one in (*_MASKS, SHEET) if name.endswith(one)), "")
    yield Entry(path=path, rater=rater, suffix=suffix)


class Inbox:
    """Reads label files of one folder; `now` is its file system's clock, as of when this was made."""

    def __init__(self, labels: Path, settle: float) -> None:
        self._settle, self._labels = settle, labels
        self._now = clock(labels) if settle else 0.0

    def read(self, path: Path, most: int) -> bytes:
        """All bytes of a file of at most `most`.

        Raises:
            Incomplete: when it changed within the last `settle` seconds, or while it was read.
            InvalidValue: when it is a link, no ordinary file, or too large.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        folder = handle = -1
        try:
            folder = os.open(path.parent, flags | os.O_DIRECTORY)
            handle = os.open(path.name, flags | os.O_NONBLOCK, dir_fd=folder)
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise InvalidValue("this is not an ordinary file")
            if before.st_size > most:
                raise InvalidValue(f"the file has {before.st_size:,} bytes; for this task at most {most:,} are read")
            if self._settle and before.st_ctime > self._now - self._settle:
                raise Incomplete(path.name)
            with open(handle, "rb", closefd=False) as file:
                data = file.read(most + 1)
            if _stamp(os.fstat(handle)) != _stamp(before) or len(data) != before.st_size:
                raise Incomplete(path.name)
            return data
        except FileNotFoundError as error:
            raise Incomplete(path.name) from error
        except OSError as error:
            raise InvalidValue(f"this cannot be read ({error.strerror}); save a copy of the file itself") from error
        finally:
            for one in (handle, folder):
                if one >= 0:
                    os.close(one)


def clock(folder: Path) -> float:
    """What time it is for files in `folder`, which may be on another machine."""
    probe = folder / f".clock-{secrets.token_hex(8)}"
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_ctime
    except PermissionError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def version(mask: bytes | None, sheet: bytes | None) -> str:
    """What changes when either file does."""
    parts = b"".join(b"-" if part is None else hashlib.sha256(part).digest() for part in (mask, sheet))
    return hashlib.sha256(parts).hexdigest()


def say(
    mask: bytes | None,
    sheet: bytes | None,
    suffix: str,
    shape: tuple[int, ...],
    matrix: NDArray[np.float64],
    read_mask: MaskReader,
) -> Said:
    """What a piece says. Raises InvalidValue, DataError."""
    stated = {} if sheet is None else _sheet(sheet)
    outcome = Outcome(stated["outcome"]) if "outcome" in stated else None
    more = {"reason": stated.get("reason", ""), "seconds": stated.get("seconds")}
    if mask is None:
        if outcome is None or outcome is Outcome.LABELED:
            raise InvalidValue(
                "a .json without a label map needs an outcome: ambiguous, unusable, skipped, empty_confirmed"
            )
        empty = outcome is Outcome.EMPTY_CONFIRMED
        return Said(outcome=outcome, labels=LabelMap(classes=np.zeros(shape, np.uint8)) if empty else None, **more)
    if outcome is not None and not outcome.carries_label:
        raise InvalidValue(f"the .json says {outcome}, but there is a label map too; remove one of them")
    said = Said.drawn(_labels(mask, suffix, shape, matrix, read_mask), **more)
    if outcome not in (None, said.outcome):
        raise InvalidValue(f"the .json says {outcome}, but the label map says {said.outcome}; remove one of them")
    return said


def _sheet(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"this is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidValue('expected a JSON object such as {"outcome": "unusable", "reason": "torn"}')
    for key, value in found.items():
        kind = _KEYS.get(key)
        if kind is None:
            raise InvalidValue(f"unknown key {key[:40]!r}; expected {', '.join(_KEYS)}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidValue(
                f"expected {'a number' if key == 'seconds' else 'text'} for {key!r}, got {str(value)[:40]!r}"
            )
    if found.get("outcome", "labeled") not in list(Outcome):
        raise InvalidValue(f"unknown outcome {found['outcome'][:40]!r}; expected {', '.join(Outcome)}")
    if not 0 <= found.get("seconds", 0) < 1e9:
        raise InvalidValue(f"expected seconds from 0, got {found['seconds']}")
    return found


def _labels(
    data: bytes, suffix: str, shape: tuple[int, ...], matrix: NDArray[np.float64], read_mask: MaskReader
) -> LabelMap:
    with tempfile.TemporaryDirectory(prefix="alframe-labels-") as folder:  # the very bytes that were hashed
        copy = Path(folder) / f"label map{suffix}"
        copy.write_bytes(data)
        try:
            raw = read_mask(copy, 4 * int(np.prod(shape)) + 2**20)
        except DataError as error:
            found = error.problems[0]
            raise InvalidValue(f"expected {found.expected}, found {found.found}. Save it again, complete") from error
    array = raw.array[0]
    if array.ndim == len(shape) + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != len(shape) or sorted(array.shape) != sorted(shape):
        raise InvalidValue(f"expected a label map of shape {shape} (its image's), found {array.shape}")
    array = onto(array, raw.affine, matrix)
    if array.shape != shape:
        raise InvalidValue(f"expected a label map of shape {shape} (its image's), found {array.shape}")
    values = np.unique(array)
    if not all(float(value).is_integer() and 0 <= value <= UNANNOTATED for value in values):
        odd = [f"{value:g}" for value in values if not (float(value).is_integer() and 0 <= value <= UNANNOTATED)]
        raise InvalidValue(f"expected class numbers (0 to {UNANNOTATED}), found {', '.join(odd[:6])}")
    return LabelMap(classes=array.astype(np.uint8))
