"""The pool on disk keeps the contract, notices every kind of damage, and appears whole or not at all."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe.errors import ArtifactDamaged, ConflictError, DataError, InvalidValue, NotFound
from alframe.failpoints import installed
from alframe.ports import ItemArrays, Pool, PoolItem
from alframe.storage import ZarrPool, pool_zarr, write_pool
from alframe.storage import pool_write as writing
from alframe.storage.pool_manifest import measured
from alframe.testing.contracts.pool import CLASSES, PoolContract, sample_items
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import Box, LabelMap

Damage = Callable[[Path], None]


class TestZarrPool(PoolContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.count = 0

    def make(self, items: Sequence[PoolItem], classes: Sequence[str]) -> Pool:
        self.count += 1
        return write_pool(self.folder / f"pool{self.count}.zarr", items, classes=classes)


class TestTiledZarrPool(TestZarrPool):
    """The same, when every array has many chunks."""

    @pytest.fixture(autouse=True)
    def _tiles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writing, "_WHOLE_BYTES", 16)
        monkeypatch.setattr(writing, "_TILE", {2: (4, 5), 3: (4, 3, 5)})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_pool(tmp_path / "pool.zarr", sample_items(), classes=CLASSES)
    return tmp_path / "pool.zarr"


def _read_everything(path: Path) -> None:
    pool = ZarrPool(path)
    for info in pool.items():
        pool.image(info.id)
        for rater in info.raters:
            pool.truth(info.id, rater)


def test_hash_does_not_depend_on_the_store(tmp_path: Path) -> None:
    items = sample_items(3)
    disk = write_pool(tmp_path / "p", items, classes=CLASSES)
    assert disk.manifest_hash == MemoryPool(items, classes=CLASSES).manifest_hash


def test_percentiles_are_not_those_of_one_column() -> None:
    """100,000 of 5,000,000 values is every 50th: in rows of 50, the same column each time."""
    (found,) = measured(np.tile(np.arange(50, dtype=np.uint8), (1, 100_000, 1)))
    assert (found.low, found.high) == (0, 49)


def test_few_arrays_stay_open(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that scores a pool of a million items does not keep a million handles."""
    monkeypatch.setattr(pool_zarr, "_HANDLES", 2)

    def handles() -> int:
        gc.collect()
        return sum(type(one) is zarr.Array for one in gc.get_objects())

    before, pool = handles(), ZarrPool(written)
    for info in pool.items():
        pool.image(info.id)
    assert handles() - before == 2


def test_plain_zarr_reads_it(written: Path) -> None:
    """A stranger, zarr itself, finds the pixels, with the zstd checksum on and no chunk left out."""
    items = sorted(sample_items(), key=lambda item: item.info.id)
    root = zarr.open_group(written, mode="r")
    for index, item in enumerate(items, start=1):
        group = root[f"i{index:06d}"]
        assert isinstance(group, zarr.Group)
        assert group.attrs["id"] == item.info.id
        array = group["image"]
        assert isinstance(array, zarr.Array)
        np.testing.assert_array_equal(array[:], item.load().image)
        assert array.nchunks_initialized == array.nchunks
        document = json.loads((written / array.path / "zarr.json").read_text())
        assert document["codecs"][-1]["configuration"]["checksum"] is True


def _chunk(path: Path) -> Path:
    return sorted(path.glob("i*/classes/c.*"))[0]


def _flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    file.write_bytes(bytes(data))


def _swap(path: Path) -> None:
    first, *_, last = sorted(path.glob("i*/classes/c.*"))
    other = last.read_bytes()
    last.write_bytes(first.read_bytes())
    first.write_bytes(other)


def _swap_names(path: Path) -> None:
    """Two items then show each other's pixels, and every chunk still has its hash."""
    document = json.loads((path / "manifest.json").read_bytes())
    names = document["body"]["names"]
    names["zeta"], names["blank"] = names["blank"], names["zeta"]
    (path / "manifest.json").write_text(json.dumps(document))


