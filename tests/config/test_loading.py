"""Loading, resolving, hashing and comparing configurations; the schema and the reference page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alframe import config, templates
from alframe.config.reference import reference
from alframe.errors import ConfigurationError, ConflictError, InvalidValue
from alframe.testing.plugins import installed_plugins

from .conftest import VALID

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = sorted([*(REPOSITORY / "examples").glob("*.yaml"), *(REPOSITORY / "alframe" / "templates").glob("*.yaml")])


def test_sections_become_the_objects_that_a_campaign_works_with(write: Any) -> None:
    loaded = config.load(write(VALID))
    assert loaded.strategy.type == "uncertainty"
    assert loaded.strategy.value.window == (75, 75)
    assert loaded.strategy.value.selector.beta == 2.0
    assert loaded.learner.value.network.features == (8, 16)
    assert loaded.initial.strategy.type == "random"
    assert loaded.budget.rounds == 6
    assert loaded.stop.target is None
    assert loaded.stop.plateau is not None
    assert loaded.stop.plateau.metric == "dice"


def test_paths_start_from_the_folder_of_the_file(write: Any, tmp_path: Path) -> None:
    loaded = config.load(write(VALID))
    assert loaded.workdir_path == tmp_path / "runs" / "glands"
    assert loaded.pool_path == tmp_path / "runs" / "glands" / "pool.zarr"
    assert loaded.store_path == tmp_path / "runs" / "glands" / "artifacts"
    assert loaded.ledger_url == f"sqlite:///{tmp_path}/runs/glands/ledger.db"
    elsewhere = config.load(write(VALID + "workdir: /a\npool: /b/pool\nledger: sqlite:////c/l.db\n"))
    assert (elsewhere.workdir_path, elsewhere.pool_path) == (Path("/a"), Path("/b/pool"))
    assert elsewhere.ledger_url == "sqlite:////c/l.db"
    database = config.load(write(VALID + "ledger: postgresql://db/campaigns\n"))
    assert database.ledger_url == "postgresql://db/campaigns"
    stored = config.load(write(VALID + "pool: gs://bucket/a/pool/\nstore: file:///b/store\n"))
    assert (stored.pool_path, stored.store_path) == ("gs://bucket/a/pool", Path("/b/store"))


@pytest.mark.parametrize(
    "line",
    [
        "pool: s3://Bucket/pool",
        "pool: s3://169.254.169.254/pool",
        "pool: s3://me:secret@bucket/pool",
        "pool: s3://bucket/../other",
        "store: s3://bucket/a?b=c",
        "store: filecache::s3://bucket/a",
        "store: file://host/share",
        "store: s3:bucket",
        "workdir: s3://bucket/a",
        "store: http://host/x",
        "ledger: mysql://host/db",
        'ledger: "sqlite:///:memory:"',
        "ledger: sqlite:///a.db?mode=ro",
        "ledger: sqlite://relative.db",
        "ledger: postgresql://host/",
        "ledger: postgresql://169.254.169.254/db",
        "ledger: postgresql://0xA9FEA9FE/db",
        'ledger: "postgresql://[/db"',
        'store: "file://[/a"',
        "ledger: simplecache::sqlite:///a.db",
        'workdir: "  "',
        'workdir: "a\\0b"',
    ],
)
def test_addresses_off_the_list_are_refused(write: Any, line: str) -> None:
    (problem,) = config.problems(write(VALID + line + "\n"))
    number = len(VALID.splitlines()) + 1
    assert problem.where.endswith(f"campaign.yaml:{number}:{line.index(':') + 3}")


def test_data_roots_may_come_from_the_environment(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = VALID + 'data: {root: "${ALFRAME_TEST_ROOT:-fallback}/a", images: "*.png", classes: [a, b]}\n'
    monkeypatch.delenv("ALFRAME_TEST_ROOT", raising=False)
    assert config.load(write(text)).data.root == "fallback/a"
    monkeypatch.setenv("ALFRAME_TEST_ROOT", "/data")
    assert config.load(write(text)).data.root == "/data/a"
    monkeypatch.delenv("ALFRAME_TEST_ROOT")
    (problem,) = config.problems(write(text.replace(":-fallback", "")))
    assert "ALFRAME_TEST_ROOT to be set" in problem.expected


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_is_valid_and_resolves_to_itself(path: Path) -> None:
    loaded = config.load(path)
    text = config.to_yaml(loaded)
    again = config.loads(text, folder=path.parent)
    assert config.resolved(again) == config.resolved(loaded)
    assert config.to_yaml(again) == text
    assert config.digest(again) == config.digest(loaded)
    assert config.changes(loaded, again) == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_and_its_resolved_form_fit_the_schema(path: Path) -> None:
    schema = config.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    written = config.loading.documents.read(path).content
    assert [error.message for error in validator.iter_errors(written)] == []
    assert [error.message for error in validator.iter_errors(config.resolved(config.load(path)))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("batch: 20", "batch: many"),
        ("passes: 4", "pases: 4"),
        ("type: uncertainty", "type: magic"),
        ("measure: bald", "measure: blad"),
        ("beta: 2.0", "betta: 2.0"),
        ("rounds: 6", "round: 6"),
        ("metric: dice", "matric: dice"),
        ("workers: 2", "workers: 2, placement: random"),
    ],
)
def test_the_schema_refuses_what_validate_refuses(write: Any, old: str, new: str) -> None:
    path = write(VALID.replace(old, new))
    assert config.problems(path)
    content = config.loading.documents.read(path).content
    assert not jsonschema.Draft202012Validator(config.json_schema()).is_valid(content)


def test_a_plugin_of_another_package_is_configured_like_our_own(tmp_path: Path, write: Any) -> None:
    source = (
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Margin:\n"
        "    power: float = 1.0\n"
        "    needs_model = True\n"
    )
    text = VALID.replace(
        VALID[VALID.index("  type: uncertainty") : VALID.index("initial:")], "  type: margin\n  power: 2\n"
    )
    with installed_plugins(
        tmp_path, "margins", {"alframe.strategies": {"margin": "margin_mod:Margin"}}, {"margin_mod": source}
    ):
        loaded = config.load(write(text))
        assert loaded.strategy.value.power == 2.0
        assert config.resolved(loaded)["strategy"] == {"type": "margin", "power": 2.0}
        jsonschema.validate(config.resolved(loaded), config.json_schema())
        (problem,) = config.problems(write(text.replace("power: 2", "powr: 2")))
        assert "Did you mean 'power'" in problem.hint


def test_the_digest_follows_values_and_not_their_spelling(write: Any) -> None:
    first = config.digest(config.load(write(VALID)))
    reordered = "batch: 20\n" + VALID.replace("batch: 20\n", "").replace("seed: 3", "seed: 0x3   # the same")
    assert config.digest(config.load(write(reordered))) == first
    assert config.digest(config.load(write(VALID.replace("beta: 2.0", "beta: 2")))) == first
    assert config.digest(config.load(write(VALID.replace("beta: 2.0", "beta: 2.5")))) != first


@pytest.mark.parametrize(
    ("old", "new", "key", "safe"),
    [
        ("rounds: 6", "rounds: 9", "budget.rounds", True),
        ("metric: dice", "metric: ece", "stop.plateau.metric", True),
        ("workers: 2", "workers: 8", "ray.workers", True),
        ("workers: 2", "workers: 2, address: auto", "ray.address", True),
        ("workers: 2", "workers: 2, member_workers: 2", "ray.member_workers", False),
        ("threads: 1", "threads: 1, snapshot_seconds: 5", "runtime.snapshot_seconds", True),
        ("threads: 1", "threads: 2", "runtime.threads", False),
        ("threads: 1", "threads: 1, range: 4", "runtime.range", False),
        ("seed: 3", "seed: 4", "seed", False),
        ("beta: 2.0", "beta: 3.0", "strategy.selector.beta", False),
        ("features: [8, 16]", "features: [8, 32]", "learner.network.features", False),
        ("batch: 20", "batch: 10", "batch", False),
    ],
)
def test_changes_name_the_key_and_whether_a_campaign_may_go_on(
    write: Any, old: str, new: str, key: str, safe: bool
) -> None:
    before = config.load(write(VALID))
    after = config.load(write(VALID.replace(old, new)))
    (change,) = config.changes(before, after)
    assert (change.key, change.safe) == (key, safe)


def test_a_section_that_appears_with_what_was_done_without_it_is_safe(write: Any) -> None:
    before = config.load(write(VALID.replace("ray: {workers: 2}\n", "")))
    assert all(change.safe for change in config.changes(before, config.load(write(VALID))))
    team = config.load(write(VALID.replace("workers: 2", "member_workers: 2")))
    assert [change.key for change in config.changes(before, team) if not change.safe] == ["ray.member_workers"]


def test_a_learner_that_trains_in_one_process_has_no_team(write: Any) -> None:
    text = VALID.replace("workers: 2", "member_workers: 2")
    assert config.load(write(text)).ray is not None
    with pytest.raises(
        ConfigurationError, match="member_workers: 1, because mc_dropout, as it is set, trains in one process"
    ):
        config.load(write(text.replace("passes: 4", "annotation: random")))


def test_a_section_that_appears_is_a_change(write: Any) -> None:
    before = config.load(write(VALID))
    after = config.load(write(VALID.replace("metric: dice}", "metric: dice}\n  target: {metric: dice, value: 0.9}")))
    found = config.changes(before, after)
    assert {change.key.split(".")[1] for change in found} == {"target"}
    assert all(change.safe for change in found)


def test_the_reference_page_is_the_one_that_the_code_writes() -> None:
    page = (REPOSITORY / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m alframe.config > docs/reference/configuration.md"


def test_the_reference_page_has_every_key() -> None:
    page = reference()
    for key in [
        *config.Config.model_fields,
        "passes",
        "measure",
        "max_overlap",
        "boundary_shift",
        "fraction",
        "splits",
    ]:
        assert f"| `{key}` |" in page


def test_templates_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    templates.write("regions", path)
    assert config.problems(path) == ()
    path.write_text("mine")
    with pytest.raises(ConflictError, match="exists"):
        templates.write("regions", path)
    assert path.read_text() == "mine"
    templates.write("images", path, replace=True)
    assert "my-images" in path.read_text()
    with pytest.raises(InvalidValue, match="regions"):
        templates.write("../cli", path)


def test_the_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from alframe.cli import main

    assert main(["validate", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(config.json_schema()))


def test_a_learner_inside_a_learner_is_checked_where_it_stands(write: Any) -> None:
    """Test-time augmentation of any learner: the inner one is a mapping with a type of its own."""
    head, rest = VALID.split("learner:\n", 1)
    _, mark, tail = rest.partition("strategy:")
    inner = "learner:\n  type: tta\n  noise: 0.1\n  learner: {type: deep_ensemble, members: 2}\n"
    loaded = config.load(write(head + inner + mark + tail))
    assert loaded.learner.value.learner.members == 2
    assert config.resolved(loaded)["learner"]["learner"]["type"] == "deep_ensemble"
    again = config.loads(config.to_yaml(loaded), folder=loaded.workdir_path)
    assert config.digest(again) == config.digest(loaded)
    line = inner.count("\n", 0, inner.index("members")) + head.count("\n") + 1
    for wrong, right, told in (
        ("members: two", "members: 2", "an integer for members"),
        ("nosuch", "deep_ensemble", "known type of learner.learner"),
        ("mebers: 2", "members: 2", "mebers"),
    ):
        with pytest.raises(ConfigurationError, match=told) as caught:
            config.load(write((head + inner + mark + tail).replace(right, wrong)))
        assert f":{line}:" in str(caught.value)
