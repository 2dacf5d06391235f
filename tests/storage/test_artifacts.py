"""The artifact contract on files, and what files can suffer."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alframe import failpoints
from alframe.errors import ArtifactDamaged, ArtifactMissing, InvalidValue, StoreUnavailable
from alframe.storage import FileArtifacts, arrays, parquet
from alframe.storage.durable import TEMPORARY
from alframe.testing.contracts.artifacts import ArtifactsContract
from alframe.types import ArtifactRef

STEPS = ("before_write", "after_write", "after_fsync", "after_rename", "after_folder")


@pytest.fixture
def store(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path / "new" / "store")


class TestFileArtifacts(ArtifactsContract):
    @pytest.fixture
    def make(self, store: FileArtifacts) -> FileArtifacts:
        return store


def _path(store: FileArtifacts, ref: ArtifactRef) -> Path:
    return store.root / ref.kind / ref.sha256[:2] / ref.sha256


def test_every_flipped_bit_is_seen_and_put_heals(store: FileArtifacts) -> None:
    data = bytes(range(40))
    ref = store.put("mask", data)
    for bit in range(0, 320, 7):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        _path(store, ref).write_bytes(broken)
        with pytest.raises(ArtifactDamaged, match="restore it"):
            store.get(ref)
    assert store.put("mask", data) == ref
    assert store.get(ref) == data


@pytest.mark.parametrize("broken", [b"", b"1234", b"123456"])
def test_another_length_is_seen(store: FileArtifacts, broken: bytes) -> None:
    ref = store.put("mask", b"12345")
    _path(store, ref).write_bytes(broken)
    with pytest.raises(ArtifactDamaged):
        store.get(ref)


def test_write_order(store: FileArtifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data reaches the disk before the name does, and the name before ``put`` returns."""
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        calls.append("fsync " + ("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file"))
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    store.put("mask", b"one")
    assert calls[-3:] == ["fsync file", "rename", "fsync folder"]
    assert set(calls[:-3]) == {"fsync folder"}
    calls.clear()
    store.put("mask", b"one")
    assert calls[-1] == "fsync folder"
    assert "rename" not in calls


KILLED = """
import sys
from alframe.storage import FileArtifacts
FileArtifacts(sys.argv[1]).put("mask", b"precious" * 100)
"""


@pytest.mark.parametrize("step", STEPS)
def test_kill_leaves_all_or_nothing(store: FileArtifacts, step: str) -> None:
    environment = os.environ | {"ALFRAME_FAILPOINT": f"artifact.mask.{step}"}
    child = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], env=environment, check=False)
    assert child.returncode == -9
    names = _names(store)
    assert len(names) == (step in ("after_rename", "after_folder"))
    ref = store.put("mask", b"precious" * 100)
    assert store.get(ref) == b"precious" * 100
    assert _names(store) == [ref.sha256]


