"""What `doctor --config` says of a campaign's database, clock, store and device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alframe import config, surroundings
from alframe.cli import main
from alframe.doctor import Check
from alframe.storage import SqlLedger

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


def findings(folder: Path, text: str = YAML) -> dict[str, Check]:
    (folder / "c.yaml").write_text(text)
    return {check.name: check for check in surroundings.examine(config.load(folder / "c.yaml"))}


def test_a_healthy_campaign_and_one_that_never_began(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert "no ledger yet" in found["ledger"].found
    assert not (tmp_path / "work" / "ledger.db").exists()
    SqlLedger(f"sqlite:///{tmp_path / 'work' / 'ledger.db'}").close()
    found = findings(tmp_path)
    assert {check.state for check in found.values()} == {"ok"}
    assert {"ledger", "clock", "store", "workers", "device"} == set(found)
    assert [path for path in (tmp_path / "work" / "artifacts").rglob("*") if path.is_file()] == []


def test_a_database_that_is_away_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = YAML + "ledger: postgresql://nobody@127.0.0.1:1/none\n"
    found = findings(tmp_path, text)["ledger"]
    assert found.state == "failed"
    assert "Start the database" in found.advice
    capsys.readouterr()
    arguments = ["doctor", "--folder", str(tmp_path), "--config", str(tmp_path / "c.yaml"), "--json"]
    assert main(arguments) == 1
    assert {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}["ledger"] == "failed"


def test_a_clock_that_is_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings(tmp_path)
    SqlLedger(f"sqlite:///{tmp_path / 'work' / 'ledger.db'}").close()
    monkeypatch.setattr(SqlLedger, "clock", lambda self: surroundings.time.time() + 3600)
    found = findings(tmp_path)["clock"]
    assert (found.state, "3600 s ahead" in found.found) == ("warning", True)


def test_a_store_that_cannot_be_written_and_a_missing_gpu_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "artifacts").write_text("a file where the folder should be")
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = findings(tmp_path, YAML.replace("device: cpu", "device: cuda, threads: 4096"))
    assert {name: check.state for name, check in found.items() if name != "ledger"} == {
        "store": "failed",
        "workers": "warning",
        "device": "failed",
    }
    assert all(check.advice for check in found.values() if check.state != "ok")
