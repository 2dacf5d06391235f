"""`fsck` and `replay` as a person runs them: exit codes, JSON, and a campaign that is whole again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from alframe.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def campaign_copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished.parent, tmp_path / "copy")
    return tmp_path / "copy" / finished.name


def output(capsys: Capture, *arguments: str | Path, code: int) -> Any:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_finished_campaign_is_clean_and_every_round_is_confirmed(finished: Path, capsys: Capture) -> None:
    found = output(capsys, "fsck", finished, code=0)
    assert found["findings"] == []
    again = output(capsys, "replay", finished, "--metrics", code=0)
    assert again["findings"] == []
    assert again["checked"]["rounds"] == again["checked"]["versions"] == found["checked"]["rounds"] == 4
    assert again["checked"]["queries"] == found["checked"]["queries"]
    assert main(["replay", str(finished)]) == 0
    assert "clean" in capsys.readouterr().out


def test_a_lost_checkpoint_and_a_flipped_label(campaign_copy: Path, capsys: Capture) -> None:
    store = campaign_copy.parent / "work" / "artifacts"
    lost = next(path for path in sorted((store / "checkpoint").rglob("*")) if path.is_file())
    before = lost.read_bytes()
    lost.unlink()
    assert [one["code"] for one in output(capsys, "fsck", campaign_copy, code=1)["findings"]] == ["missing"]
    repaired = output(capsys, "fsck", campaign_copy, "--repair", code=0)
    assert [one["outcome"] for one in repaired["findings"]] == ["repaired"]
    assert lost.read_bytes() == before
    label = next(path for path in sorted((store / "mask").rglob("*")) if path.is_file())
    label.write_bytes(label.read_bytes()[:-1])
    left = output(capsys, "fsck", campaign_copy, "--repair", code=1)
    assert [one["outcome"] for one in left["findings"]] == ["quarantined"]
    assert main(["fsck", str(campaign_copy)]) == 1
    assert "backup" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["fsck", "replay"])
def test_a_campaign_that_never_began_is_not_created(campaign: Path, verb: str, capsys: Capture) -> None:
    assert main([verb, str(campaign)]) == 2
    assert "no ledger" in capsys.readouterr().err
    assert not (campaign.parent / "work" / "ledger.db").exists()
