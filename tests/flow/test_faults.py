"""Fault injection, the short version: a few cases of every fault, and the four mutants that the harness must catch.

It runs in a process of its own, because it forks: nothing of pytest, torch or Ray may have started threads there.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alframe.storage.artifacts import FileArtifacts
from alframe.testing.faults import FAULTS, MUTANTS
from alframe.testing.faults.power import PowerLoss, tear_last_commit
from alframe.testing.faults.processes import spawn
from alframe.types import ArtifactRef


def benchmark(repository: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *arguments],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.fixture(scope="module")
def short(repository: Path) -> tuple[dict[str, Any], str]:
    return benchmark(repository, "--quick")


HERE = [fault for fault in FAULTS if fault.quick]


@pytest.mark.parametrize("fault", HERE, ids=lambda fault: fault.title)
def test_a_fault_comes_to_what_it_must(short: tuple[dict[str, Any], str], fault: Any) -> None:
    result, output = short
    assert result["violated"][str(fault.number)] == 0, output


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.title)
def test_the_harness_catches_a_mutant(short: tuple[dict[str, Any], str], mutant: Any) -> None:
    result, output = short
    assert result["mutants"][mutant.title] == 1, output


def test_it_kills(short: tuple[dict[str, Any], str]) -> None:
    assert short[0]["kills"] >= 15


@pytest.mark.ray
@pytest.mark.slow
def test_driver_and_member_killed_on_ray(repository: Path) -> None:
    result, output = benchmark(repository, "--only", "1", "6", "--cases", "1", "--without")
    assert result["violated"] == {"1": 0, "6": 0}, output


@pytest.mark.ray
@pytest.mark.slow
def test_nodes_removed_and_the_head_killed(repository: Path) -> None:
    result, output = benchmark(repository, "--only", "7", "8", "--without")
    assert result["violated"] == {"7": 0, "8": 0}, output
    assert result["kills"] == 3


@pytest.mark.ray
@pytest.mark.slow
def test_killed_for_memory_in_a_loop(repository: Path) -> None:
    result, output = benchmark(repository, "--only", "9", "--without")
    assert result["violated"] == {"9": 0}, output


@pytest.mark.postgres
@pytest.mark.slow
def test_postgresql_restarted_and_away(repository: Path, postgres: object) -> None:
    result, output = benchmark(repository, "--only", "12", "13", "--without")
    assert result["violated"] == {"12": 0, "13": 0}, output


def struck(folder: Path, act: Any, *, gambling: bool = False, seed: int = 0) -> None:
    """`act` in a process whose power is cut afterwards."""

    def work(say: Any) -> None:
        loss = PowerLoss(folder, random.Random(seed), gambling=gambling)
        loss.watch()
        act()
        loss.strike()

    ended = spawn(work).wait()
    assert ended.code == 0, ended


def test_power_loss_keeps_what_was_synced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def act() -> None:
        (tmp_path / "empty").write_text("gone")  # its name is synced below, its bytes never are
        with (tmp_path / "named").open("w") as file:  # its bytes and its name are synced, what follows is not
            file.write("kept")
            file.flush()
            os.fsync(file.fileno())
            handle = os.open(tmp_path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            file.write(" and lost")
        with (tmp_path / "nameless").open("w") as file:  # its bytes are synced, its name is not
            file.write("gone")
            file.flush()
            os.fsync(file.fileno())
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("gone")

    struck(tmp_path, act)
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(left.pop("empty")) < len("gone")
    assert left == {"old": "old", "named": "kept"}


@pytest.mark.parametrize("seed", range(8))
def test_an_artifact_survives_power_loss_whatever_the_disk_keeps(tmp_path: Path, seed: int) -> None:
    store, data = FileArtifacts(tmp_path / "deep" / "store"), b"pixels" * 100
    struck(tmp_path, lambda: store.put("mask", data), gambling=True, seed=seed)
    ref = ArtifactRef(kind="mask", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    assert store.get(ref) == data
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [ref.sha256]


def test_a_folder_left_by_a_killed_writer_is_made_durable_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync

    def watched(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    (tmp_path / "store" / "mask").mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", watched)
    FileArtifacts(tmp_path / "store").put("mask", b"pixels")
    assert {tmp_path.stat().st_ino, (tmp_path / "store").stat().st_ino} <= set(synced)


def test_a_torn_commit_is_rolled_back_by_sqlite_and_the_one_before_it_stays(tmp_path: Path) -> None:
    for seed in range(10):
        file = tmp_path / f"{seed}.db"

        def act(file: Path = file) -> None:
            connection = sqlite3.connect(file, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (n)")
            for n in range(3):
                connection.execute("INSERT INTO t VALUES (?)", [n])
            os._exit(0)

        spawn(lambda say, act=act: act()).wait()
        tear_last_commit(file.with_name(f"{seed}.db-wal"), random.Random(seed))
        reopened = sqlite3.connect(file)
        assert reopened.execute("SELECT n FROM t ORDER BY n").fetchall() == [(0,), (1,)]
        reopened.close()
