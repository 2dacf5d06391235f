"""README and docs do what they say: their code runs, their YAML is valid, their commands, files and links exist."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from alframe.cli import app
from alframe.errors import InvalidValue, ProblemsError
from alframe.testing.docs import Block, blocks, broken_links, check_python, check_yaml, commands, run_python

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@named
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(blocks(page))


@named
def test_yaml_is_a_campaign(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            check_yaml(block, tmp_path)


@named
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == ()


@named
def test_commands_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    verbs = set(root.commands)  # type: ignore[attr-defined]
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    for block in blocks(page):
        if block.language not in ("bash", "sh", "console"):
            continue
        for program, what in commands(block):
            if program == "alframe":
                assert what in verbs, f"{block.place}: alframe has no verb {what}"
            elif program == "make":
                assert what in targets, f"{block.place}: the Makefile has no target {what}"
            elif what.startswith("benchmarks."):
                assert (ROOT / f"{what.replace('.', '/')}.py").exists(), f"{block.place}: there is no {what}"


def test_there_are_pages_with_code() -> None:
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert {"python", "yaml", "bash"} <= languages


def page_of(folder: Path, text: str) -> tuple[Block, ...]:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return blocks(page)


def test_blocks_have_their_place_language_and_excuse(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        "# T\n\n```python\na = 1\n```\n\n- list\n  ```yaml title\n  b: 1\n  ```\n<!-- tests: needs a GPU -->\n```python\nb\n```\n",
    )
    assert [(block.line, block.language, block.text, block.excuse) for block in page] == [
        (4, "python", "a = 1\n", ""),
        (9, "yaml", "b: 1\n", ""),
        (13, "python", "b\n", "needs a GPU"),
    ]


def test_python_of_a_page_shares_names_and_errors_have_the_pages_line(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, "```python\na = 1\n```\ntext\n```python\nb = a + 1\n```\n```python\n\nraise KeyError(b)\n```\n"
    )
    with pytest.raises(KeyError) as caught:
        run_python(page)
    assert caught.value.args == (2,)
    assert caught.traceback[-1].lineno + 1 == 10


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<!-- tests: -->\n```python\n1\n```\n", InvalidValue),
        ("```python\n1\n", InvalidValue),
    ],
)
def test_pages_that_cannot_be_read_are_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"page.md:1"):
        page_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from alframe import Champaign", "no Champaign in alframe"),
        ("import alframe.campaigns", "no alframe.campaigns"),
        ("from alframe.oraclez import Simulated", "no Simulated in alframe.oraclez"),
    ],
)
def test_an_excused_block_must_still_import_what_exists(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        check_python(Block(page="page.md", line=7, language="python", text=text, excuse="because"))
    good = "from alframe import Campaign, errors\nfrom alframe.oracles import Simulated\nimport alframe.types, json"
    check_python(Block(page="page.md", line=7, language="python", text=good, excuse="because"))


def test_a_wrong_campaign_is_found_at_its_line(tmp_path: Path) -> None:
    block = Block(page="page.md", line=31, language="yaml", text="batch: 3\nstrategy: {type: randomm}\n")
    with pytest.raises(ProblemsError) as caught:
        check_yaml(block, tmp_path)
    assert [problem.where.split(":")[:2] for problem in caught.value.problems] == [["page.md", "32"]]
    check_yaml(Block(page="page.md", line=31, language="yaml", text="strategy: {type: random}\n"), tmp_path)
    check_yaml(Block(page="page.md", line=1, language="yaml", text="services: {}\n", excuse="Docker Compose"), tmp_path)
    with pytest.raises(InvalidValue, match=r"page.md:1: this is not YAML"):
        check_yaml(Block(page="page.md", line=1, language="yaml", text="a: [1\n", excuse="other"), tmp_path)


def test_commands_and_links_are_found(tmp_path: Path) -> None:
    shell = Block(
        page="p", line=1, language="bash", text="$ alframe run x\nmake test # t\necho alframe\npython -m benchmarks.a\n"
    )
    assert commands(shell) == (("alframe", "run"), ("make", "test"), ("python -m", "benchmarks.a"))
    page = tmp_path / "page.md"
    (tmp_path / "there.md").touch()
    page.write_text(
        "[a](there.md#part) [b](gone.md) [c](https://x.y/z) ![d](no.png) [e](#here)\n```text\n[f](no)\n```\n"
    )
    assert broken_links(page) == ("gone.md", "no.png")
