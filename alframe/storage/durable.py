"""Files that survive a crash: temporary file → fsync → rename → fsync of every folder entry on the way."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["TEMPORARY", "fsync_folder", "make_folders", "write_file"]

TEMPORARY = ".part-"
"""Prefix of files that a killed writer may leave behind; nothing ever reads them."""
_durable: set[Path] = set()
"""Folders below a root whose entry this process has made durable: a thousand small artifacts need that once, not each."""


def fsync_folder(folder: Path) -> None:
    """Make the entries of `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(root: Path, *parts: str) -> Path:
    """Create ``root/part/part…`` and make each entry durable, also those that an interrupted run had created."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)
    if root not in _durable:  # whoever made it may have died before its entry was durable
        fsync_folder(root.parent)
        _durable.add(root)
    folder = root
    for part in parts:
        child = folder / part
        try:
            child.mkdir()
        except FileExistsError:
            made = False
        else:
            made = True
        if made or child not in _durable:
            fsync_folder(folder)
            _durable.add(child)
        folder = child
    return folder


def write_file(path: Path, data: bytes, step: Callable[[str], None]) -> None:
    """Put `data` at `path` so that a crash leaves either all of it or nothing under that name.

    `step` is told ``before_write``, ``after_write``, ``after_fsync``, ``after_rename`` and ``after_folder``.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    step("before_write")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            step("after_write")
            os.fsync(file.fileno())
        step("after_fsync")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    step("after_rename")
    fsync_folder(path.parent)
    step("after_folder")
