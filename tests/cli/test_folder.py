"""A campaign that is labelled through a folder, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from alframe import compose, config
from alframe.cli import main


def drawn(path: Path, folder: Path) -> int:
    """Somebody labels all images that have no label map yet, from what the folder says."""
    pool, done = compose.open_pool(config.load(path)), 0
    for sheet in sorted((folder / "tasks").glob("*.json")):
        about, target = json.loads(sheet.read_text()), folder / "labels" / "anna" / f"{sheet.stem}.png"
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            box = tuple(slice(a, b) for a, b in zip(about["box"]["start"], about["box"]["stop"], strict=True))
            iio.imwrite(target, pool.truth(about["item"]).classes[box])
            done += 1
    return done


def output(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_run_ends_with_three_and_resume_goes_on(
    campaign: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = campaign.read_text()
    campaign.write_text(text.replace("oracle: {type: simulated}", "oracle: {type: folder, settle: 0}"))
    assert output(capsys, "run", campaign, code=3)["status"] == "waiting"
    folder = tmp_path / "work" / "labelling"
    (image,) = sorted((folder / "images").iterdir())[:1]
    wrong = folder / "labels" / image.name
    iio.imwrite(wrong, np.zeros((3, 3), np.uint8))
    assert main(["resume", str(campaign)]) == 3
    assert f"not taken: labels/{image.name}: expected" in " ".join(capsys.readouterr().out.split())
    (refused,) = output(capsys, "status", campaign)["refused"]
    assert (refused["tool"], refused["source"]) == ("folder", f"labels/{image.name}")
    assert wrong.with_name(f"{image.name}.problem.txt").exists()
    wrong.unlink()
    rounds = [drawn(campaign, folder)]
    moved = folder.rename(tmp_path / "work" / "elsewhere")  # where the folder is may change on the way
    campaign.write_text(campaign.read_text().replace("settle: 0", "settle: 0, folder: elsewhere"))
    while (code := main(["resume", str(campaign)])) == 3:
        rounds.append(drawn(campaign, moved))
    assert (code, rounds) == (0, [2, 3, 3])
    assert output(capsys, "status", campaign)["refused"] == []
    (rater,) = output(capsys, "raters", "list", campaign)
    assert (rater["rater"], rater["identity"], rater["submissions"]) == ("anna", "asserted", 8)
    assert output(capsys, "audit", "verify", campaign)["problems"] == []
    campaign.write_text(campaign.read_text().replace("settle: 0", "rater: bo, settle: 0"))
    assert main(["resume", str(campaign)]) == 2
    assert "oracle.rater" in capsys.readouterr().err
