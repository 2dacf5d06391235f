"""Small valid files of every kind that alframe reads, for fuzzers to begin from.

What reads them is imported late: a fuzzer must be able to watch it from the moment of its import.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "SHAPE",
    "YAML",
    "strokes",
    "arrays",
    "brushes",
    "checkpoints",
    "nifti",
    "rasters",
    "sheets",
    "snapshots",
    "submissions",
    "tables",
    "tiff",
    "zipped",
]

SHAPE = (10, 12)
"""Of every mask (Y, X)."""

YAML = """\
name: a
data: {root: data, images: "*.png", masks: {one: "*.png"}, classes: [a, b], splits: {train: 0.7, val: 0.2, test: 0.1}}
learner: {type: mc_dropout, passes: 2, network: {type: unet, features: [4, 8]}}
strategy: {type: uncertainty, measure: bald, window: [8, 8]}
batch: 3
oracle: {type: simulated}
budget: {rounds: 2, fraction: 0.5}
stop: {plateau: {metric: dice, rounds: 3}}
ledger: postgresql://a@b/c
store: s3://bucket/prefix
ray: {workers: 2, fit: {gpus: 0.5}, score: {gpus: 0.5}}
"""


def _mask() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 3, SHAPE, dtype=np.uint8)


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def rasters() -> list[tuple[str, bytes]]:
    """(suffix, file): PNG, BMP and JPEG of the usual colour types."""
    from PIL import Image

    grey = Image.fromarray(_mask())
    colour = Image.fromarray(np.random.default_rng(2).integers(0, 255, (*SHAPE, 3), dtype=np.uint8))
    palette = grey.copy().convert("P")
    found = [(".png", _saved(image, "PNG")) for image in (grey, colour, palette, colour.convert("RGBA"))]
    found += [(".png", _saved(Image.fromarray(_mask().astype(np.uint16)), "PNG"))]
    found += [(".png", _saved(grey, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", bits=2))]
    found += [(".bmp", _saved(image, "BMP")) for image in (grey, colour)]
    found += [(".jpg", _saved(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")) for image in (grey, colour)]
    return found


def tiff() -> list[bytes]:
    """One page and several, tiles, every compression that is read, with ImageJ's and OME's descriptions."""
    import tifffile
    from PIL import Image

    mask = _mask()
    stack = np.stack([mask, mask + 1])
    made: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (mask, {}),
        (mask, {"compression": "zlib"}),
        (np.zeros((32, 32), np.uint16), {"tile": (16, 16), "compression": "zlib", "bigtiff": True}),
        (stack, {"imagej": True, "metadata": {"axes": "ZYX"}}),
        (stack, {"ome": True, "metadata": {"axes": "ZYX"}}),
        (np.stack([mask] * 3, axis=-1), {"photometric": "rgb", "compression": "zlib", "predictor": True}),
    ]
    found = []
    for array, options in made:
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, **options)
        found.append(stream.getvalue())
    return [*found, *(_saved(Image.fromarray(mask), "TIFF", compression=name) for name in ("tiff_lzw", "packbits"))]


def nifti() -> list[bytes]:
    """NIfTI-1 and -2, with a matrix, a scale, an extension; not compressed."""
    import nibabel

    mask = _mask().T[..., np.newaxis]
    one = nibabel.Nifti1Image(mask, np.diag([2.0, 2, 3, 1]))
    scaled = nibabel.Nifti1Image(mask.astype(np.int16), np.eye(4))
    scaled.header.set_slope_inter(2.0, 1.0)
    extended = nibabel.Nifti1Image(mask, np.eye(4))
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
    two = nibabel.Nifti2Image(mask.astype(np.float32), np.eye(4))
    return [bytes(image.to_bytes()) for image in (one, scaled, extended, two)]


def sheets() -> list[bytes]:
    """What raters write beside a label map."""
    said = [{"outcome": "unusable", "reason": "torn", "seconds": 3.5}, {"outcome": "empty_confirmed"}, {}]
    return [json.dumps(one).encode() for one in said]


def submissions() -> list[bytes]:
    """The body of a request that hands in a mask."""
    mask = {"encoding": "gzip", "shape": list(SHAPE), "sha256": "0" * 64, "data": "AAAA"}
    whole = {"lease": "a1", "outcome": "labeled", "reason": "r", "mask": mask, "active_ms": 3, "client": "page"}
    return [json.dumps(whole).encode(), json.dumps({"task": "t", "outcome": "skipped"}).encode()]


def brushes() -> list[bytes]:
    """Codes of brush masks."""
    from alframe.oracles.label_studio import brush

    return [bytes(brush.encode(mask)) for mask in (_mask() > 0, np.ones(SHAPE, bool))]


def strokes() -> list[bytes]:
    """Annotations as Label Studio's interface gives them."""
    from alframe.oracles.label_studio import brush

    value = {"format": "rle", "rle": brush.encode(_mask() > 1), "brushlabels": ["b"]}
    place = {"original_width": SHAPE[1], "original_height": SHAPE[0], "image_rotation": 0, "item_index": 0}
    stroke = {"type": "brushlabels", "from_name": "classes", "value": value, **place}
    choice = {"type": "choices", "from_name": "outcome", "value": {"choices": ["Unusable image"]}}
    note = {"type": "textarea", "from_name": "reason", "value": {"text": ["blurred"]}}
    return [
        json.dumps(
            {
                "id": 1,
                "updated_at": "2026-01-02T03:04:05.678Z",
                "completed_by": {"id": 1, "email": "a@b"},
                "lead_time": 4.5,
                "result": result,
            }
        ).encode()
        for result in ([stroke], [choice, note], [])
    ]


def checkpoints() -> list[bytes]:
    """A model of each kind of network that is small when small."""
    from alframe.learners.checkpoints import ModelCard, save_model
    from alframe.learners.networks import LinkNet, UNet

    common: Mapping[str, Any] = {"channels": 1, "classes": ("a", "b"), "contour": False, "normalise": "range"}
    found = []
    for network in (UNet(features=(2, 2)), LinkNet(width=4, blocks=1)):
        card = ModelCard(network=network, spatial_dims=2, **common)
        found.append(save_model(card.build().state_dict(), card))
    return found


def snapshots() -> list[bytes]:
    """The progress of a training, with its digest."""
    from safetensors.numpy import save

    meta = {"identity": "me", "record": {}, "history": [], "scaler": {}, "averaged": 0}
    data = save({"best": np.zeros(1, np.uint8)}, metadata={"alframe-snapshot": json.dumps(meta)})
    return [hashlib.sha256(data).digest() + data]


def arrays() -> list[bytes]:
    """Containers of arrays."""
    from alframe.storage import arrays as containers

    return [containers.encode({"classes": np.arange(40, dtype=np.uint8), "b": np.zeros((3, 4), np.int32)})]


def tables() -> list[bytes]:
    """Parquet tables as scores are kept."""
    from alframe.storage import parquet

    return [parquet.encode({"item": np.array(["a", "ß", "c"]), "score": np.array([0.1, 0.2, np.nan])})]


def zipped(files: Callable[[], list[bytes]]) -> list[bytes]:
    """The same files in gzip."""
    return [gzip.compress(data, mtime=0) for data in files()]
