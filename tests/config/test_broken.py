"""Broken configurations: each problem with its line and column, all at once, and nothing written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alframe import config
from alframe.cli import main
from alframe.errors import ConfigurationError
from alframe.testing.plugins import installed_plugins

from .conftest import VALID

# (what is replaced, by what, the problems: line:column and words that must be in them)
BROKEN = {
    "unknown key": ("batch: 20", "batch: 20\nbach: 3", [("15:1", "the key 'bach'. Did you mean 'batch'?")]),
    "wrong type": ("batch: 20", 'batch: "20"', [("14:8", "an integer for batch, found the text '20'")]),
    "missing key": ("batch: 20\n", "", [("1:1", "the key 'batch' at the top level, found no such key")]),
    "duplicate key": ("seed: 3", "seed: 3\nseed: 4", [("3:1", "'seed' again (first on line 2)")]),
    "tab": ("  passes: 4", "\tpasses: 4", [("5:1", "found a tab")]),
    "unknown plug-in": (
        "type: uncertainty",
        "type: uncertainity",
        [("8:9", "a known type of strategy, found 'uncertainity'. Did you mean 'uncertainty'?")],
    ),
    "unknown parameter of a plug-in": (
        "beta: 2.0",
        "betta: 2.0",
        [("11:27", "a known key in strategy.selector, found the key 'betta'. Did you mean 'beta'?")],
    ),
    "unknown choice": ("measure: bald", "measure: blad", [("9:12", "found the text 'blad'. Did you mean 'bald'?")]),
    "out of range": ("window: [75, 75]", "window: [75, -75]", [("10:11", "window")]),
    "no limit": ("budget: {rounds: 6}", "budget: {}", [("16:9", "at least one limit")]),
    "sections that disagree": (
        "workers: 2",
        "workers: 2, min_workers: 3",
        [("19:32", "min_workers no greater than workers, found 3")],
    ),
    "a batch that workers cannot share": (
        "workers: 2",
        "member_workers: 3",
        [("19:23", "member_workers that divide the learner's batch_size of 8")],
    ),
    "a part of a GPU for workers of a team": (
        "ray: {workers: 2}",
        "ray: {member_workers: 2, fit: {gpus: 0.5}, score: {gpus: 0.5}}",
        [("19:31", "whole GPUs for fit, because member_workers is above 1")],
    ),
    "GPUs for some workers only": (
        "workers: 2",
        "workers: 2, fit: {gpus: 1}",
        [("19:24", "GPUs for fit and score alike")],
    ),
    "GPUs for a campaign on the CPU": (
        "ray: {workers: 2}\nruntime: {threads: 1}",
        "ray: {workers: 2, fit: {gpus: 0.5}, score: {gpus: 0.5}}\nruntime: {device: cpu}",
        [("19:24", "gpus: 0 for fit and score with runtime.device: cpu")],
    ),
    "an address for Ray's client": (
        "workers: 2",
        "address: 'ray://head:10001'",
        [("19:16", "alframe submit")],
    ),
    "a metric nobody computes": (
        "metric: dice",
        "metric: dise",
        [("18:21", "a known metric, found 'dise'. Did you mean 'dice'?")],
    ),
    "a model before the first round": (
        "  queries: 3",
        "  queries: 3\n  strategy: {type: uncertainty}",
        [("14:13", "a strategy that needs no model, such as random")],
    ),
    "a list instead of a section": (
        "ray: {workers: 2}",
        "ray: [local, 2]",
        [("19:6", "a mapping")],
    ),
    "a password in the ledger's URL": (
        "seed: 3",
        "ledger: postgresql://me:secret@db/campaigns",
        [("2:9", "without a password")],
    ),
    "more opinions than queries": (
        "seed: 3",
        "seed: 3\nraters: {again: 21}",
        [("3:17", "again of at most the batch, 20")],
    ),
    "fewer raters than replicas": (
        "seed: 3",
        "seed: 3\nreplicas: 2\nraters: {names: [ann]}",
        [("4:17", "at least 2 names")],
    ),
    "nobody to pick among": (
        "oracle: {type: simulated}",
        "oracle: {type: human}\nraters: {first: need}",
        [("16:9", "names, since people answer")],
    ),
    "several at once": (
        "name: glands\nseed: 3",
        "name: Glands!\nseed: -1\nworkdri: x",
        [("1:7", "text that matches"), ("2:7", "at least 0"), ("3:1", "Did you mean 'workdir'?")],
    ),
}


def broken(case: str) -> str:
    old, new, _ = BROKEN[case]
    assert VALID.count(old) == 1
    return VALID.replace(old, new)


@pytest.mark.parametrize("case", BROKEN)
def test_each_problem_has_its_place_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("campaign.yaml").write_text(broken(case))
    for verb in ("validate", "run", "ingest", "plan"):
        assert main([verb, "campaign.yaml"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        lines = said.err.replace("alframe: ", "").splitlines()
        wanted = BROKEN[case][2]
        assert len(lines) == len(wanted) + (verb == "validate")
        for line, (where, words) in zip(lines, wanted, strict=False):
            assert line.startswith(f"campaign.yaml:{where}: expected ")
            assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["campaign.yaml"]


def test_validate_json_has_the_same_problems(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(broken("several at once"))
    assert main(["validate", "--json", str(path)]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] is False
    assert [row["where"] for row in said["problems"]] == [f"{path}:{place}" for place in ("1:7", "2:7", "3:1")]


@pytest.mark.parametrize(
    ("content", "where", "words"),
    [(None, "1:1", "no such file"), (b"name: caf\xe9\n", "1:10", "UTF-8"), (b"a" * (1 << 20) + b"a", "1:1", "1 MiB")],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes | None, where: str, words: str) -> None:
    path = tmp_path / "campaign.yaml"
    if content is not None:
        path.write_bytes(content)
    (problem,) = config.problems(path)
    assert problem.where == f"{path}:{where}"
    assert words in str(problem)


def test_a_broken_plugin_is_named_only_where_it_is_chosen(tmp_path: Path, write: Any) -> None:
    entries = {"alframe.strategies": {"margin": "margin_mod:Margin", "loose": "loose_mod:Loose"}}
    modules = {"margin_mod": "import nothing_like_it\n", "loose_mod": "def Loose(): ...\n"}
    with installed_plugins(tmp_path, "margins", entries, modules):
        assert config.problems(write(VALID)) == ()
        for name, words in (("margin", "nothing_like_it"), ("loose", "not a dataclass")):
            (problem,) = config.problems(write(VALID.replace("type: uncertainty", f"type: {name}")))
            assert problem.where.endswith(":8:9")
            assert words in problem.found


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(-2, 2)
    | st.text("abc:{}0", max_size=5)
    | st.builds(dict)
)
PLACES = [
    ("name",), ("seed",), ("learner", "passes"), ("learner", "network"), ("learner", "network", "features"),
    ("strategy", "type"), ("strategy", "window"), ("strategy", "selector", "beta"), ("initial",), ("initial", "queries"),
    ("batch",), ("oracle",), ("budget", "rounds"), ("stop", "plateau"), ("runtime", "executor"), ("strategy", "nothing"),
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(PLACES), LEAVES, min_size=1, max_size=4))
def test_whatever_stands_in_a_value_is_accepted_or_located(changes: dict[tuple[str, ...], Any]) -> None:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(VALID)
    for place, value in changes.items():
        node: Any = content
        for step in place[:-1]:
            node = node.get(step) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[place[-1]] = value
    text = json.dumps(content, indent=1)
    try:
        config.loads(text, name="a.yaml")
    except ConfigurationError as error:
        lines = text.splitlines()
        for problem in error.problems:
            found = re.fullmatch(r"a\.yaml:(\d+):(\d+)", problem.where)
            assert found
            assert int(found[2]) <= len(lines[int(found[1]) - 1]) + 1
            assert "function-" not in str(problem)
            assert "Input should" not in str(problem)
