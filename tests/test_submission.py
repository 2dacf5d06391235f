"""A campaign made ready to travel, and what its end as a job means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alframe import config, submission
from alframe.errors import ConfigurationError
from alframe.runtime.job_server import Ended

pytestmark = pytest.mark.ray
YAML = """\
name: tiny
workdir: work
data: {root: data, manifest: manifest.csv, classes: [background, gland]}
learner: {type: mc_dropout}
strategy: {type: random}
initial: {queries: 1}
batch: 1
oracle: {type: simulated}
budget: {rounds: 1}
runtime: {device: cpu}
"""
ON_A_CLUSTER = YAML + "ledger: postgresql://someone@db.example.org/alframe\nray: {workers: 2}\n"


def load(folder: Path, text: str) -> config.Config:
    (folder / "c.yaml").write_text(text)
    return config.load(folder / "c.yaml")


def test_what_travels_is_read_alike_from_any_folder(tmp_path: Path) -> None:
    here = load(tmp_path, ON_A_CLUSTER)
    there = config.loads(config.to_yaml(submission.portable(here)), folder="/somewhere/else")
    assert (there.workdir_path, there.pool_path, there.store_path) == (
        here.workdir_path,
        here.pool_path,
        here.store_path,
    )
    assert Path(there.data.root) == tmp_path / "data"
    assert {change.key for change in config.changes(here, there)} == {"workdir", "data.root", "ray.address"}
    assert all(change.safe for change in config.changes(here, there))


@pytest.mark.parametrize(
    ("text", "said"),
    [(YAML, "expected a section `ray`"), (YAML + "ray: {workers: 2}\n", "the SQLite file")],
)
def test_what_no_cluster_can_run_is_refused_here(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        submission.portable(load(tmp_path, text))


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [("SUCCEEDED", 0, 0), ("FAILED", 3, 3), ("FAILED", -9, 137), ("FAILED", None, 6), ("STOPPED", None, 130)],
)
def test_the_shell_is_told_how_the_job_ended(state: str, code: int | None, expected: int) -> None:
    assert submission.exit_code(Ended(state=state, code=code, reason="")) == expected


def test_nobody_at_the_address_is_code_6(tmp_path: Path) -> None:
    """In a process of its own, for Ray keeps the token that it read first."""
    load(tmp_path, ON_A_CLUSTER)
    code = "import sys; from alframe.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "submit", str(tmp_path / "c.yaml"), "--address", "http://127.0.0.1:1"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "RAY_AUTH_TOKEN": "a" * 64}
    )
    assert (ran.returncode, "http://127.0.0.1:1" in ran.stderr) == (6, True)
