"""kill -9 of the driver around every phase, then resume: the digest of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alframe.runtime import InlineExecutor
from alframe.testing.campaigns import small_campaign
from alframe.types import Phase

PROGRAM = """
import sys
from pathlib import Path
from alframe.runtime import InlineExecutor
from alframe.testing.campaigns import small_campaign
from alframe.testing.pixel_learner import PixelLearner
campaign = small_campaign(Path(sys.argv[1]), InlineExecutor(), learner=PixelLearner(restarts=2, steps=20))
print(campaign.run().status, campaign.digest())
"""


def drive(folder: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ALFRAME_FAILPOINT": failpoint}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    done = drive(tmp_path_factory.mktemp("quiet"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("done ")
    return done.stdout


# round 0 has its own shape; in round 1 every phase does its full work
POINTS = [f"campaign.{phase}.{side}:2" for phase in Phase for side in ("before", "after")]
INSIDE = [
    "ledger.record_artifact.after_commit:1",
    "ledger.record_artifact.before_commit:5",
    "artifact.mask.after_rename:3",
]


@pytest.mark.parametrize("point", POINTS + INSIDE)
def test_a_killed_driver_resumes_to_the_same_digest(tmp_path: Path, undisturbed: str, point: str) -> None:
    killed = drive(tmp_path, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = drive(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == undisturbed


def test_a_driver_killed_again_and_again_gets_there(tmp_path: Path, undisturbed: str) -> None:
    for attempt in range(40):
        done = drive(
            tmp_path,
            f"ledger.record_artifact.after_commit:{1 + attempt % 4}" if attempt % 2 else "campaign.done.before:1",
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        done = drive(tmp_path)
    assert drive(tmp_path).stdout == undisturbed


def test_the_small_campaign_is_the_same_in_this_process(tmp_path: Path) -> None:
    digests = set()
    for n in range(2):
        folder = tmp_path / str(n)
        folder.mkdir()
        campaign = small_campaign(folder, InlineExecutor())
        campaign.run()
        digests.add(campaign.digest())
    assert len(digests) == 1
