"""The face itself: verbs, flags, examples, and what loading it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from alframe.cli import app, main

# Frozen: people's scripts depend on it. A change here belongs in the CHANGELOG.
FLAGS = {
    "alframe": ["--version"],
    "alframe demo": ["FOLDER", "--json"],
    "alframe init": ["PATH", "--template", "--force"],
    "alframe validate": ["[FILE]...", "--json", "--schema"],
    "alframe ingest": ["FILE", "--json"],
    "alframe plan": ["FILE", "--json"],
    "alframe run": ["FILE", "--wait", "--json"],
    "alframe resume": ["FILE", "--wait", "--json"],
    "alframe status": ["FILE", "--json", "--watch"],
    "alframe stop": ["FILE", "--reason"],
    "alframe report": ["FILE...", "--output", "--json"],
    "alframe export": ["FILE", "KIND", "--output", "--format", "--split", "--json"],
    "alframe submit": ["FILE", "--address", "--wait", "--detach", "--job", "--json"],
    "alframe download": ["SOURCE", "--to", "--digest", "--json"],
    "alframe evaluate": ["FILE...", "--round", "--checkpoint", "--split", "--output", "--json"],
    "alframe fsck": ["FILE", "--repair", "--grace", "--json"],
    "alframe replay": ["FILE", "--metrics", "--json"],
    "alframe doctor": ["--folder", "--config", "--cluster", "--json"],
    "alframe label": [],
    "alframe label serve": ["FILE", "--host", "--port", "--tls-cert", "--tls-key", "--behind-proxy"],
    "alframe raters": [],
    "alframe raters add": ["FILE", "NAME", "--scope", "--days", "--invite", "--json"],
    "alframe raters list": ["FILE", "--json"],
    "alframe raters revoke": ["FILE", "NAME"],
    "alframe audit": [],
    "alframe audit verify": ["FILE", "--head", "--json"],
    "alframe audit export": ["FILE", "--output", "--json"],
    "alframe plugins": [],
    "alframe plugins list": ["--json"],
    "alframe db": [],
    "alframe db upgrade": ["FILE"],
}


def commands() -> dict[str, Any]:
    """Every command by its full name."""

    def walk(command: Any, name: str) -> dict[str, Any]:
        found = {name: command}
        for child, inner in getattr(command, "commands", {}).items():
            found |= walk(inner, f"{name} {child}")
        return found

    return walk(typer.main.get_command(app), "alframe")


def flags(command: Any) -> list[str]:
    skipped = {"--help", "--install-completion", "--show-completion"}
    names = [p.opts[0] if p.param_type_name == "option" else (p.metavar or p.name.upper()) for p in command.params]
    return [name for name in names if name not in skipped]


def test_the_flags_are_the_frozen_ones() -> None:
    assert {name: flags(command) for name, command in commands().items()} == FLAGS


def test_no_verb_has_more_than_five_flags() -> None:
    for name, given in FLAGS.items():
        assert sum(flag.startswith("--") for flag in given) <= 5, name


GROUPS = ("alframe", "alframe label", "alframe raters", "alframe audit", "alframe plugins", "alframe db")


@pytest.mark.parametrize("name", [name for name in FLAGS if name not in GROUPS])
def test_each_verb_shows_an_example_that_its_parser_accepts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    command = commands()[name]
    example = command.help.partition("Example: `")[2].partition("`")[0]
    words = shlex.split(example)
    assert " ".join(words).startswith(name)
    context = (
        command.make_context(name, words[len(name.split()) :], resilient_parsing=False)
        if name != "alframe doctor"
        else None
    )
    assert context is None or context.command is command
    assert main([*name.split()[1:], "--help"]) == 0
    assert "Example" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["run", "a.yaml", "--fast"], ["init", "x.yaml", "--template", "nonsense"], ["validate"]],
)
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage" in said.err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from alframe import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"alframe {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["plugins", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom alframe.cli import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'torch', 'ray', 'zarr', 'sqlalchemy', 'numpy', 'scipy', 'skimage', 'pyarrow', 'monai'}\n"
        "print('\\nloaded:', sorted(heavy & set(sys.modules)), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] 0"


def test_validating_loads_no_torch_ray_zarr_or_database(tmp_path: Any) -> None:
    path = tmp_path / "c.yaml"
    code = (
        "import sys\nfrom alframe.cli import main\n"
        f"main(['init', {str(path)!r}])\ncode = main(['validate', {str(path)!r}])\n"
        "print('loaded:', sorted({'torch', 'ray', 'zarr', 'sqlalchemy', 'monai'} & set(sys.modules)), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] 0"


def test_the_page_and_the_help_name_every_verb_and_every_code(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    leaves = [name for name, command in commands().items() if not getattr(command, "commands", None)]
    assert [name for name in leaves if f"| `{name}` |" not in page] == []
    assert main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"| {code} |" in page
        assert re.search(rf"[:·] {code} ", shown)
