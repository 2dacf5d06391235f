"""YAML with places: against JSON, and on everything that is not a tidy mapping."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.config.document import parse
from alframe.errors import ConfigurationError

LEAVES = st.none() | st.booleans() | st.integers(-9, 10**6) | st.text("abcxyz 0:#-", max_size=8) | st.floats(-1e3, 1e3)
KEYS = st.text("abcdef_", min_size=1, max_size=6)
TREES = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
    max_size=4,
)


@given(TREES)
def test_values_are_those_of_json_and_places_point_at_them(tree: dict[str, object]) -> None:
    text = json.dumps(tree, indent=1)  # JSON is YAML
    document = parse(text, "a.yaml")
    assert document.content == tree
    lines = text.splitlines()
    for place, (line, column) in document.keys.items():
        assert lines[line - 1][column - 1 :].startswith(f'"{place[-1]}":')


@given(st.text(max_size=60))
def test_any_text_is_values_or_located_problems(text: str) -> None:
    try:
        document = parse(text, "a.yaml")
    except ConfigurationError as error:
        for problem in error.problems:
            found = re.fullmatch(r"a\.yaml:(\d+):(\d+)", problem.where)
            assert found
            assert 1 <= int(found[1]) <= len(text.splitlines()) + 2
            assert problem.expected
            assert problem.found
    else:
        assert isinstance(document.content, dict)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("", "1:1", "an empty file"),
        ("# only a comment\n", "1:1", "an empty file"),
        ("- a\n- b\n", "1:1", "a list"),
        ("just words\n", "1:1", "a single value"),
        ("a: 1\n---\nb: 2\n", "2:1", "but found another document"),
        ("a: [1, 2\nb: 3\n", "2:2", "expected ',' or ']'"),
        ("a: !!python/object:os.system {}\n", "1:4", "python/object"),
        ("a: !secret x\n", "1:4", "!secret"),
        ("? [a, b]\n: 1\n", "1:3", "a list"),
        ("a: &x [*x]\n", "1:4", "without end"),
    ],
)
def test_what_is_no_tidy_mapping_is_located(text: str, where: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "a.yaml")
    (problem,) = caught.value.problems
    assert problem.where == f"a.yaml:{where}"
    assert words in str(problem)


def test_all_duplicate_keys_are_found_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", "a.yaml")
    assert [problem.where for problem in caught.value.problems] == ["a.yaml:2:11", "a.yaml:3:1"]
    assert "line 1" in str(caught.value.problems[1])


def test_all_tabs_are_found_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("a:\n\tb: 1\n  \tc: 2\n", "a.yaml")
    assert [problem.where for problem in caught.value.problems] == ["a.yaml:2:1", "a.yaml:3:3"]


def test_aliases_repeat_values_and_a_bomb_of_them_is_refused() -> None:
    assert parse("a: &x [1, 2]\nb: *x\n", "a.yaml").content == {"a": [1, 2], "b": [1, 2]}
    layers = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigurationError, match="at most 20000 values"):
        parse("\n".join(layers), "a.yaml")


def test_dates_stay_the_text_they_were_written_as() -> None:
    assert parse("name: 2024-01-05\n", "a.yaml").content == {"name": "2024-01-05"}
