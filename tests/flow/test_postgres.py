"""Whole campaigns on PostgreSQL: the decisions of SQLite, through restarts, and no split brain when the server is away for long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alframe import compose, config, failpoints
from alframe.cli import main
from alframe.errors import ConfigurationError
from alframe.runtime import InlineExecutor
from alframe.storage import SqlLedger
from alframe.testing.campaigns import small_campaign
from alframe.testing.contracts import ledger as samples
from alframe.testing.postgres import PostgresServer

# a driver that waits for a line on its standard input in the middle of round 1, between two results
WAITING = """
import sys
from pathlib import Path
from alframe import failpoints
from alframe.errors import FencedError
from alframe.runtime import InlineExecutor
from alframe.testing.campaigns import small_campaign
left = [5]
def hook(name):
    left[0] -= name == "artifact.scores.after_folder"
    if name == "artifact.scores.after_folder" and left[0] == 0:
        print("waiting", flush=True)
        sys.stdin.readline()
campaign = small_campaign(Path(sys.argv[1]), InlineExecutor(), ledger_url=sys.argv[2], lease_seconds=float(sys.argv[3]))
try:
    with failpoints.installed(hook):
        campaign.run()
except FencedError as error:
    print(error)
    sys.exit(5)
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the small campaign on SQLite."""
    campaign = small_campaign(tmp_path_factory.mktemp("quiet"), InlineExecutor())
    assert campaign.run().status == "done"
    return campaign.digest()


@pytest.mark.postgres
def test_restarts_in_the_middle_of_transactions_change_nothing(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str, quiet: str
) -> None:
    reached: dict[str, int] = {}
    restarts: list[str] = []

    def restart(name: str) -> None:
        reached[name] = reached.get(name, 0) + 1
        if (name, reached[name]) in (
            ("ledger.advance.before_commit", 4),
            ("ledger.record_artifact.before_commit", 3),
            ("ledger.begin_round.after_commit", 2),
        ):
            restarts.append(name)
            postgres.control("--mode=immediate", "restart")

    campaign = small_campaign(tmp_path, InlineExecutor(), ledger_url=postgres_url)
    with failpoints.installed(restart):
        assert campaign.run().status == "done"
    assert len(restarts) == 3
    assert campaign.digest() == quiet


@pytest.mark.postgres
def test_a_server_away_for_longer_than_the_lease_ends_the_driver(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str, quiet: str
) -> None:
    lease = 1.0
    command = [sys.executable, "-c", WAITING, str(tmp_path), postgres_url, str(lease)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdin is not None
    assert driver.stdout is not None
    assert driver.stdout.readline() == "waiting\n"
    with SqlLedger(postgres_url) as ledger:
        before = samples.contents(ledger, "small")
        postgres.control("--mode=fast", "stop")
        try:
            time.sleep(2 * lease)
            said, _ = driver.communicate("go on\n")
        finally:
            postgres.control("start")
        assert driver.returncode == 5, said
        assert "Nothing more is written" in said
        assert samples.contents(ledger, "small") == before
    heir = small_campaign(tmp_path, InlineExecutor(), ledger_url=postgres_url)
    assert heir.run().status == "done"
    assert heir.digest() == quiet


def test_sqlite_and_a_cluster_are_refused_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    assert main(["init", str(path)]) == 0
    text = path.read_text()
    assert "\nruntime:" in text
    head, _, rest = text.partition("\nruntime:")
    tail = rest.partition("\n")[2]
    path.write_text(head + "\nray: {workers: 2, address: 'head:6379'}\n" + tail)
    settings = config.load(path)
    with pytest.raises(ConfigurationError, match=r"postgresql://.*head:6379.*SQLite file"):
        compose.open_campaign(settings)
    assert main(["run", str(path)]) == 2
    assert "docs/how-to/postgres.md" in " ".join(capsys.readouterr().err.split())
