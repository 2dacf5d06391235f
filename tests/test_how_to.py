"""The plug-ins of the cookbook pages keep the contracts that the pages tell people to run, and work in a campaign."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from alframe import config
from alframe.testing.docs import blocks
from alframe.testing.plugins import installed_plugins

PAGES = Path(__file__).resolve().parents[1] / "docs" / "how-to"


def page_module(page: str, name: str) -> ModuleType:
    """The Python of a page as the module that a reader would make of it, importable so that its values can be pickled."""
    module = ModuleType(name)
    sys.modules[name] = module
    for block in blocks(PAGES / page):
        if block.language == "python":
            exec(compile(block.text, page, "exec", dont_inherit=True), module.__dict__)
    return module


TestMargin = page_module("own-strategy.md", "margin_page").TestMargin
TestOtsu = page_module("own-oracle.md", "otsu_page").TestOtsu


@pytest.mark.parametrize(
    ("page", "group", "name", "attribute", "section"),
    [
        ("own-strategy.md", "alframe.strategies", "margin", "Margin", "strategy"),
        ("own-oracle.md", "alframe.oracles", "otsu", "Otsu", "oracle"),
    ],
)
def test_the_page_configures_its_plugin(
    tmp_path: Path, page: str, group: str, name: str, attribute: str, section: str
) -> None:
    found = blocks(PAGES / page)
    source = next(block.text for block in found if block.language == "python")
    (lines,) = [block.text for block in found if block.language == "yaml"]
    rest = {
        "strategy": "strategy: {type: random}\n",
        "oracle": "oracle: {type: simulated}\n",
    }
    rest.pop(section)
    text = f"name: a\nbatch: 2\nbudget: {{rounds: 1}}\nlearner: {{type: mc_dropout}}\n{lines}{''.join(rest.values())}"
    with installed_plugins(
        tmp_path, name, {group: {name: f"{name}_installed:{attribute}"}}, {f"{name}_installed": source}
    ):
        chosen = getattr(config.loads(text), section)
    assert chosen.type == name
    assert type(chosen.value).__name__ == attribute
    (declared,) = [block.text for block in found if block.language == "toml"]
    assert f'entry-points."{group}"' in declared
    assert f"{name} = " in declared
