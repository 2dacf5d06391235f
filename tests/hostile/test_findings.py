"""What fuzzing and reading for it found, each with the input that showed it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from alframe.annotator.masks import ENCODINGS
from alframe.errors import ArtifactDamaged, DataError, InvalidValue
from alframe.learners.checkpoints import ModelCard, load_model, save_model
from alframe.learners.networks import UNet
from alframe.learners.snapshots import decode
from alframe.oracles.label_studio import brush
from alframe.oracles.label_studio.annotations import checked
from alframe.oracles.label_studio.service import checked_url
from alframe.readers import read
from alframe.storage import parquet

VOX_OFFSET, EXTENDED = 108, 348


def nifti(offset: float, *, extension: bytes = b"") -> bytes:
    """A NIfTI-1 of 2 × 2 × 1 whose header says that voxels begin at `offset`."""
    data = bytearray(nibabel.Nifti1Image(np.ones((2, 2, 1), np.uint8), np.eye(4)).to_bytes())
    struct.pack_into("<f", data, VOX_OFFSET, offset)
    if extension:
        data[EXTENDED] = 1
        data[EXTENDED + 4 : EXTENDED + 4] = extension
    return bytes(data)


@pytest.mark.parametrize("offset", [2.0**25, np.inf, np.nan])
def test_voxels_of_nifti_begin_near_its_start(tmp_path: Path, offset: float) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(nifti(offset))
    with pytest.raises(DataError, match="begin within 16,777,216 bytes"):
        read(path)


READ = """
import resource, sys
from pathlib import Path
from alframe.errors import AlframeError
from alframe.readers import read
path = Path(sys.argv[1])
(path.parent / "good.nii").write_bytes((path.parent / "source.nii").read_bytes())
assert read(path.parent / "good.nii").array.size == 4  # everything is imported
used = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize"))) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 128 * 2**20,) * 2)
try:
    print(read(path).array.sum())
except AlframeError as error:
    print(type(error).__name__)
"""


def test_a_header_extension_is_not_read_into_memory(tmp_path: Path) -> None:
    """A gzip of half a megabyte whose header says that half a gigabyte of remarks precedes the voxels."""
    remark = struct.pack("<ii", 2**29, 6)
    (tmp_path / "source.nii").write_bytes(nifti(352.0))
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=9) as file:
        file.write(nifti(2.0**23, extension=remark)[:360])
        for _ in range(512):
            file.write(bytes(2**20))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "bomb.nii.gz")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr[-500:]


def test_uploaded_nifti_whose_extensions_lie() -> None:
    """Sizes that are negative, nothing or huge; and a header that is too short."""
    for size in (-16, 0, 2**31 - 16):
        raw = nifti(360.0, extension=struct.pack("<ii", size, 6))
        assert ENCODINGS["nifti"](raw, (2, 2)).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(InvalidValue, match="cannot be read"):
        ENCODINGS["nifti"](b"short", (2, 2))


def test_ome_that_names_another_file_does_not_open_it(tmp_path: Path) -> None:
    """Its description takes the second plane from a file outside of the folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    tifffile.imwrite(tmp_path / "secret.ome.tif", np.full((1, 8, 8), 99, np.uint8), metadata={"axes": "ZYX"})
    pixels = '<Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" SizeZ="2" SizeC="1" SizeT="1">'
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(["own.ome.tif", "../secret.ome.tif"])
    )
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    ome = (
        f'<?xml version="1.0"?><OME {space}><Image ID="I:0">{pixels}<Channel ID="C:0"/>{planes}</Pixels></Image></OME>'
    )
    path = folder / "own.ome.tif"
    tifffile.imwrite(path, np.full((8, 8), 7, np.uint8), description=ome, metadata=None)
    assert 99 in tifffile.imread(path), "the library follows it"
    assert np.unique(read(path).array).tolist() == [7]


