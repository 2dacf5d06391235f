"""Is this machine fit for a campaign? Each check says what it found and, when it does not like it, what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from alframe import __version__, registry

__all__ = ["Check", "diagnose"]

_GIB = 1 << 30
_PACKAGES = ("torch", "monai", "ray", "zarr", "sqlalchemy", "pyarrow", "pydantic", "numpy")
_SQLITE_FIXED = (3, 51, 3)

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; `advice` says what to do unless all is well."""

    name: str
    state: State
    found: str
    advice: str = ""


def _ok(name: str, found: str) -> Check:
    return Check(name=name, state="ok", found=found)


def _python() -> Check:
    return _ok("python", f"Python {sys.version.split()[0]}, alframe {__version__}")


def _packages() -> Check:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = f"Install alframe again with its requirements: pip install -c constraints.txt alframe ({', '.join(missing)})."
        return Check(name="packages", state="failed", found=f"missing: {', '.join(missing)}", advice=advice)
    return _ok("packages", ", ".join(found))


def _cpu() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _ok("cpu", f"{usable} of {os.cpu_count()} cores usable")


def _gpu() -> Check:
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        return Check(
            name="gpu",
            state="failed",
            found=f"torch cannot be loaded: {error}",
            advice="Reinstall torch for this machine.",
        )
    if not torch.cuda.is_available():
        return _ok("gpu", "none; training and scoring use the CPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return _ok("gpu", ", ".join(names))


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free in {folder}"
    if free < _GIB // 4:
        return Check(name="disk", state="failed", found=text, advice="Free some space, or choose another workdir.")
    if free < 5 * _GIB:
        return Check(
            name="disk", state="warning", found=text, advice="Checkpoints and pools may need more; see `alframe plan`."
        )
    return _ok("disk", text)


def _durability(folder: Path) -> Check:
    """Write, fsync, rename, fsync the folder: what every artifact goes through before a row names it."""
    try:
        with tempfile.TemporaryDirectory(prefix=".alframe-doctor-", dir=folder) as name:
            probe = Path(name) / "probe"
            with probe.open("wb") as stream:
                stream.write(b"alframe" * 1024)
                stream.flush()
                os.fsync(stream.fileno())
            probe.rename(probe.with_name("renamed"))
            handle = os.open(name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if (Path(name) / "renamed").stat().st_size != 7 * 1024:
                raise OSError("the file lost bytes on its way")
    except OSError as error:
        advice = "Choose a workdir on a local file system that you may write to and that supports fsync."
        return Check(name="durability", state="failed", found=f"{folder}: {error}", advice=advice)
    return _ok("durability", f"fsync and rename work in {folder}")


def _shared_memory() -> Check:
    place = Path("/dev/shm")
    if not place.is_dir():
        return _ok("shared memory", "no /dev/shm; Ray will use files")
    free = shutil.disk_usage(place).free
    text = f"{free / _GIB:.2f} GiB in /dev/shm"
    if free < _GIB // 2:
        advice = "Ray's object store will be slow. In Docker add --shm-size=2g, on Kubernetes an emptyDir with medium: Memory."
        return Check(name="shared memory", state="warning", found=text, advice=advice)
    return _ok("shared memory", text)


def _sqlite(folder: Path) -> Check:
    """The version, and whether this file system can hold a write-ahead log."""
    text = f"SQLite {sqlite3.sqlite_version}"
    try:
        with tempfile.TemporaryDirectory(prefix=".alframe-doctor-", dir=folder) as name:
            connection = sqlite3.connect(str(Path(name) / "probe.db"))
            try:
                mode = str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            finally:
                connection.close()
    except (OSError, sqlite3.Error) as error:
        advice = "Choose a workdir on a local file system, or a PostgreSQL ledger."
        return Check(name="sqlite", state="failed", found=f"{text}: {error}", advice=advice)
    if mode != "wal":
        advice = "This file system cannot hold a write-ahead log (a network one?): use a local workdir or a PostgreSQL ledger."
        return Check(name="sqlite", state="failed", found=f"{text}, journal mode {mode}", advice=advice)
    if sqlite3.sqlite_version_info < _SQLITE_FIXED:
        advice = (
            "Before 3.51.3 a log reset under several writers can lose a transaction. alframe writes from one process at a time, "
            "so do not write to the ledger with other programs while a campaign runs."
        )
        return Check(name="sqlite", state="warning", found=f"{text}, journal mode wal", advice=advice)
    return _ok("sqlite", f"{text}, journal mode wal")


def _ray() -> Check:
    if find_spec("ray") is None:
        return Check(
            name="ray",
            state="warning",
            found="not installed",
            advice="Campaigns with a section `ray` cannot run; pip install ray.",
        )
    try:
        number = version("ray")
    except PackageNotFoundError:
        return Check(name="ray", state="failed", found="broken installation", advice="Reinstall ray.")
    if tuple(int(part) for part in number.split(".")[:2]) < (2, 60):
        advice = "Older versions let anyone who reaches their ports run code: pip install 'ray>=2.60'."
        return Check(name="ray", state="failed", found=f"ray {number}", advice=advice)
    return _ok("ray", f"ray {number}; clusters are asked for their token unless RAY_AUTH_MODE=disabled")


def _plugins() -> Check:
    found = [plugin for group in registry.GROUPS for plugin in registry.inspect(group)]
    broken = [plugin for plugin in found if plugin.problem]
    if broken:
        text = "; ".join(f"{plugin.name} ({plugin.distribution}): {plugin.problem}" for plugin in broken)
        return Check(name="plug-ins", state="warning", found=text, advice="Update or uninstall them; the others work.")
    return _ok("plug-ins", f"{len(found)} found, all load")


def diagnose(folder: Path) -> tuple[Check, ...]:
    """Look at this machine and at `folder`, where campaigns would be kept. Writes only short-lived files there.

    Raises:
        FileNotFoundError: when `folder` does not exist.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    checks: tuple[Callable[[], Check], ...] = (
        _python,
        _packages,
        _cpu,
        _gpu,
        lambda: _disk(folder),
        lambda: _durability(folder),
        _shared_memory,
        lambda: _sqlite(folder),
        _ray,
        _plugins,
    )
    return tuple(check() for check in checks)