DAMAGES: dict[str, Damage] = {
    "missing chunk": lambda path: _chunk(path).unlink(),
    "empty chunk": lambda path: _chunk(path).write_bytes(b""),
    "cut chunk": lambda path: _chunk(path).write_bytes(_chunk(path).read_bytes()[:-3]),
    "swapped chunks": _swap,
    "altered metadata": lambda path: _flip(path / "i000002" / "image" / "zarr.json", 77),
    "missing metadata": lambda path: (path / "i000002" / "image" / "zarr.json").unlink(),
    "altered manifest": lambda path: (path / "manifest.json").write_bytes(
        (path / "manifest.json").read_bytes().replace(b'"train"', b'"test"', 1)
    ),
    "exchanged names": _swap_names,
    "cut manifest": lambda path: (path / "manifest.json").write_bytes((path / "manifest.json").read_bytes()[:200]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed(written: Path, name: str) -> None:
    _read_everything(written)
    DAMAGES[name](written)
    with pytest.raises(ArtifactDamaged):
        _read_everything(written)
    with pytest.raises(ArtifactDamaged):
        ZarrPool(written).verify()


def test_zarr_alone_would_read_a_missing_chunk_as_zeros(written: Path) -> None:
    """Why the pool does not trust it: if this ever fails, the check of ours may be one too many."""
    chunk = _chunk(written)
    chunk.unlink()
    array = zarr.open_array(chunk.parent, mode="r")
    assert not array[0].any()


@pytest.mark.parametrize("kind", ["image", "classes", "instances"])
def test_every_flipped_bit_is_noticed(written: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    file = sorted(written.glob(f"i*/{kind}/c.*"))[-1]
    sound = file.read_bytes()
    for bit in rng.integers(0, 8 * len(sound), 25):
        _flip(file, int(bit))
        with pytest.raises(ArtifactDamaged):
            _read_everything(written)
        file.write_bytes(sound)
    _read_everything(written)


def test_a_box_reads_only_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_WHOLE_BYTES", 16)
    monkeypatch.setattr(writing, "_TILE", {2: (8, 8), 3: (8, 8, 8)})
    image = np.random.default_rng(0).integers(0, 255, (3, 32, 40), np.uint8)
    pool = write_pool(tmp_path / "p", [pool_item("a", image)], classes=CLASSES)
    (tmp_path / "p" / "i000001" / "image" / "c.0.3.4").unlink()
    box = Box(start=(0, 0), stop=(24, 32))
    np.testing.assert_array_equal(pool.image("a", box), image[:, :24, :32])
    with pytest.raises(ArtifactDamaged, match=r"c\.0\.3\.4"):
        pool.image("a", Box(start=(20, 30), stop=(25, 33)))


def test_large_images_are_tiled() -> None:
    assert writing.chunk_shape((3, 512, 768), 1) == (3, 512, 768)
    assert writing.chunk_shape((3, 20_000, 400), 1) == (3, 512, 400)
    assert writing.chunk_shape((1, 300, 300, 300), 2) == (1, 32, 128, 128)


def test_writing_again_returns_the_pool_or_refuses(written: Path) -> None:
    items = sample_items()
    before = {file: file.read_bytes() for file in written.rglob("*") if file.is_file()}
    assert write_pool(written, items, classes=CLASSES).manifest_hash == ZarrPool(written).manifest_hash
    arrays = items[0].load()
    other = PoolItem(info=items[0].info, load=lambda: ItemArrays(image=arrays.image + np.uint8(1), truth=arrays.truth))
    moved = PoolItem(info=replace(items[0].info, group="x"), load=items[0].load)
    for changed, classes, said in [
        ([other, *items[1:]], CLASSES, "other pixels"),
        ([moved, *items[1:]], CLASSES, "zeta"),
        (items[1:], CLASSES, "zeta"),
        (items, ("background", "gland", "other"), "classes"),
    ]:
        with pytest.raises(ConflictError, match=said):
            write_pool(written, changed, classes=classes)
    assert {file: file.read_bytes() for file in written.rglob("*") if file.is_file()} == before


def test_what_is_not_a_pool_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError, match="not a pool"):
        write_pool(tmp_path / "here", sample_items(), classes=CLASSES)
    with pytest.raises(InvalidValue, match="https://"):
        write_pool("https://bucket/pool", sample_items(), classes=CLASSES)
    with pytest.raises(NotFound, match="ingest"):
        ZarrPool(tmp_path / "nothing").items()
    assert (tmp_path / "here" / "thesis.txt").read_text() == "years of work"


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    items = sample_items()
    broken = PoolItem(info=replace(items[-1].info, dtype="uint8"), load=items[-1].load)
    with pytest.raises(DataError, match="unread"):
        write_pool(tmp_path / "p", [*items[:-1], broken], classes=CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once(tmp_path: Path) -> None:
    """The second is told; the first is not disturbed."""
    said: list[str] = []

    def second(name: str) -> None:
        if name == "ingest.item" and not said:
            with pytest.raises(ConflictError, match="another process") as caught:
                write_pool(tmp_path / "p", sample_items(), classes=CLASSES)
            said.append(str(caught.value))

    with installed(second):
        pool = write_pool(tmp_path / "p", sample_items(), classes=CLASSES)
    assert said
    pool.verify()
    assert [entry.name for entry in tmp_path.iterdir()] == ["p"]


def test_every_file_and_folder_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[tuple[int, int]] = set()
    before: set[Path] = set()
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        status = os.fstat(handle)
        synced.add((status.st_dev, status.st_ino))

    def look(name: str) -> None:
        if name == "ingest.renamed":
            for entry in [tmp_path / "p", *(tmp_path / "p").rglob("*")]:
                status = entry.stat()
                if (status.st_dev, status.st_ino) not in synced:
                    before.add(entry)

    monkeypatch.setattr(os, "fsync", fsync)
    with installed(look):
        write_pool(tmp_path / "p", sample_items(), classes=CLASSES)
    assert not before
    status = tmp_path.stat()
    assert (status.st_dev, status.st_ino) in synced


WRITE = """
import sys
from alframe.storage import write_pool
from alframe.testing.contracts.pool import CLASSES, sample_items
write_pool(sys.argv[1], sample_items(), classes=CLASSES)
"""


@pytest.mark.parametrize(
    ("place", "exists"),
    [
        ("ingest.item:1", False),
        ("ingest.item:5", False),
        ("ingest.manifest.before_write:1", False),
        ("ingest.manifest.after_write:1", False),
        ("ingest.manifest.after_folder:1", False),
        ("ingest.renamed:1", True),
    ],
)
def test_killed_ingest_leaves_no_half_pool(tmp_path: Path, place: str, exists: bool) -> None:
    target = tmp_path / "pool.zarr"
    environment = os.environ | {"ALFRAME_FAILPOINT": place}
    killed = subprocess.run([sys.executable, "-c", WRITE, str(target)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.exists() is exists
    pool = write_pool(target, sample_items(), classes=CLASSES)
    assert pool.manifest_hash == MemoryPool(sample_items(), classes=CLASSES).manifest_hash
    pool.verify()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pool.zarr"]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), axes=st.sampled_from([2, 3]))
def test_any_box_of_any_tiling(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, axes: int) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=axes, max_size=axes)))
    tile = tuple(data.draw(st.lists(st.integers(1, 6), min_size=axes, max_size=axes)))
    image = np.arange(2 * np.prod(shape), dtype=np.uint16).reshape(2, *shape)
    labels = LabelMap(classes=(image[0] % 3).astype(np.uint8))
    folder = tmp_path_factory.mktemp("tiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_WHOLE_BYTES", 1)
        patch.setattr(writing, "_TILE", {axes: tile})
        pool = write_pool(folder / "p", [pool_item("a", image, {"r": labels})], classes=CLASSES)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start=start, stop=stop)
    np.testing.assert_array_equal(pool.image("a", box), image[(slice(None), *box.slices)])
    np.testing.assert_array_equal(pool.truth("a").classes, labels.classes)
    shutil.rmtree(folder)
