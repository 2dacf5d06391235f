"""Public data sets by name, and archives by address: fetched, checked, unpacked, and described as a campaign wants them.

The names are the ten tasks of the Medical Segmentation Decathlon (Antonelli et al. 2022), with the addresses and MD5 sums
that MONAI publishes. MD5 tells damage, not malice.
"""

from __future__ import annotations

import difflib
import json
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from alframe.errors import ConflictError, InvalidValue, NotFound
from alframe.fetching import fetch, is_url
from alframe.folders import appearing

__all__ = ["Downloaded", "catalogue", "download", "unpack"]

MAX_FILES = 1_000_000
MAX_RATIO = 100
"""How much larger than its archive what is in it may be; images hardly shrink."""
_SMALL = 1 << 30
"""Bytes that may come out of any archive."""
_LITTER = ("._", "__MACOSX", ".DS_Store")
"""What one system leaves in archives; its names would match patterns for images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A folder with a data set. `data` is what a campaign's YAML says of it, None when the folder does not tell."""

    folder: str
    files: int
    data: dict[str, Any] | None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def catalogue() -> dict[str, tuple[str, str]]:
    """By name: address and digest."""
    from monai.apps.datasets import DecathlonDataset

    return {name: (url, f"md5:{DecathlonDataset.md5[name]}") for name, url in DecathlonDataset.resource.items()}


def download(source: str, folder: Path, digest: str = "") -> Downloaded:
    """Fetch an archive, by its name in the :func:`catalogue` or its address, and unpack it to `folder`, which appears whole.

    What came before a connection ended is kept beside the folder, and gone on from in the next call.

    Raises:
        NotFound: for a name that is not in the catalogue, or a file that the server does not have.
        ConflictError: when the folder is there and not empty.
        InvalidValue: when the file is no archive, or holds what may not be unpacked.
        ArtifactDamaged, StoreUnavailable: as :func:`alframe.fetching.fetch` says.
    """
    url = source
    if not is_url(source):
        known = catalogue()
        if source not in known:
            close = difflib.get_close_matches(source, known, n=1, cutoff=0.3)
            meant = f"did you mean {close[0]}? " if close else ""
            raise NotFound(
                f"no data set {source!r}; {meant}`alframe download` lists them, an https:// address goes too"
            )
        url, published = known[source]
        digest = digest or published
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} exists and is not an empty folder; choose another one")
    archive = folder.with_name(f"{folder.name}.archive")
    fetch(url, archive, digest)
    try:
        unpack(archive, folder)
    except InvalidValue as problem:
        archive.unlink()
        raise InvalidValue(f"{url}: {problem}") from problem
    archive.unlink()
    archive.with_name(archive.name + ".lock").unlink(missing_ok=True)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Downloaded(folder=str(folder), files=len(files), data=_described(folder))


def unpack(archive: Path, folder: Path) -> None:
    """A zip or tar (plain, gz, bz2, xz) as `folder`, which appears whole. What macOS adds to archives is left out.

    Raises:
        InvalidValue: when it is no such archive, is cut off, holds links, devices or names outside the folder, or promises
        more than `MAX_FILES` files or `MAX_RATIO` times its size.
        ConflictError: when the folder is there and not empty.
    """
    most = max(_SMALL, MAX_RATIO * archive.stat().st_size)
    with appearing(folder) as target:
        try:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as packed:
                    wanted = [one for one in packed.infolist() if not one.is_dir() and _wanted(one.filename)]
                    _allowed(((one.filename, one.file_size) for one in wanted), most)
                    for one in wanted:
                        packed.extract(one, target)
            else:
                with tarfile.open(archive) as bundle:
                    members = [one for one in bundle if not one.isdir() and _wanted(one.name)]
                    strange = [one.name for one in members if not one.isreg()]
                    if strange:
                        raise InvalidValue(f"it holds {strange[0]!r}, a link or device; nothing was unpacked")
                    _allowed(((one.name, one.size) for one in members), most)
                    bundle.extractall(target, members, filter="data")
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as problem:
            raise InvalidValue(
                f"expected a zip or tar archive, got something else or a part of one ({problem})"
            ) from problem


def _wanted(name: str) -> bool:
    return not any(part.startswith(_LITTER) for part in PurePosixPath(name).parts)


def _allowed(members: Iterable[tuple[str, int]], most: int) -> None:
    total = 0
    for count, (name, size) in enumerate(members, 1):
        total += size
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise InvalidValue(f"it holds {name!r}, a name outside the folder; nothing was unpacked")
        if count > MAX_FILES or total > most:
            raise InvalidValue(
                f"it promises more than {MAX_FILES:,} files or {most:,} bytes, {MAX_RATIO} times its size; unpack it yourself"
            )


def _described(folder: Path) -> dict[str, Any] | None:
    """The section ``data`` of a folder in the layout of the Decathlon, which tells its classes in ``dataset.json``."""
    for told in sorted([*folder.glob("dataset.json"), *folder.glob("*/dataset.json")]):
        try:
            said = json.loads(told.read_text(encoding="utf-8"))
            labels = {int(number): str(name) for number, name in said["labels"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if sorted(labels) != list(range(len(labels))) or not (told.parent / "labelsTr").is_dir():
            continue
        data: dict[str, Any] = {
            "root": str(told.parent.absolute()),
            "images": "imagesTr/*.nii.gz",
            "masks": "labelsTr/*.nii.gz",
            "classes": [labels[number] for number in sorted(labels)],
        }
        return data | ({"axes": "XYZC"} if said.get("tensorImageSize") == "4D" else {})
    return None
