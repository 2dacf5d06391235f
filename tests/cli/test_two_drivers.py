"""Two drivers of one campaign as people start them: two processes of ``alframe run``, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alframe import config
from alframe.campaign import campaign_digest
from alframe.cli import main
from alframe.ports import Fence
from alframe.storage import SqlLedger
from alframe.testing.contracts import ledger as samples

# a driver that stops itself as Ctrl-Z would, the second time it comes to a failpoint
SLEEPER = """
import os, signal, sys
from alframe import failpoints
from alframe.cli import main
point, count = sys.argv.pop(1), [2]
def hook(name):
    count[0] -= name == point
    if name == point and count[0] == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
with failpoints.installed(hook):
    sys.exit(main())
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, campaign: Path) -> Iterator[SqlLedger]:
    """The ledger of `campaign`; its lease is so long that only a test can end it."""
    text = campaign.read_text().replace("{device: cpu}", "{device: cpu, lease_seconds: 36000}")
    if request.param == "postgres":
        text += f"ledger: {request.getfixturevalue('postgres_url')}\n"
    campaign.write_text(text)
    settings = config.load(campaign)
    settings.workdir_path.mkdir(exist_ok=True)
    with SqlLedger(settings.ledger_url) as opened:
        yield opened


@pytest.fixture
def sleeper(campaign: Path, pixels: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start ``alframe run`` and return when it sleeps at a failpoint."""
    started: list[subprocess.Popen[str]] = []

    def start(point: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SLEEPER, point, "run", str(campaign)]
        environment = os.environ | {"PYTHONPATH": str(pixels), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), process.communicate()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def quiet_digest(finished: Path) -> str:
    with SqlLedger(config.load(finished).ledger_url, create=False) as opened:
        return campaign_digest(opened, "tiny")


def test_the_second_driver_leaves_with_its_own_code_and_the_first_ends_undisturbed(
    ledger: SqlLedger,
    sleeper: Callable[[str], subprocess.Popen[str]],
    campaign: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = sleeper("campaign.trained.before")
    before = samples.contents(ledger, "tiny")
    assert main(["run", str(campaign)]) == 5
    message = " ".join(capsys.readouterr().err.split())
    assert f"process {first.pid} on" in message
    if "sqlite" in ledger._database.shown:
        assert f"process {first.pid} on this machine" in message
    assert samples.contents(ledger, "tiny") == before
    first.send_signal(signal.SIGCONT)
    first.communicate()
    assert first.returncode == 0
    assert campaign_digest(ledger, "tiny") == quiet_digest(finished)


@pytest.mark.parametrize(
    "point",
    [
        "campaign.scored.before",
        "artifact.mask.after_folder",
        pytest.param("campaign.planned.before", marks=pytest.mark.slow),
        pytest.param("campaign.planned.after", marks=pytest.mark.slow),
        pytest.param("ledger.record_artifact.after_commit", marks=pytest.mark.slow),
        pytest.param("campaign.asked.before", marks=pytest.mark.slow),
        pytest.param("campaign.calibrated.after", marks=pytest.mark.slow),
        pytest.param("campaign.done.before", marks=pytest.mark.slow),
    ],
)
def test_a_driver_that_wakes_after_a_take_over_writes_nothing(
    ledger: SqlLedger, sleeper: Callable[[str], subprocess.Popen[str]], campaign: Path, finished: Path, point: str
) -> None:
    paused = sleeper(point)
    record = ledger.campaign("tiny")
    ledger.renew(Fence(campaign="tiny", epoch=record.epoch), lease_seconds=0)  # the lease runs out while it sleeps
    assert main(["run", str(campaign)]) == 0
    assert ledger.campaign("tiny").epoch == record.epoch + 1
    before = samples.contents(ledger, "tiny")
    paused.send_signal(signal.SIGCONT)
    _, errors = paused.communicate()
    assert paused.returncode == 5, errors
    assert "taken over" in " ".join(errors.split())
    assert samples.contents(ledger, "tiny") == before
    assert campaign_digest(ledger, "tiny") == quiet_digest(finished)
