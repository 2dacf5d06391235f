"""Faults 10, 11 and 18: no room for a checkpoint or a row, bits that flip in stored files."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alframe import failpoints
from alframe.testing.faults.lab import Flow, Hook, Lab, ledger_rows
from alframe.testing.faults.model import Fault, Outcome

__all__ = ["STORES"]

ROOM = 4 * 2**20
FLIPS = {"mask": "campaign.committed.after", "checkpoint": "campaign.trained.after", "scores": "campaign.scored.after"}
"""What is damaged, and the failpoint after which the campaign must read it again."""
NAMED = {
    "mask": "SELECT mask_kind, mask_sha256 FROM answers",
    "checkpoint": "SELECT kind, sha256 FROM artifacts WHERE key LIKE 'member/%' AND round = 1",
    "scores": "SELECT kind, sha256 FROM artifacts WHERE kind = 'scores' AND round = 1",
}


@contextmanager
def _small_disk(lab: Lab) -> Iterator[tuple[Path, bool]]:
    """A trial's folder on a small file system of its own where this process may mount one; whether it is one."""
    with lab.folder() as folder:
        where = folder.with_name(f"{folder.name}-disk")
        where.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={ROOM}", "alframe-faults", str(where)]
        mounted = (
            os.geteuid() == 0 and subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
        )
        try:
            shutil.copytree(folder, where, dirs_exist_ok=True)
            yield where, mounted
        finally:
            if mounted:
                subprocess.run(["umount", str(where)], check=True)
            shutil.rmtree(where)


def _filler(folder: Path, mounted: bool, point: str, count: int) -> Hook:
    """Fills the disk the `count`-th time that `point` is reached (without a disk of its own: no file may grow any more)."""
    left = [count]

    def hook(name: str) -> None:
        left[0] -= name == point
        if name != point or left[0]:
            return
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (folder / "ballast").open("wb", buffering=0) as file:
            size = 65536
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    return hook


def _full(lab: Lab, point: str, count: int, flow: Flow) -> Outcome:
    outcome = Outcome()
    with _small_disk(lab) as (folder, mounted):
        ended = lab.drive(folder, flow=flow, hook=_filler(folder, mounted, point, count)).wait()
        outcome.expect(ended.last("error") == "StoreUnavailable", f"a full disk was not told as such: {ended}")
        lab.audit(folder, outcome, ended.all("ack"), "with the disk full")
        (folder / "ballast").unlink(missing_ok=True)
        acknowledged = ended.all("ack")
        ended = lab.finish(folder, outcome, flow)
        lab.audit(folder, outcome, acknowledged + ended.all("ack"), "at the end")
    return outcome


def full_for_a_checkpoint(lab: Lab, count: int) -> Outcome:
    """No room when the `count`-th checkpoint is to be written."""
    return _full(lab, "artifact.checkpoint.before_write", count, "oracle")


def full_for_a_row(lab: Lab, case: tuple[str, int]) -> Outcome:
    """No room when a transaction is to be committed."""
    return _full(lab, case[0], case[1], "tell")


def _commits(lab: Lab) -> list[tuple[str, int]]:
    names = lab.points("tell")
    methods = ("ledger.advance.before_commit", "ledger.record_artifact.before_commit", "ledger.claim.before_commit")
    return [(name, n) for name in methods for n in range(1, names.count(name) + 1)][::5]


def flipped(lab: Lab, case: tuple[str, int]) -> Outcome:
    """One bit of a stored file is flipped between two runs; a backup brings it back afterwards."""
    kind = case[0]
    outcome = Outcome()
    with lab.folder() as folder:
        ended = lab.drive(folder, hook=failpoints.kill_at(FLIPS[kind], 2 if kind != "mask" else 1)).wait()
        outcome.expect(ended.killed, f"the driver was not stopped at {FLIPS[kind]}: {ended}")
        outcome.kills += 1
        files = sorted({sha256 for _, sha256 in ledger_rows(folder, NAMED[kind])})
        rng = lab.rng("flip", case)
        name = rng.choice(files)
        file = folder / "artifacts" / kind / name[:2] / name
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        file.write_bytes(bad)
        ended = lab.drive(folder).wait()
        outcome.expect(ended.last("error") == "ArtifactDamaged", f"a flipped bit of a {kind} was not seen: {ended}")
        outcome.expect(name in ended.last("text"), f"the damaged {kind} is not named: {ended}")
        file.write_bytes(good)
        lab.finish(folder, outcome)
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def _flips(lab: Lab) -> list[tuple[str, int]]:
    return [(kind, number) for number in range(3) for kind in FLIPS]


STORES = (
    Fault(
        number=10,
        title="disk full on a checkpoint",
        expected="an error that says so, no row; goes on when there is room",
        cases=lambda lab: list(range(1, lab.points("oracle").count("artifact.checkpoint.before_write") + 1)),
        trial=full_for_a_checkpoint,
    ),
    Fault(
        number=11,
        title="disk full on the database",
        expected="rolled back, not acknowledged; goes on when there is room",
        cases=_commits,
        trial=full_for_a_row,
    ),
    Fault(
        number=18,
        title="a bit flipped in a mask, checkpoint or score",
        expected="hash mismatch, the file is named; nothing is computed from it",
        cases=_flips,
        trial=flipped,
        quick=2,
    ),
)
