"""What reads the bytes of strangers, one function each: a value, or an error of alframe; anything else is a finding."""

from __future__ import annotations

import gzip
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from alframe.testing.fuzzing import seeds

__all__ = ["TARGETS", "TOGETHER", "Target"]

PIXELS, MEGABYTES = 2**20, 8
"""Limits that the readers are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Files to begin from, and the function that must read anything without another error than AlframeError."""

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], None]


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="alframe-fuzz-")


def _file(suffix: str, data: bytes) -> Path:
    path = Path(_folder().name, f"input{suffix}")
    path.write_bytes(data)
    return path


def _image(suffix: str, data: bytes, *, mask: bool) -> None:
    from alframe.readers import Limits, read

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries may say what they think of a damaged file
        found = read(_file(suffix, data), mask=mask, limits=Limits(pixels=PIXELS, megabytes=MEGABYTES))
    assert 0 < found.array.size <= PIXELS


def _raster(data: bytes) -> None:
    """By the first byte: which format, image or mask."""
    kind = data[0] if data else 0
    _image((".png", ".bmp", ".jpg")[kind % 3], data[1:], mask=kind > 127)


def _raster_seeds() -> list[bytes]:
    kinds = {".png": 0, ".bmp": 1, ".jpg": 2}
    files = seeds.rasters()
    # 129 is 0 modulo 3 and above 127
    return [bytes([kinds[suffix] + high]) + data for suffix, data in files for high in (0, 129)]


def _tiff(data: bytes) -> None:
    _image(".tif", data[1:], mask=bool(data[:1] and data[0] > 127))


def _nifti(data: bytes) -> None:
    """By the first byte: plain or packed here, so that the fuzzer need not guess at gzip's checksum; image or mask."""
    kind = data[0] if data else 0
    if kind % 2:
        _image(".nii.gz", gzip.compress(data[1:], 1, mtime=0), mask=kind > 127)
    else:
        _image(".nii", data[1:], mask=kind > 127)


def _gzip(data: bytes) -> None:
    _image(".nii.gz", data, mask=False)


def _prefixed(files: Callable[[], list[bytes]], *first: int) -> Callable[[], list[bytes]]:
    return lambda: [bytes([kind]) + data for data in files() for kind in first]


_LABELS = (".png", ".tif", ".nii", ".nii.gz")


