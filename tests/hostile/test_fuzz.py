"""Damaged and hostile bytes: only errors of alframe come out, and a reader stays within its memory.

Every file begins as a valid one; then bytes are altered, cut out, doubled or cut off, so that the draws get past the first check
of a format. Nothing here asserts more than "a value, or an AlframeError".
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alframe import config
from alframe.errors import AlframeError
from alframe.learners.checkpoints import load_model, read_card
from alframe.learners.networks import UNet
from alframe.readers import Limits
from alframe.readers.formats import built_in, find_reader
from alframe.storage import ZarrPool, arrays, parquet, write_pool
from alframe.storage.locations import locate
from alframe.storage.pool_manifest import sealed
from alframe.testing.contracts.pool import CLASSES, sample_items

EXAMPLES = 40
LIMITS = Limits(pixels=2**20, megabytes=8)
SUFFIXES = (".png", ".bmp", ".jpg", ".tif", ".nii", ".nii.gz")


@cache
def _seed(suffix: str) -> bytes:
    """A small valid file."""
    pixels = np.random.default_rng(1).integers(0, 255, (12, 10), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        if suffix.startswith(".nii"):
            nibabel.save(nibabel.Nifti1Image(pixels[..., None].astype(np.int16), np.eye(4)), path)
        elif suffix == ".tif":
            tifffile.imwrite(path, pixels, compression="zlib")
        else:
            imageio.imwrite(path, pixels)
        return path.read_bytes()


@st.composite
def _damage(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """Edits: what, where (as a part of the length), with which bytes."""
    kinds = st.sampled_from(["set", "insert", "cut", "truncate"])
    where = st.floats(0, 1, allow_nan=False)
    return draw(st.lists(st.tuples(kinds, where, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))


def _applied(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, new in edits:
        at = int(where * len(data))
        if kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + len(new) :]
        else:
            data = data[:at]
    return data


@pytest.mark.filterwarnings("ignore")  # the libraries may say what they think of a damaged file
@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=EXAMPLES)
@given(edits=_damage())
def test_readers(suffix: str, edits: list[tuple[str, float, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(_applied(_seed(suffix), edits))
        try:
            read = find_reader(path, built_in()).read(path, limits=LIMITS)
        except AlframeError:
            return
        assert read.array.size <= LIMITS.pixels


@settings(max_examples=4 * EXAMPLES)
@given(edits=_damage())
def test_array_containers(edits: list[tuple[str, float, bytes]]) -> None:
    whole = arrays.encode({"classes": np.arange(40, dtype=np.uint8), "instances": np.zeros((3, 4), np.int32)})
    try:
        arrays.decode(_applied(whole, edits), limit=2**20)
    except AlframeError:
        return


@settings(max_examples=4 * EXAMPLES)
@given(edits=_damage())
def test_tables(edits: list[tuple[str, float, bytes]]) -> None:
    whole = parquet.encode({"item": np.array(["a", "ß", "c"]), "score": np.array([0.1, 0.2, np.nan])})
    try:
        parquet.decode(_applied(whole, edits), limit=2**20)
    except AlframeError:
        return


@cache
def _checkpoint() -> bytes:
    from alframe.learners.checkpoints import ModelCard, save_model

    card = ModelCard(
        network=UNet(features=(4, 8)), spatial_dims=2, channels=1, classes=("a", "b"), contour=False, normalise="range"
    )
    return save_model(card.build().state_dict(), card)


@settings(max_examples=2 * EXAMPLES)
@given(edits=_damage(), front=st.booleans())
def test_checkpoints(edits: list[tuple[str, float, bytes]], front: bool) -> None:
    """`front`: the damage is in the header, which says what is built."""
    whole = _checkpoint()
    size = 8 + int.from_bytes(whole[:8], "little") if front else len(whole)
    damaged = _applied(whole[:size], edits) + whole[size:]
    for read in (read_card, load_model):
        try:
            read(damaged)
        except AlframeError:
            continue


YAML = """\
name: a
data: {root: data, images: "*.png", classes: [a, b]}
learner: {type: mc_dropout, passes: 2}
strategy: {type: uncertainty, measure: bald, window: 8}
batch: 3
oracle: {type: simulated}
budget: {rounds: 2}
"""


@settings(max_examples=2 * EXAMPLES)
@given(edits=_damage(), snippet=st.text(max_size=12))
@example(edits=[("truncate", 0.0, b"x")], snippet="[" * 5000)
@example(edits=[("truncate", 0.0, b"x")], snippet="!!python/object/apply:os.system [id]")
@example(edits=[("insert", 0.5, b"x")], snippet="&a [*a]")
@example(edits=[("truncate", 0.9, b"x")], snippet="seed: " + "9" * 5000)
@example(edits=[("truncate", 0.0, b"x")], snippet="seed: 0x" + "f" * 9999)
@example(edits=[("truncate", 0.0, b"x")], snippet="seed: !!int x")
def test_yaml(edits: list[tuple[str, float, bytes]], snippet: str) -> None:
    text = _applied(YAML.encode(), edits).decode(errors="replace") + snippet
    try:
        config.loads(text, name="x", folder=Path("/nowhere"))
    except AlframeError:
        return


@settings(max_examples=5 * EXAMPLES)
@example(text="file://[")
@given(text=st.one_of(st.text(max_size=30), st.from_regex(r"(s3|gs|file|http)://[a-z0-9./@:%?#\[\]\\-]{0,30}")))
def test_addresses(text: str) -> None:
    try:
        found = locate(text)
    except AlframeError:
        return
    if isinstance(found, str):
        assert found.startswith(("s3://", "gs://"))
        assert not set("?#%\\ \0") & set(found)
        assert "@" not in found.split("/")[2]
        assert ".." not in found.split("/")


def _json() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "p"
    write_pool(folder, sample_items(), classes=CLASSES)
    return folder


@settings(max_examples=2 * EXAMPLES)
@given(
    key=st.sampled_from(["format", "manifest_hash", "classes", "items", "names", "intensities", "files"]), value=_json()
)
def test_manifests_that_carry_their_hash(pool: Path, key: str, value: object) -> None:
    """Anybody can compute the hash: a manifest is checked all the same."""
    body = json.loads((pool / "manifest.json").read_bytes())["body"] | {key: value}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "manifest.json").write_bytes(sealed(body))
        try:
            for info in ZarrPool(folder).items():
                ZarrPool(folder).image(info.id)
                ZarrPool(folder).intensities(info.id)
        except AlframeError:
            return
        assert body["items"] == []


@pytest.mark.parametrize("name", ["../../etc", "i1", "", "i000001/../i000002", 3])
def test_a_manifest_cannot_name_another_folder(pool: Path, tmp_path: Path, name: object) -> None:
    body = json.loads((pool / "manifest.json").read_bytes())["body"]
    body["names"]["zeta"] = name
    (tmp_path / "manifest.json").write_bytes(sealed(body))
    with pytest.raises(AlframeError, match="manifest"):
        ZarrPool(tmp_path).items()


@pytest.mark.parametrize(
    "channels",
    [[], [[0, 0, 0, 0]] * 3, [[0, 0, 0]] * 2, [[3, 2, 1, 0]] * 2, [["nan"] * 4] * 2, [[0, 0, 0, 10**400]] * 2, None, 7],
)
def test_a_manifest_cannot_lie_about_the_form_of_intensities(pool: Path, tmp_path: Path, channels: object) -> None:
    body = json.loads((pool / "manifest.json").read_bytes())["body"]
    body["intensities"]["zeta"] = channels
    (tmp_path / "manifest.json").write_bytes(sealed(body))
    with pytest.raises(AlframeError, match="manifest"):
        ZarrPool(tmp_path).items()


BOMB = """
import resource, sys, zlib
import numpy as np
from alframe.errors import AlframeError
from alframe.storage import arrays, parquet
bombs = [
    (arrays.decode, arrays.HEADER.pack(arrays.MAGIC, 2**40) + zlib.compress(bytes(2**20))),
    (arrays.decode, arrays.HEADER.pack(arrays.MAGIC, 2**10) + zlib.compress(bytes(2**28))),
    (parquet.decode, parquet.encode({"a": np.zeros(2**24)})),
]
used = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize"))) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 2**20,) * 2)
for decode, data in bombs:
    try:
        decode(data, limit=2**24)
    except AlframeError as error:
        print(type(error).__name__)
"""


def test_bombs_end_within_their_memory() -> None:
    """With 64 MiB of address space to spare, containers that expand to more are refused, not expanded."""
    done = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["InvalidValue", "ArtifactDamaged", "InvalidValue"]


def test_pickle_is_banned_by_lint(repository: Path) -> None:
    code = "import pickle\nimport torch\n\nx = pickle.loads(b'')\ny = torch.load('file')\n"
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "--stdin-filename=alframe/x.py", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=repository, check=False)
    assert done.returncode == 1
    assert done.stdout.count("TID251") >= 2
    assert "S301" in done.stdout
