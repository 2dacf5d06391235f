"""Each verb on a real small campaign, with its exit code, its JSON and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alframe import access, compose, config
from alframe.cli import main
from alframe.errors import InvalidValue, NotFound

Spawn = Callable[..., "subprocess.Popen[str]"]
Capture = pytest.CaptureFixture[str]


def output(capsys: Capture, *arguments: str | Path, code: int = 0) -> Any:
    """Run a verb with ``--json`` and read its standard output, which must be JSON and nothing else."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_init_writes_a_valid_file_once(tmp_path: Path, capsys: Capture) -> None:
    for template in ("regions", "images", "volumes"):
        path = tmp_path / f"{template}.yaml"
        assert main(["init", str(path), "--template", template]) == 0
        assert main(["validate", str(path)]) == 0
        assert main(["init", str(path)]) == 2
        assert "exists" in capsys.readouterr().err
        assert main(["init", str(path), "--force"]) == 0
        assert "my-regions" in path.read_text()


def test_ingest_is_repeatable_and_says_what_it_wrote(campaign: Path, capsys: Capture) -> None:
    first, second = (output(capsys, "ingest", campaign) for _ in range(2))
    assert first == second
    assert sum(first["items"].values()) == 24
    assert Path(first["pool"]).is_dir()


def test_plan_changes_nothing(campaign: Path, capsys: Capture) -> None:
    before = sorted(path for path in campaign.parent.rglob("*"))
    found = output(capsys, "plan", campaign)
    assert (found["rounds"], found["queries"], found["trainings"]) == (2, 8, 3)
    assert sorted(path for path in campaign.parent.rglob("*")) == before


@pytest.mark.parametrize("verb", ["status", "stop", "resume", "report", "db upgrade", "export"])
def test_verbs_for_a_campaign_that_never_began_say_so_and_create_nothing(
    campaign: Path, capsys: Capture, verb: str
) -> None:
    before = sorted(campaign.parent.rglob("*"))
    extra = ["labels"] if verb == "export" else []
    assert main([*verb.split(), str(campaign), *extra]) == 2
    assert "no ledger" in capsys.readouterr().err
    assert sorted(campaign.parent.rglob("*")) == before


def test_running_without_a_pool_says_to_ingest(tmp_path: Path, pixels: Path, capsys: Capture) -> None:
    from .conftest import CAMPAIGN

    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN)
    assert main(["run", str(path)]) == 2
    assert "alframe ingest" in capsys.readouterr().err


def test_a_finished_campaign_shows_every_round(finished: Path, capsys: Capture) -> None:
    found = output(capsys, "status", finished)
    assert (found["name"], found["status"]) == ("tiny", "done")
    assert [row["queries"] for row in found["rounds"]] == [2, 3, 3, 0]
    assert [row["answers"] for row in found["rounds"]] == [2, 3, 3, 0]
    assert {row["phase"] for row in found["rounds"]} == {"done"}
    fractions = [row["fraction"] for row in found["rounds"]]
    assert fractions == sorted(fractions)
    assert 0 < found["rounds"][-1]["metrics"]["dice"] <= 1
    assert main(["status", str(finished)]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("tiny", "done", "Dice", "metrics on test"))
    assert all(len(line) <= 80 for line in table.splitlines())
    assert main(["status", str(finished), "--watch"]) == 0


def test_running_again_changes_nothing(finished: Path, capsys: Capture) -> None:
    digest = compose.open_campaign(config.load(finished)).digest()
    assert output(capsys, "run", finished) == output(capsys, "resume", finished)
    assert compose.open_campaign(config.load(finished)).digest() == digest


def test_report_is_one_file(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    path = Path(output(capsys, "report", finished, "--output", tmp_path / "r.html")["report"])
    assert path == tmp_path / "r.html"
    assert path.read_text(encoding="utf-8").startswith("<!")


def test_campaigns_with_nothing_in_common_share_no_report(finished: Path, campaign: Path, capsys: Capture) -> None:
    assert main(["report", str(finished), str(campaign)]) == 2
    assert "cannot share a report" in capsys.readouterr().err
    with pytest.raises(InvalidValue):
        access.common([config.load(finished), config.load(campaign)])


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        (["labels"], ".png"),
        (["labels", "--format", "tiff"], ".tiff"),
        (["predictions", "--split", "val"], ".png"),
        (["scores"], ".parquet"),
        (["model"], ".safetensors"),
    ],
)
def test_exports(finished: Path, tmp_path: Path, capsys: Capture, arguments: list[str], suffix: str) -> None:
    folder = Path(output(capsys, "export", finished, *arguments, "--output", tmp_path / "out")["folder"])
    assert any(path.name.endswith(suffix) for path in folder.iterdir())


def test_predictions_are_those_of_the_last_model(finished: Path, tmp_path: Path) -> None:
    settings = config.load(finished)
    assert main(["export", str(finished), "predictions", "--output", str(tmp_path / "out")]) == 0
    pool = compose.open_pool(settings)
    written = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "out").glob("*.png")}
    items = [info.id for info in pool.items() if info.split == "test"]
    assert sorted(written) == sorted(items)
    agreement = np.mean([np.mean(written[item] == pool.truth(item).classes) for item in items])
    assert agreement > 0.5


