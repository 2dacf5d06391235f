"""Labelling through a folder: tasks out as image files, labels in by the same names."""

from __future__ import annotations

from alframe.oracles.folder.oracle import Folder, FolderOracle

__all__ = ["Folder", "FolderOracle"]
