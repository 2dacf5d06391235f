"""Damages planted in a real campaign: each is found, and what a machine made is made again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from alframe import integrity
from alframe.campaign import CampaignLoop
from alframe.errors import ArtifactMissing, LeaseHeld
from alframe.ports import ItemArrays, PoolItem
from alframe.runtime import InlineExecutor
from alframe.storage import ZarrPool, write_pool
from alframe.storage.artifacts import QUARANTINE
from alframe.testing.campaigns import blobs, small_campaign
from alframe.types import ArtifactRef


def _open(folder: Path) -> CampaignLoop:
    return small_campaign(folder, InlineExecutor(), pool=ZarrPool(folder / "pool"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    pool = blobs()
    items = [
        PoolItem(
            info=info,
            load=lambda info=info: ItemArrays(  # type: ignore[misc]
                image=pool.image(info.id), truth={rater: pool.truth(info.id, rater) for rater in info.raters}
            ),
        )
        for info in pool.items()
    ]
    write_pool(folder / "pool", items, classes=pool.classes)
    assert _open(folder).run().status == "done"
    return folder


@dataclass
class Bench:
    folder: Path

    def open(self) -> CampaignLoop:
        return _open(self.folder)

    def check(self) -> integrity.Report:
        loop = self.open()
        return integrity.check(loop.parts.ledger, loop.parts.artifacts, loop.parts.pool, loop.name)

    def repair(self) -> integrity.Report:
        loop = self.open()
        return integrity.repair(loop.settings, loop.parts, self.check())

    def replay(self) -> integrity.Report:
        loop = self.open()
        return integrity.replay(loop.settings, loop.parts, metrics=True)

    def path(self, ref: ArtifactRef) -> Path:
        return self.folder / "artifacts" / ref.kind / ref.sha256[:2] / ref.sha256

    def ref(self, key: str, round: int = 1) -> ArtifactRef:
        return self.open().parts.ledger.artifacts("small", round)[key]

    def mask(self) -> ArtifactRef:
        return next(a.mask for a in self.open().parts.ledger.answers("small") if a.round == 2 and a.mask)

    def prefill(self) -> ArtifactRef:
        return next(q.prefill for q in self.open().parts.ledger.queries("small", 1) if q.prefill)

    def sql(self, statement: str) -> None:
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            assert connection.execute(statement).rowcount > 0
        connection.close()


@pytest.fixture
def bench(original: Path, tmp_path: Path) -> Bench:
    shutil.copytree(original, tmp_path / "copy")
    return Bench(tmp_path / "copy")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_an_undisturbed_campaign_is_clean_and_confirmed(bench: Bench) -> None:
    seen: list[tuple[int, int]] = []
    loop = bench.open()
    report = integrity.check(
        loop.parts.ledger, loop.parts.artifacts, loop.parts.pool, "small", progress=lambda *at: seen.append(at)
    )
    assert report.clean
    assert report.findings == ()
    assert seen[-1] == (report.checked["files"], report.checked["files"])
    assert min(report.checked.values()) > 0
    again = bench.replay()
    assert again.findings == ()
    assert again.checked["queries"] == report.checked["queries"]
    assert again.checked["versions"] == again.checked["rounds"] == report.checked["rounds"]
    assert again.checked["metrics"] > 100


RECOMPUTED: dict[str, Callable[[Bench], Path]] = {
    "a flipped checkpoint": lambda b: b.path(b.ref("checkpoint/0/0")),
    "a training loss": lambda b: b.path(b.ref("loss/0/0")),
    "a score table": lambda b: b.path(b.ref("score/000001/candidates")),
    "sums over the pool": lambda b: b.path(b.ref("score/000000/state")),
    "sums over the test split": lambda b: b.path(b.ref("evaluate/test/000000/state")),
    "a pre-fill": lambda b: b.path(b.prefill()),
    "a manifest": lambda b: b.path(b.ref("manifest")),
}


@pytest.mark.parametrize("lost", [False, True], ids=["flipped", "lost"])
@pytest.mark.parametrize("what", RECOMPUTED)
def test_what_a_machine_made_is_made_again(bench: Bench, what: str, lost: bool) -> None:
    path, digest = RECOMPUTED[what](bench), bench.open().digest()
    before = path.read_bytes()
    path.unlink() if lost else flip(path)
    found = bench.check()
    assert [finding.code for finding in found.findings] == ["missing" if lost else "damaged"]
    assert not found.clean
    repaired = bench.repair()
    assert [finding.outcome for finding in repaired.findings] == ["repaired"]
    assert repaired.clean
    assert path.read_bytes() == before
    assert bench.check().findings == ()
    assert bench.open().digest() == digest


def test_a_training_curve_holds_times_and_gets_another_name(bench: Bench) -> None:
    old = bench.ref("history/0/0")
    flip(bench.path(old))
    assert [finding.outcome for finding in bench.repair().findings] == ["renamed"]
    assert bench.ref("history/0/0") != old
    assert bench.check().clean


def test_many_damages_are_repaired_in_the_order_in_which_they_depend(bench: Bench) -> None:
    for what in RECOMPUTED:
        RECOMPUTED[what](bench).unlink()
    assert {finding.outcome for finding in bench.repair().findings} == {"repaired"}
    assert bench.check().findings == ()


def test_a_damaged_label_is_kept_aside_and_never_lost(bench: Bench) -> None:
    ref = bench.mask()
    flip(bench.path(ref))
    bad = bench.path(ref).read_bytes()
    report = bench.repair()
    assert [finding.outcome for finding in report.findings] == ["quarantined"]
    assert not report.clean
    [kept] = (bench.folder / "artifacts" / QUARANTINE).iterdir()
    assert kept.read_bytes() == bad
    with pytest.raises(ArtifactMissing):
        bench.open().parts.artifacts.get(ref)
    assert [finding.code for finding in bench.repair().findings] == ["missing"]  # reported for ever, never "repaired"


ROWS = {
    "version": "UPDATE rounds SET version = 'f00' WHERE round = 1",
    "parent": "UPDATE rounds SET parent = 'f00' WHERE round = 2",
    "query-id": "UPDATE queries SET x0 = x0 + 1, x1 = x1 + 1 WHERE round = 1 AND rank = 0",
    "sequence": "UPDATE answers SET sequence = 900 WHERE sequence = 3",
    "phases": "DELETE FROM phases WHERE round = 1 AND phase = 'scored'",
    "parts": "DELETE FROM artifacts WHERE round = 1 AND key = 'score/000000/candidates'",
    "members": "DELETE FROM artifacts WHERE round = 1 AND key = 'member/0'",
    "ranks": "DELETE FROM queries WHERE round = 2 AND rank = 0",
}


@pytest.mark.parametrize("code", ROWS)
def test_changed_rows_are_found_and_not_guessed_at(bench: Bench, code: str) -> None:
    bench.sql(ROWS[code])
    assert code in {finding.code for finding in bench.check().findings}


def test_a_damaged_pool_is_found(bench: Bench) -> None:
    chunk = max(
        (path for path in (bench.folder / "pool").rglob("image/c*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    flip(chunk)
    assert "pool" in {finding.code for finding in bench.check().findings}


def test_leftovers_are_collected_after_a_grace_period_and_labels_never(bench: Bench) -> None:
    store = bench.open().parts.artifacts
    old, young, label = store.put("scores", b"old"), store.put("scores", b"young"), store.put("mask", b"unnamed")
    part = bench.path(old).with_name(".part-0123")
    part.write_bytes(b"half")
    long_ago = time.time() - 48 * 3600
    for path in (bench.path(old), bench.path(label), part):
        os.utime(path, (long_ago, long_ago))
    report = bench.check()
    assert sorted(finding.code for finding in report.findings) == ["orphan", "unfinished"]
    assert report.clean
    assert {finding.outcome for finding in bench.repair().findings} == {"collected"}
    assert not bench.path(old).exists()
    assert not part.exists()
    assert bench.path(young).exists()
    assert bench.path(label).exists()


def test_nothing_is_repaired_while_a_driver_works(bench: Bench) -> None:
    flip(bench.path(bench.ref("checkpoint/0/0")))
    loop = bench.open()
    loop.parts.ledger.claim("small", holder="elsewhere:1:x", lease_seconds=600)
    with pytest.raises(LeaseHeld):
        bench.repair()
    assert not bench.check().clean


@pytest.mark.parametrize(
    ("code", "statement"),
    [
        ("queries", "UPDATE queries SET score = score + 1e-9 WHERE round = 2 AND rank = 1"),
        ("queries", "UPDATE queries SET item = 'blob-99' WHERE round = 1 AND rank = 2"),
        ("versions", "UPDATE answers SET outcome = 'empty_confirmed' WHERE sequence = 4"),
        ("metrics", "UPDATE metrics SET value = value + 1e-9 WHERE round = 1 AND scope = 'test' AND name = 'ece'"),
    ],
)
def test_a_replay_notices_a_planted_change(bench: Bench, code: str, statement: str) -> None:
    bench.sql(statement)
    assert code in {finding.code for finding in bench.replay().findings}
