"""A YAML text as plain values, with the line and column of every key and value.

Only the YAML 1.2 core (mappings, lists, strings, numbers, booleans, null) is accepted: no tags, no merge keys. Anchors and
aliases work; their expansion is bounded. All duplicate keys are found at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alframe.errors import ConfigurationError, Problem

__all__ = ["Document", "Place", "parse", "read"]

Place = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top."""

_MAX_BYTES = 1 << 20
_MAX_BITS = 128
_MAX_NODES = 20_000
_CORE = "tag:yaml.org,2002:"
_SCALARS = {f"{_CORE}{name}" for name in ("str", "int", "float", "bool", "null")}
_COLLECTIONS = {f"{_CORE}{name}" for name in ("map", "seq")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The values of one file. `keys` and `values` give (line, column) from 1 of each key and value by its place."""

    name: str
    content: Mapping[str, Any]
    keys: Mapping[Place, tuple[int, int]]
    values: Mapping[Place, tuple[int, int]]

    def where(self, place: Place, *, key: bool = False) -> str:
        """``file:line:column`` of the value (or the key) at `place`, or of the nearest enclosing one."""
        while place and place not in self.values:
            place = place[:-1]
        line, column = (self.keys if key and place in self.keys else self.values)[place]
        return f"{self.name}:{line}:{column}"

    def at(self, place: Place) -> Any:
        """The value at `place`, which must exist."""
        value: Any = self.content
        for step in place:
            value = value[step]
        return value


@dataclass(slots=True)
class _Walk:
    """Turns nodes into values, noting where each one stands and what is wrong."""

    name: str
    constructor: Any
    keys: dict[Place, tuple[int, int]] = field(default_factory=dict)
    values: dict[Place, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    nodes: int = 0

    def problem(self, node: Node, expected: str, found: str, hint: str = "") -> None:
        line, column = _mark(node)
        self.problems.append(Problem(where=f"{self.name}:{line}:{column}", expected=expected, found=found, hint=hint))

    def value(self, node: Node, place: Place) -> Any:
        self.values[place] = _mark(node)
        self.nodes += 1
        if self.nodes > _MAX_NODES or id(node) in self.open:
            if self.nodes <= _MAX_NODES + 1:
                self.nodes = _MAX_NODES + 1
                self.problem(node, f"at most {_MAX_NODES} values", "aliases that expand without end", "Write them out.")
            return None
        self.open.append(id(node))
        try:
            if isinstance(node, MappingNode | SequenceNode) and str(node.tag) not in _COLLECTIONS:
                return self.tagged(node)
            if isinstance(node, MappingNode):
                return self.mapping(node, place)
            if isinstance(node, SequenceNode):
                return [self.value(child, (*place, row)) for row, child in enumerate(node.value)]
            return self.scalar(node)
        finally:
            self.open.pop()

    def scalar(self, node: Node) -> Any:
        tag = str(node.tag)
        if not isinstance(node, ScalarNode) or tag not in _SCALARS:
            # 2024-01-01 is a date to YAML and a name to us; anything with an explicit tag is refused
            if tag == f"{_CORE}timestamp":
                return str(node.value)
            return self.tagged(node)
        try:
            value = self.constructor.construct_object(node)
            if isinstance(value, int) and value.bit_length() > _MAX_BITS:
                raise ValueError(f"a whole number of more than {_MAX_BITS} bits")
        except ValueError as error:
            self.problem(node, "a plain value", str(error).partition(";")[0])
            return None
        return value

    def tagged(self, node: Node) -> None:
        tag = str(node.tag).removeprefix(_CORE)
        self.problem(node, "a plain value", f"the YAML tag {tag!r}", "Remove the tag.")

    def mapping(self, node: Node, place: Place) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.problem(key_node, "a name before the colon", "a list or a mapping")
                continue
            key = str(key_node.value)
            here = (*place, key)
            if key in content:
                line, _ = self.keys[here]
                self.problem(key_node, "each key once", f"{key!r} again (first on line {line})", "Remove one of them.")
                continue
            self.keys[here] = _mark(key_node)
            content[key] = self.value(value_node, here)
        return content


def _mark(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _tabs(name: str, text: str) -> list[Problem]:
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent:
            where = f"{name}:{number}:{indent.index(chr(9)) + 1}"
            problems.append(
                Problem(
                    where=where,
                    expected="spaces at the start of the line",
                    found="a tab",
                    hint="Use two spaces a level.",
                )
            )
    return problems


def _syntax(name: str, text: str, error: YAMLError) -> list[Problem]:
    tabs = _tabs(name, text)
    if tabs:
        return tabs
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"
    parts = [error.context, error.problem] if isinstance(error, MarkedYAMLError) else [str(error)]
    found = ", ".join(part for part in parts if part)
    return [Problem(where=where, expected="valid YAML", found=found)]


def parse(text: str, name: str) -> Document:
    """Values and places of a YAML text; `name` stands for the file in messages.

    Raises:
        ConfigurationError: with every problem of the text as YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except RecursionError:
        nested = Problem(where=f"{name}:1:1", expected="valid YAML", found="lists or mappings nested without end")
        raise ConfigurationError([nested]) from None
    except YAMLError as error:
        raise ConfigurationError(_syntax(name, text, error)) from error
    if not isinstance(root, MappingNode):
        found = "an empty file" if root is None else "a list" if isinstance(root, SequenceNode) else "a single value"
        line, column = (1, 1) if root is None else _mark(root)
        raise ConfigurationError(
            [Problem(where=f"{name}:{line}:{column}", expected="a mapping such as 'name: my-campaign'", found=found)]
        )
    walk = _Walk(name, yaml.constructor)
    content = walk.value(root, ())
    if walk.problems:
        raise ConfigurationError(walk.problems)
    return Document(name=name, content=content, keys=walk.keys, values=walk.values)


def read(path: Path) -> Document:
    """:func:`parse` for a file.

    Raises:
        ConfigurationError: when it cannot be read, is not UTF-8 or too large, or is not valid YAML.
    """

    def refuse(expected: str, found: str, hint: str = "") -> ConfigurationError:
        return ConfigurationError([Problem(where=f"{path}:1:1", expected=expected, found=found, hint=hint)])

    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise refuse("a YAML file", "no such file", "`alframe init` writes one.") from error
    except OSError as error:
        raise refuse("a readable YAML file", f"{error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise refuse("at most 1 MiB of YAML", "a larger file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigurationError(
            [
                Problem(
                    where=f"{path}:{line}:{column}",
                    expected="text in UTF-8",
                    found=f"the byte {data[error.start]:#04x}",
                )
            ]
        ) from error
    return parse(text, str(path))