def test_scores_have_one_format(finished: Path, capsys: Capture) -> None:
    assert main(["export", str(finished), "scores", "--format", "png"]) == 2
    assert "Parquet" in capsys.readouterr().err


def test_no_model_no_predictor(campaign: Path) -> None:
    settings = config.load(campaign)
    ledger = compose.open_ledger(settings)
    pool = compose.open_pool(settings)
    ledger.create(
        "tiny", config=config.to_yaml(settings), config_hash=config.digest(settings), pool_hash=pool.manifest_hash
    )
    with pytest.raises(NotFound, match="no model"):
        access.predictor(settings)


def test_an_empty_purse_ends_with_four(campaign: Path, capsys: Capture) -> None:
    campaign.write_text(campaign.read_text().replace("{rounds: 2}", "{rounds: 9, queries: 5}"))
    found = output(capsys, "run", campaign, code=4)
    assert found["reason"].startswith("budget: queries")


def test_stop_is_obeyed_and_resume_goes_on_under_a_safe_change(campaign: Path, capsys: Capture) -> None:
    text = campaign.read_text()
    with compose.open_campaign(config.load(campaign)) as opened:
        opened.step()
    assert main(["stop", str(campaign), "--reason", "lunch"]) == 0
    campaign.write_text(text.replace("rounds: 2", "rounds: 1"))
    capsys.readouterr()
    assert main(["resume", str(campaign), "--json"]) == 0
    said = capsys.readouterr()
    assert "changed: budget.rounds: 2 → 1" in said.err
    assert json.loads(said.out)["reason"].startswith("budget: rounds 1 of 1")


def test_an_unsafe_change_is_refused_and_named(campaign: Path, capsys: Capture) -> None:
    with compose.open_campaign(config.load(campaign)) as opened:
        opened.step()
        digest = opened.digest()
    text = campaign.read_text()
    campaign.write_text(text.replace("stride: 8", "stride: 4").replace("seed: 1", "seed: 2"))
    capsys.readouterr()
    assert main(["resume", str(campaign)]) == 2
    said = capsys.readouterr().err
    assert "\n  seed: 1 → 2" in said
    assert "\n  strategy.stride: 8 → 4" in said
    campaign.write_text(text)
    assert compose.open_campaign(config.load(campaign)).digest() == digest


def test_a_second_driver_ends_with_five(campaign: Path, capsys: Capture) -> None:
    settings = config.load(campaign)
    compose.open_campaign(settings)
    compose.open_ledger(settings).claim("tiny", holder="elsewhere:1:x", lease_seconds=60)
    assert main(["run", str(campaign)]) == 5
    assert "elsewhere" in capsys.readouterr().err


def test_data_problems_end_with_two_and_leave_no_pool(
    tmp_path: Path, pixels: Path, images: Path, capsys: Capture
) -> None:
    from .conftest import CAMPAIGN

    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN.replace("root: data", f"root: {images}").replace("instances: true", "values: {7: gland}"))
    assert main(["ingest", str(path)]) == 2
    assert "tissue0000" in capsys.readouterr().err
    assert not (tmp_path / "work" / "pool.zarr").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_resume_reaches_the_same_end(
    campaign: Path, finished: Path, pixels: Path, capsys: Capture, number: signal.Signals
) -> None:
    # the process interrupts itself at a fixed place of the write order: no race with a clock
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts without it\n"
        "from alframe import failpoints\n"
        "from alframe.cli import main\n"
        "def hook(name):\n"
        f"    if name == 'campaign.selected.before': os.kill(os.getpid(), {int(number)})\n"
        "with failpoints.installed(hook):\n"
        f"    sys.exit(main(['run', {str(campaign)!r}]))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(pixels), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 130, done.stderr
    assert "resume" in done.stderr
    assert done.stdout == ""
    assert output(capsys, "status", campaign)["status"] == "stopped"
    assert main(["resume", str(campaign)]) == 0
    ends = [compose.open_campaign(config.load(path)).digest() for path in (campaign, finished)]
    assert ends[0] == ends[1]


def test_json_stays_alone_on_standard_output_in_a_pipe(campaign: Path, spawn: Spawn) -> None:
    process = spawn("run", str(campaign), "--json", FORCE_COLOR="1")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == "done"
    assert "\x1b" not in out
    assert "round 0" in err


def test_doctor_and_plugins_speak_json(finished: Path, capsys: Capture) -> None:
    names = {row["name"]: row["problem"] for row in output(capsys, "plugins", "list")}
    assert names["pixels"] == ""
    checks = output(capsys, "doctor", "--folder", finished.parent)
    assert {"sqlite", "durability", "disk", "ray", "gpu"} <= {row["name"] for row in checks}
    assert all(row["advice"] for row in checks if row["state"] != "ok")


def test_db_upgrade_of_a_current_ledger_says_its_revision(finished: Path, capsys: Capture) -> None:
    assert main(["db", "upgrade", str(finished)]) == 0
    assert "revision 0" in capsys.readouterr().err
