"""``alframe evaluate``: the numbers of a round again, of files, as a table in three forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from alframe import access, compose, config
from alframe.cli import main
from alframe.testing.data import write_histology
from alframe.testing.raters import Habits

from .conftest import CAMPAIGN


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory, pixels: Path) -> Path:
    """A campaign on images that three raters drew, run to its end."""
    folder = tmp_path_factory.mktemp("rated")
    habits = {"ann": Habits(), "bob": Habits(shift=1.0, wobble=1.0), "cy": Habits(shift=-1.0, miss=0.2)}
    write_histology(folder / "data", count=18, size=48, seed=3, raters=habits)
    path = folder / "c.yaml"
    text = CAMPAIGN.replace("budget: {rounds: 2}", "budget: {rounds: 1}\nreplicas: 3\nmetrics: {samples: 4}")
    path.write_text(text)
    assert main(["ingest", str(path)]) == 0
    assert main(["run", str(path)]) == 0
    return path


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("index", [1, 2])
def test_a_round_is_measured_as_its_campaign_recorded_it(
    rated: Path, capsys: pytest.CaptureFixture[str], index: int
) -> None:
    (found,) = evaluated(capsys, rated, "--round", index)
    with access.ledger(config.load(rated)) as ledger:
        recorded = {
            (m.name, m.label, m.statistic, m.convention): m.value
            for t, m in ledger.metrics("tiny")
            if (t, m.scope) == (index, "test")
        }
    ours = {(m["name"], m["label"], m["statistic"], m["convention"]): m["value"] for m in found["metrics"]}
    assert ours == recorded
    assert {"ged", "ncc", "dice", "object_f1"} <= {name for name, *_ in ours}
    assert (found["round"], found["split"]) == (index, "test")


def test_the_last_model_is_the_default_and_any_split_will_do(rated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (last,), (again,) = evaluated(capsys, rated), evaluated(capsys, rated, "--round", 2)
    assert last["metrics"] == again["metrics"]
    (train,) = evaluated(capsys, rated, "--split", "train")
    assert train["split"] == "train"
    assert train["metrics"] != last["metrics"]


def test_files_of_weights_are_measured(rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config.load(rated)
    _, (ref,) = access.checkpoints(settings, 2)
    path = tmp_path / "exported.bin"
    path.write_bytes(compose.open_artifacts(settings).get(ref))
    (found,) = evaluated(capsys, rated, "--checkpoint", path)
    assert (found["model"], found["round"]) == ("exported", None)
    (round2,) = evaluated(capsys, rated, "--round", 2)
    value = {card["model"]: {m["name"]: m["value"] for m in card["metrics"]}["dice"] for card in (found, round2)}
    assert value["exported"] == pytest.approx(value["tiny, round 2"], abs=0.15)  # other passes of the same model
    assert main(["evaluate", str(rated), "--checkpoint", str(path), "--checkpoint", str(path)]) == 2
    assert "1 checkpoints, one for each member, got 2" in capsys.readouterr().err.replace("\n", " ")
    assert main(["evaluate", str(rated), "--checkpoint", str(tmp_path / "no.bin")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err


def test_weights_are_measured_on_other_data_that_is_for_testing_alone(
    rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config.load(rated)
    _, (ref,) = access.checkpoints(settings, 2)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(compose.open_artifacts(settings).get(ref))
    write_histology(tmp_path / "data", count=5, size=48, seed=8, raters={"dee": Habits(), "eve": Habits(shift=1.0)})
    manifest = tmp_path / "data" / "manifest.csv"
    head, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{head},split", *(f"{line},test" for line in lines)]) + "\n")
    other = tmp_path / "other.yaml"
    other.write_text(rated.read_text())
    assert main(["ingest", str(other)]) == 0
    (found,) = evaluated(capsys, other, "--checkpoint", weights)
    assert (found["split"], found["images"], found["round"]) == ("test", 5, None)
    numbers = {m["name"]: m["value"] for m in found["metrics"] if (m["label"], m["statistic"]) == ("", "pooled")}
    assert 0 < numbers["dice"] <= 1
    assert 0 <= numbers["ged"] <= 2
    assert main(["run", str(other)]) == 2
    assert "no training item to ask about" in " ".join(capsys.readouterr().err.split())
    assert main(["plan", str(other)]) == 0


def test_a_narrow_terminal_shows_every_metric_on_a_line(rated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(rated), str(rated), "--round", "2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    dice = next(line for line in lines if line and line[0] == "Dice")
    assert len(dice) == 3
    assert dice[1] == dice[2]


def test_the_table_is_written_in_three_forms(rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("md", "csv", "json"):
        assert main(["evaluate", str(rated), str(rated), "--output", str(tmp_path / f"table.{suffix}")]) == 0
    said = capsys.readouterr()
    assert "GED²" in said.out
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].startswith("| model | split | images | Dice |")
    assert len(lines) == 4
    assert lines[2] == lines[3]
    with (tmp_path / "table.csv").open(newline="") as file:
        numbers = list(csv.DictReader(file))
    cards = json.loads((tmp_path / "table.json").read_text())
    assert len(numbers) == sum(len(card["metrics"]) for card in cards)
    first = next(row for row in numbers if row["name"] == "ged")
    assert float(first["value"]) == next(m["value"] for m in cards[0]["metrics"] if m["name"] == "ged")
    assert main(["evaluate", str(rated), "--output", str(tmp_path / "table.xls")]) == 2
    assert ".md, .csv, .json" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(rated: Path, campaign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(campaign)]) == 2
    assert "no campaign of this configuration was started" in capsys.readouterr().err.replace("\n", " ")
    assert main(["evaluate", str(rated), "--round", "9"]) == 2
    assert "trained no model in round 9" in capsys.readouterr().err
    assert main(["evaluate", str(rated), str(rated), "--checkpoint", "x"]) == 2
    assert "one YAML" in capsys.readouterr().err