def test_pages_that_have_no_end_are_counted(tmp_path: Path) -> None:
    """A page of 16 empty tags, followed by one that begins where the file breaks off: gone through one by one they never end."""
    data = bytearray(262)
    data[:9] = b"II*\0\x08\0\0\0\x10"
    data[12], data[203], data[259] = 4, 1, 1
    path = tmp_path / "endless.tif"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"features": [100_000, 100_000]}}, r"does not fit the network: .* expected \(100000,"),
        ({"spatial_dims": 7}, "does not describe a network that can be built"),
    ],
)
def test_a_checkpoint_of_another_network_than_its_weights(change: dict[str, Any], message: str) -> None:
    """One card speaks of a hundred gigabytes, which are not made; the other of more dimensions than there are layers for."""
    small = ModelCard(
        network=UNet(features=(2, 2)), spatial_dims=2, channels=1, classes=("a", "b"), contour=False, normalise="range"
    )
    weights = save_model(small.build().state_dict(), small)
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    card = json.loads(header["__metadata__"]["alframe"])
    card["network"] |= change.get("network", {})
    card |= {name: value for name, value in change.items() if name != "network"}
    header["__metadata__"]["alframe"] = json.dumps(card)
    text = json.dumps(header).encode()
    with pytest.raises(InvalidValue, match=message):
        load_model(len(text).to_bytes(8, "little") + text + weights[8 + length :])


@pytest.mark.parametrize(
    "content",
    [b"", b"\x02" + bytes(7) + b"{}", b"\x06" + bytes(7) + b'{"a":1}', bytes(8) + b"\xff", b"\x02" + bytes(7) + b"12"],
)
def test_a_snapshot_that_carries_its_digest_and_nothing_else_is_none(content: bytes) -> None:
    assert decode("me", hashlib.sha256(content).digest() + content) is None


def test_a_table_with_text_that_is_no_unicode_is_damaged() -> None:
    column = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    sink = io.BytesIO()
    pq.write_table(pa.table({"item": column}), sink)
    with pytest.raises(ArtifactDamaged, match="cannot be read"):
        parquet.decode(sink.getvalue())


def test_rows_of_a_table_are_counted_by_its_groups() -> None:
    """The reader makes room for what a group says, whatever the table says: here for 2 ** 34 rows."""
    whole = parquet.encode({"score": np.array([0.5, 1.5, 2.5])})
    size = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).total_byte_size
    rows = b"\x16" + _varint(2 * size) + b"\x16"  # in a footer: the group's bytes, then its rows
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = whole[start:-8].replace(rows + _varint(2 * 3), rows + _varint(2 * 2**34))
    assert footer != whole[start:-8]
    with pytest.raises(InvalidValue, match="declares 17179869184 bytes"):
        parquet.decode(whole[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1", limit=2**20)


def _varint(number: int) -> bytes:
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


@pytest.mark.parametrize("code", [10**12, "abc", [1, 256], [1.5], None, {}])
def test_a_brush_is_a_list_of_bytes(code: Any) -> None:
    """`bytes` of a number would be as many zeros."""
    with pytest.raises(InvalidValue):
        brush.decode(code, (2, 2))


@pytest.mark.parametrize("host", ["169.254.169.254", "0xA9FEA9FE", "metadata.google.internal", "[fe80::1]", "0.0.0.0"])
def test_label_studio_is_not_on_a_link_local_host(host: str) -> None:
    assert checked_url("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"
    with pytest.raises(InvalidValue, match="link-local"):
        checked_url(f"http://{host}/latest/meta-data")


GOOD = {
    "id": 1,
    "updated_at": "2026-01-02T03:04:05.678Z",
    "result": [{"type": "relation", "from_id": "a"}],
    "ground_truth": False,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "1"}, "id: Input should be a valid integer"),
        ({"result": ["x"]}, "result.0"),
        ({"result": [{"value": {"choices": 3}}]}, r"result.0.value.choices"),
        ({"result": [{"value": {"rle": 10**12}}]}, r"result.0.value.rle"),
        ({"updated_at": "yesterday"}, "a time"),
        ({"completed_by": "me"}, "completed_by"),
    ],
)
def test_an_annotation_has_the_documented_shape(change: dict[str, Any], message: str) -> None:
    assert checked(GOOD) == GOOD
    with pytest.raises(InvalidValue, match=message):
        checked(GOOD | change)
    with pytest.raises(InvalidValue, match="the whole"):
        checked([])
