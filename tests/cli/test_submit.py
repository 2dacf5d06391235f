"""`alframe submit` and `alframe doctor --cluster` on a real cluster: a head with a job server, and a node that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alframe import config
from alframe.storage import SqlLedger
from alframe.testing.clusters import Nodes

pytestmark = [pytest.mark.ray, pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def nodes(pixels: Path) -> Iterator[Nodes]:
    """With a token of its own; processes that are started meanwhile have it."""
    before = dict(os.environ)
    os.environ |= {"RAY_AUTH_TOKEN": "d" * 64, "PYTHONPATH": str(pixels)}
    try:
        with Nodes(1, dashboard=True) as started, started.environment():
            yield started
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def shared(nodes: Nodes, campaign: Path, postgres_url: str) -> Path:
    """A campaign whose ledger every node reaches."""
    section = f"ray: {{address: '{nodes.address}', workers: 1, forward: [HOME]}}"
    campaign.write_text(f"{campaign.read_text()}ledger: {postgres_url}\n{section}\n")
    return campaign


def alframe(*arguments: str | Path) -> tuple[int, Any, str]:
    """Exit code, standard output as JSON, standard error."""
    program = Path(sys.executable).parent / "alframe"
    ran = subprocess.run([program, *arguments, "--json"], text=True, capture_output=True, check=False)
    return ran.returncode, json.loads(ran.stdout) if ran.stdout.strip() else None, ran.stderr


def test_a_job_runs_the_campaign_and_is_remembered(nodes: Nodes, shared: Path) -> None:
    server = ("--address", f"http://{nodes.dashboard}")
    code, found, told = alframe("submit", shared, *server)
    assert (code, found["state"], found["exit_code"]) == (0, "SUCCEEDED", 0), told
    assert "alframe run campaign.yaml" in told
    settings = config.load(shared)
    with SqlLedger(settings.ledger_url) as ledger:
        assert ledger.campaign("tiny").status == "done"
    assert list((settings.workdir_path / "artifacts").rglob("*")), (
        "what is relative to the YAML is found from elsewhere"
    )
    assert alframe("submit", shared, *server, "--job", found["job"])[:2] == (code, found)
    code, _, told = alframe("submit", shared, *server, "--job", "alframe-tiny-0")
    assert (code, f"it knows {found['job']}" in told) == (2, True)


def test_the_code_of_the_campaign_is_the_jobs_and_a_second_driver_is_not_started(nodes: Nodes, shared: Path) -> None:
    """Ray calls every code but 0 a failure; this campaign waits for labels (3)."""
    shared.write_text(shared.read_text().replace("type: simulated", "type: manual"))
    server = ("--address", f"http://{nodes.dashboard}")
    code, found, told = alframe("submit", shared, *server, "--detach")
    assert (code, "Handed in" in told) == (0, True)
    code, ended, told = alframe("submit", shared, *server)
    assert (code, ended["job"], ended["state"]) == (3, found["job"], "FAILED"), told
    assert "Runs already" in told


def test_doctor_asks_every_node(nodes: Nodes, shared: Path) -> None:
    code, rows, _ = alframe("doctor", "--cluster", "--config", shared, "--folder", shared.parent)
    assert code == 0, [row for row in rows if row["state"] != "ok"]
    found = {row["name"]: (row["state"], row["found"]) for row in rows}
    assert found["cluster"][0] == "ok"
    assert found["cluster"][1].startswith("2 nodes, 1 CPU, 0 GPU")
    assert found["versions"][1].endswith("on 2 nodes")
    assert "room for 1 to train" in found["room"][1]
    assert found["nodes' store"] == found["nodes' pool"] == ("ok", "the same on 2 nodes as here")
    assert found["nodes' database"] == ("ok", "answers on 2 nodes")
    assert found["nodes' clocks"][0] == "ok"
    assert [path for path in (shared.parent / "work" / "artifacts").rglob("*") if path.is_file()] == []