def test_a_full_disk_leaves_nothing(store: FileArtifacts) -> None:
    def full(name: str) -> None:
        if name.endswith("after_write"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with failpoints.installed(full), pytest.raises(StoreUnavailable, match="No space left"):
        store.put("checkpoint", b"weights")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
    assert store.get(store.put("checkpoint", b"weights")) == b"weights"


def _names(store: FileArtifacts) -> list[str]:
    return [file.ref.sha256 for file in store.stored() if file.ref]


def test_stored_tells_artifacts_from_leftovers_and_strangers(store: FileArtifacts) -> None:
    assert list(store.stored()) == []
    refs = [store.put("mask", bytes([n])) for n in range(20)]
    other = store.put("scores", b"other kind")
    shelf = _path(store, refs[0]).parent
    (shelf / f"{TEMPORARY}left").write_bytes(b"half")
    (shelf / "notes.txt").write_text("mine")
    (shelf / ("0" * 64)).write_bytes(b"on the wrong shelf")
    found = list(store.stored())
    assert [file.ref for file in found if file.ref] == [*sorted(refs, key=lambda ref: ref.sha256), other]
    assert [Path(file.place).name for file in found if file.unfinished] == [f"{TEMPORARY}left"]
    assert {Path(file.place).name for file in found if not file.ref and not file.unfinished} == {"notes.txt", "0" * 64}


def test_delete_leaves_what_was_put_again(store: FileArtifacts) -> None:
    ref = store.put("scores", b"rows")
    os.utime(_path(store, ref), (1.0, 1.0))
    [old] = store.stored()
    assert old.age > 1e6
    store.put("scores", b"rows")
    assert not store.delete(old, older=3600)
    assert store.get(ref) == b"rows"
    os.utime(_path(store, ref), (1.0, 1.0))
    assert store.delete(old, older=3600)
    assert store.delete(old, older=3600)  # gone already
    assert _names(store) == []
    with pytest.raises(InvalidValue, match="inside"):
        store.delete(replace(old, place="../elsewhere"), older=0)


def test_quarantine_keeps_the_bytes_out_of_the_way(store: FileArtifacts) -> None:
    ref = store.put("mask", b"a label")
    _path(store, ref).write_bytes(b"a lobel")
    kept = store.quarantine(ref)
    assert Path(kept).read_bytes() == b"a lobel"
    assert list(store.stored()) == []
    with pytest.raises(ArtifactMissing):
        store.get(ref)
    with pytest.raises(ArtifactMissing):
        store.quarantine(ref)
    assert store.get(store.put("mask", b"a label")) == b"a label"


def test_array_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import hashlib, numpy as np; from alframe.storage import arrays;"
        "names = {'classes', 'instances', 'mean', 'x'};"
        "print(hashlib.sha256(arrays.encode({n: np.arange(9, dtype='u1') for n in names})).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert len(set(runs)) == 1


def test_a_bomb_is_refused_before_it_expands() -> None:
    data = arrays.encode({"a": np.zeros(10_000_000, np.uint8)})
    assert len(data) < 20_000
    with pytest.raises(InvalidValue, match="limit"):
        arrays.decode(data, limit=1_000_000)
    table = parquet.encode({"a": np.zeros(3_000_000)})
    with pytest.raises(InvalidValue, match="limit"):
        parquet.decode(table, limit=1_000_000)


def test_a_lying_size_is_seen() -> None:
    data = arrays.encode({"a": np.arange(1000)})
    size = struct.unpack_from("<9sQ", data)[1]
    for lie in (0, 1, size - 1, size + 1, 2 * size):
        with pytest.raises(ArtifactDamaged, match="declare"):
            arrays.decode(data[:9] + struct.pack("<Q", lie) + data[17:])


@pytest.mark.parametrize("cut", [18, 60, -1])
def test_a_stream_that_breaks_off_is_seen(cut: int) -> None:
    with pytest.raises(ArtifactDamaged):
        arrays.decode(arrays.encode({"a": np.arange(1000)})[:cut])


def test_foreign_bytes_are_refused() -> None:
    for data in (b"", b"ALFARRAY", b"PK\3\4" + bytes(40)):
        with pytest.raises(InvalidValue, match="alframe arrays"):
            arrays.decode(data)
    with pytest.raises(ArtifactDamaged):
        arrays.decode(arrays.HEADER.pack(arrays.MAGIC, 5) + zlib.compress(b"hello"))
    for data in (b"", b"PAR1" + bytes(40)):
        with pytest.raises(ArtifactDamaged, match="Parquet"):
            parquet.decode(data)


def test_the_name_that_safetensors_keeps_for_itself() -> None:
    with pytest.raises(InvalidValue, match="__metadata__"):
        arrays.encode({"__metadata__": np.zeros(2)})


def test_parquet_opens_in_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    path.write_bytes(parquet.encode({"item": np.array(["b", "ä"]), "score": np.array([0.5, 0.25])}))
    assert pq.read_table(path).to_pylist() == [{"item": "b", "score": 0.5}, {"item": "ä", "score": 0.25}]


DTYPES = st.sampled_from([np.dtype(code) for code in ("?", "i1", "u1", ">i2", "<i4", "u8", "f2", "<f4", ">f8")])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: name != "__metadata__"),
        DTYPES.flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
        ),
        max_size=4,
    )
)
def test_any_arrays_survive(given_arrays: dict[str, np.ndarray]) -> None:
    data = arrays.encode(given_arrays)
    found = arrays.decode(data)
    assert found.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(found[name], array)
    assert arrays.encode(found) == data