def _label_file(data: bytes) -> None:
    """A label map in the folder of raters."""
    from alframe.oracles.folder.inbox import say
    from alframe.readers import read_mask

    suffix = _LABELS[data[0] % 4 if data else 0]
    body = gzip.compress(data[1:], 1, mtime=0) if suffix == ".nii.gz" else data[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        say(body, None, suffix, seeds.SHAPE, np.eye(4), read_mask)


def _label_seeds() -> list[bytes]:
    png = [b"\0" + data for suffix, data in seeds.rasters() if suffix == ".png"]
    return [*png, *_prefixed(seeds.tiff, 1)(), *_prefixed(seeds.nifti, 2, 3)()]


def _sheet(data: bytes) -> None:
    """The JSON beside it, or in place of one."""
    from alframe.oracles.folder.inbox import say
    from alframe.readers import read_mask

    say(None, data, "", seeds.SHAPE, np.eye(4), read_mask)


_ENCODINGS = ("gzip", "png", "nifti")


def _upload(data: bytes) -> None:
    """A mask as the labelling server receives it, unpacked from base64."""
    from alframe.annotator.masks import ENCODINGS

    encoding = _ENCODINGS[data[0] % 3 if data else 0]
    body = gzip.compress(data[1:], 1, mtime=0) if data[:1] and data[0] > 127 else data[1:]
    found = ENCODINGS[encoding](body, seeds.SHAPE)
    assert found.shape == seeds.SHAPE
    assert found.dtype == np.uint8


def _upload_seeds() -> list[bytes]:
    mask = gzip.compress(bytes(seeds.SHAPE[0] * seeds.SHAPE[1]), mtime=0)
    png = [b"\1" + data for suffix, data in seeds.rasters() if suffix == ".png"]
    # 128 is 2 modulo 3
    return [b"\0" + mask, *png, *_prefixed(seeds.nifti, 2, 128)()]


def _submission(data: bytes) -> None:
    from alframe.annotator.incoming import SubmissionIn, parsed

    parsed(SubmissionIn, data)


def _brush(data: bytes) -> None:
    from alframe.oracles.label_studio import brush

    assert brush.decode(list(data), seeds.SHAPE).shape == seeds.SHAPE


def _annotation(data: bytes) -> None:
    """What a server of Label Studio says: its client has parsed the JSON already."""
    from alframe.labelling import Task, TaskState
    from alframe.oracles.label_studio.annotations import author, checked, said, source
    from alframe.types import Box

    try:
        annotation = checked(json.loads(data))
    except (ValueError, RecursionError):  # of json; InvalidValue is a ValueError, too
        return
    box = Box(start=(0, 0), stop=seeds.SHAPE)
    task = Task(
        id="t", campaign="c", item="i", box=box, classes=("a", "b"), batch=0, place=0, state=TaskState.OPEN,
        taken=0, counted=0, skipped=0, disagreement=None, asked="",
    )  # fmt: skip
    said(annotation, task, box)
    author(annotation)
    source(annotation)


def _checkpoint(data: bytes) -> None:
    from alframe.learners.checkpoints import load_model

    load_model(data)


def _snapshot(data: bytes) -> None:
    """With the digest that anybody can compute."""
    from alframe.learners.snapshots import decode

    decode("me", hashlib.sha256(data[32:]).digest() + data[32:])


def _arrays(data: bytes) -> None:
    from alframe.storage import arrays

    arrays.decode(data, limit=2**20)


def _table(data: bytes) -> None:
    from alframe.storage import parquet

    parquet.decode(data, limit=2**20)


@cache
def _pool() -> Path:
    """A pool whose manifest is replaced again and again."""
    from alframe.storage import write_pool
    from alframe.testing.contracts.pool import CLASSES, sample_items

    path = Path(_folder().name, "pool")
    write_pool(path, sample_items(), classes=CLASSES)
    return path


def _manifests() -> list[bytes]:
    """Without its hash: :func:`_manifest` adds what anybody can compute."""
    return [json.dumps(json.loads((_pool() / "manifest.json").read_bytes())["body"]).encode()]


def _manifest(data: bytes) -> None:
    """A manifest that carries its hash."""
    from alframe.storage import ZarrPool
    from alframe.storage.pool_manifest import sealed

    try:
        body = json.loads(data)
        text = sealed(body)
    except (ValueError, RecursionError):
        return
    (_pool() / "manifest.json").write_bytes(text)
    pool = ZarrPool(_pool())
    for info in pool.items():
        pool.image(info.id)
        pool.intensities(info.id)


def _yaml(data: bytes) -> None:
    from alframe import config

    config.loads(data.decode(errors="replace"), name="x", folder=Path("/nowhere"))


def _address(data: bytes) -> None:
    from alframe.storage.locations import locate

    found = locate(data.decode(errors="replace"))
    assert not isinstance(found, str) or found.startswith(("s3://", "gs://"))


def _addresses() -> list[bytes]:
    return [b"s3://bucket/a/b", b"gs://bucket", b"file:///folder%20a", b"folder/a", b"http://169.254.169.254/"]


TARGETS = tuple(
    Target(name=name, seeds=begin, read=read)
    for name, begin, read in (
        ("images: PNG, BMP, JPEG", _raster_seeds, _raster),
        ("images: TIFF", _prefixed(seeds.tiff, 0, 128), _tiff),
        ("images: NIfTI", _prefixed(seeds.nifti, 0, 1, 128), _nifti),
        ("images: gzip of NIfTI", lambda: seeds.zipped(seeds.nifti), _gzip),
        ("folder of raters: label maps", _label_seeds, _label_file),
        ("folder of raters: JSON", seeds.sheets, _sheet),
        ("labelling server: masks", _upload_seeds, _upload),
        ("labelling server: requests", seeds.submissions, _submission),
        ("Label Studio: brush codes", seeds.brushes, _brush),
        ("Label Studio: annotations", seeds.strokes, _annotation),
        ("checkpoints", seeds.checkpoints, _checkpoint),
        ("snapshots of trainings", seeds.snapshots, _snapshot),
        ("stored arrays", seeds.arrays, _arrays),
        ("stored tables", seeds.tables, _table),
        ("pool manifests", _manifests, _manifest),
        ("configuration (YAML)", lambda: [seeds.YAML.encode()], _yaml),
        ("addresses", _addresses, _address),
    )
)
"""Everything that is fuzzed."""


def _any(data: bytes) -> None:
    TARGETS[data[0] % len(TARGETS) if data else 0].read(data[1:])


TOGETHER = Target(
    name="all together",
    seeds=lambda: [bytes([number]) + data for number, target in enumerate(TARGETS) for data in target.seeds()],
    read=_any,
)
"""All targets in one, for a short run: the first byte says which."""
