"""Snapshots in a folder and in an object store, and what becomes of them there."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from alframe import failpoints
from alframe.errors import StoreUnavailable
from alframe.storage import FileArtifacts, FileSnapshots, ObjectArtifacts, ObjectSnapshots
from alframe.testing.contracts.snapshots import SnapshotsContract

COUNT = itertools.count()


@pytest.fixture
def address(s3: str) -> str:
    return f"{s3}/snapshots-{next(COUNT)}"


class TestFileSnapshots(SnapshotsContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> FileSnapshots:
        return FileSnapshots(tmp_path / "store")


class TestObjectSnapshots(SnapshotsContract):
    @pytest.fixture
    def make(self, address: str) -> ObjectSnapshots:
        return ObjectSnapshots(address)


@pytest.mark.parametrize("step", ["before_write", "after_write", "after_fsync"])
def test_a_save_that_is_cut_off_leaves_the_former_one(step: str, tmp_path: Path) -> None:
    snapshot = FileSnapshots(tmp_path).at("run.1.0.0")
    snapshot.save(b"first")

    def hook(name: str) -> None:
        if name == f"snapshot.{step}":
            raise OSError("no space left on device")

    with failpoints.installed(hook), pytest.raises(StoreUnavailable, match="no space left"):
        snapshot.save(b"second")
    assert snapshot.load() == b"first"


def test_what_a_dead_run_leaves_in_a_folder_is_unfinished_and_can_be_collected(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    ref = store.put("mask", b"label")
    FileSnapshots(tmp_path).at("run.1.0.0").save(b"progress")
    os.utime(tmp_path / ".snapshots" / "run.1.0.0", (0, 0))
    (left,) = [file for file in store.stored() if file.ref != ref]
    assert left.unfinished
    assert left.place == ".snapshots/run.1.0.0"
    assert store.delete(left, older=60)
    assert FileSnapshots(tmp_path).at("run.1.0.0").load() is None


def test_what_a_dead_run_leaves_in_an_object_store_is_unfinished_and_can_be_collected(address: str) -> None:
    store = ObjectArtifacts(address)
    ref = store.put("mask", b"label")
    ObjectSnapshots(address).at("run.1.0.0").save(b"progress")
    (left,) = [file for file in store.stored() if file.ref != ref]
    assert left.unfinished
    assert not store.delete(left, older=60)
    assert store.delete(left, older=0)
    assert ObjectSnapshots(address).at("run.1.0.0").load() is None
