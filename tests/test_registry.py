"""Plug-ins: real distributions with real entry points, some of them broken."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from alframe import registry
from alframe.errors import ExtraMissing, InvalidValue, NotFound
from alframe.testing.plugins import installed_plugins

GROUP = "alframe.strategies"
GOOD = "LOADED = True\nclass Margin:\n    pass\n"


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_built_in_loads(group: str) -> None:
    own = [plugin for plugin in registry.inspect(group) if plugin.distribution == "alframe"]
    assert own
    assert [plugin.problem for plugin in own] == [""] * len(own)


def test_a_plugin_is_listed_without_being_imported_and_found_by_name(tmp_path: Path) -> None:
    with installed_plugins(tmp_path, "margins", {GROUP: {"margin": "margins_mod:Margin"}}, {"margins_mod": GOOD}):
        listed = {plugin.name: plugin for plugin in registry.available(GROUP)}
        assert "margins_mod" not in sys.modules
        assert (listed["margin"].distribution, listed["margin"].version) == ("margins", "1.0")
        assert registry.find(GROUP, "margin").__name__ == "Margin"
    assert "margin" not in {plugin.name for plugin in registry.available(GROUP)}


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import a_package_nobody_has\n", ExtraMissing, "a_package_nobody_has"),
        ("raise RuntimeError('no licence')\n", InvalidValue, "no licence"),
        ("class Other: pass\n", InvalidValue, "Margin"),
        ("def broken(:\n", InvalidValue, "SyntaxError"),
        ("1 / 0\n", InvalidValue, "ZeroDivisionError"),
    ],
)
def test_a_broken_plugin_is_reported_and_leaves_the_others_alone(
    tmp_path: Path, source: str, error: type[Exception], words: str
) -> None:
    healthy = {plugin.name for plugin in registry.inspect(GROUP) if not plugin.problem}
    with installed_plugins(tmp_path, "broken", {GROUP: {"margin": "broken_mod:Margin"}}, {"broken_mod": source}):
        found = {plugin.name: plugin for plugin in registry.inspect(GROUP)}
        assert words in found["margin"].problem
        assert {name for name, plugin in found.items() if not plugin.problem} == healthy
        with pytest.raises(error, match=words):
            registry.find(GROUP, "margin")
        assert registry.find(GROUP, "uncertainty").__name__ == "Uncertainty"


def test_a_name_of_ours_cannot_be_taken_over(tmp_path: Path) -> None:
    with installed_plugins(tmp_path, "thief", {GROUP: {"random": "thief_mod:Margin"}}, {"thief_mod": GOOD}):
        assert registry.find(GROUP, "random").__module__.startswith("alframe.")
        claims = {
            plugin.distribution: plugin.problem for plugin in registry.available(GROUP) if plugin.name == "random"
        }
        assert claims["alframe"] == ""
        assert "alframe's own" in claims["thief"]


def test_a_name_that_two_packages_claim_belongs_to_neither(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for name in ("first", "second"):
            entries = {GROUP: {"margin": f"{name}_mod:Margin"}}
            stack.enter_context(installed_plugins(tmp_path, name, entries, {f"{name}_mod": GOOD}))
        with pytest.raises(NotFound, match="as well"):
            registry.find(GROUP, "margin")


def test_one_package_on_two_paths_claims_its_name_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for copy in ("a", "b"):
            entries = {GROUP: {"margin": "margins_mod:Margin"}}
            stack.enter_context(installed_plugins(tmp_path / copy, "margins", entries, {"margins_mod": GOOD}))
        assert [plugin.problem for plugin in registry.available(GROUP) if plugin.name == "margin"] == [""]


def test_an_unknown_name_comes_with_the_nearest_one() -> None:
    with pytest.raises(NotFound, match="Did you mean 'uncertainty'"):
        registry.find(GROUP, "uncertanty")
    with pytest.raises(NotFound, match=r"Known: .*ripu"):
        registry.find(GROUP, "zzzzzz")


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"alframe\.readers"):
        registry.available("alframe.colours")
