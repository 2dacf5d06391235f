"""Installs a package for the length of a test: a real distribution with real entry points, in a folder of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["installed_plugins"]


@contextmanager
def installed_plugins(
    folder: Path, distribution: str, entries: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]
) -> Iterator[None]:
    """Make a distribution in `folder` and put it on the import path for the block.

    `entries` maps an entry-point group to names and their ``module:attribute``; `modules` maps module names to source text.
    """
    home = folder / distribution
    metadata = home / f"{distribution}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [
        line for group, names in entries.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in names.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, source in modules.items():
        (home / f"{name}.py").write_text(source)
    sys.path.insert(0, str(home))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(home))
        for name in modules:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
