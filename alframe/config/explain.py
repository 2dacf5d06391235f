"""pydantic's errors as problems for a person: where in the file, what was expected, what stands there, what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alframe.config.document import Document, Place
from alframe.errors import Problem
from alframe.registry import nearest

__all__ = ["explain", "shown"]

_NOUNS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}
_LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def shown(value: Any) -> str:
    """A value as a short piece of YAML."""
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, list(value)[:4]))}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        inner = ", ".join(str(part) if not isinstance(part, Mapping | list) else "…" for part in value[:6])
        return f"the list [{inner}{', …' if len(value) > 6 else ''}]"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 60 else value[:57] + '…'!r}"
    return (
        {None: "nothing (null)", True: "true", False: "false"}.get(value, str(value)) if value is not None else "null"
    )


def _resolve(document: Document, location: Sequence[str | int]) -> tuple[Place, str]:
    """The place in the YAML, without pydantic's names for union members; and the last part that is not there."""
    place: list[str | int] = []
    rest = ""
    node: Any = document.content
    for step in location:
        keyed = isinstance(node, Mapping) and step in node
        indexed = isinstance(node, list) and isinstance(step, int) and step < len(node)
        if keyed or indexed:
            place.append(step)
            node = node[step]
        rest = "" if keyed or indexed else str(step)
    return tuple(place), rest


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _NOUNS:
        return _NOUNS[kind]
    if kind in _LIMITS:
        words, name = _LIMITS[kind]
        return f"{words} {context[name]}"
    if kind == "literal_error":
        return f"one of {context['expected']}".replace("one of ", "", context["expected"].count("'") == 2)
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    if kind == "value_error":
        return str(context["error"]).partition(", got ")[0]  # what came is shown as it stands in the file
    return str(error["msg"])


def _mentioned(message: str, node: Any) -> str:
    """The key of a section that a message speaks of first, or nothing."""
    words = re.findall(r"[a-z_][a-z_0-9]*", message)
    return next((word for word in words if isinstance(node, Mapping) and word in node), "")


class _Explainer:
    def __init__(self, document: Document, names: Mapping[Place, Sequence[str]]) -> None:
        self._document = document
        self._names = names

    def problem(self, place: Place, rest: str, error: ErrorDetails) -> Problem:
        kind, document = error["type"], self._document
        if kind == "extra_forbidden":
            return self._unknown_key(place)
        if kind == "missing":
            return self._missing(place, str(error["loc"][-1]))
        if kind == "unknown_name":
            return self._unknown_name(place, error)
        if kind == "unknown_type":
            return self._unknown_type(place, error)
        if kind == "plugin":
            where = document.where((*place, "type"))
            return Problem(where=where, expected=f"a plug-in that works for {_path(place)}", found=str(error["msg"]))
        value = document.at(place)
        expected = _expected(error)
        if kind in ("value_error", "agree") and (key := _mentioned(expected, value)):
            place, value = (*place, key), value[key]
        if rest == "[key]":
            return Problem(
                where=document.where(place, key=True), expected=f"{expected} as key", found=shown(str(place[-1]))
            )
        hint = ""
        if kind == "literal_error":
            hint = nearest(str(value), re.findall(r"'([^']*)'", expected)).removeprefix("Known: ")
            hint = hint if hint.startswith("Did") else ""
        found = self._found(value, kind)
        return Problem(where=document.where(place), expected=_named(expected, place), found=found, hint=hint)

    def _found(self, value: Any, kind: str) -> str:
        return "an empty value" if value is None and kind != "none_required" else shown(value)

    def _unknown_key(self, place: Place) -> Problem:
        names = self._names.get(place[:-1], ())
        key = str(place[-1])
        hint = "Merge keys are not supported; write the values out." if key == "<<" else nearest(key, names)
        section = f" in {_path(place[:-1])}" if place[:-1] else ""
        return Problem(
            where=self._document.where(place, key=True),
            expected=f"a known key{section}",
            found=f"the key {key!r}",
            hint=hint,
        )

    def _missing(self, place: Place, key: str) -> Problem:
        section = f"in {_path(place)}" if place else "at the top level"
        return Problem(
            where=self._document.where(place, key=True), expected=f"the key {key!r} {section}", found="no such key"
        )

    def _unknown_name(self, place: Place, error: ErrorDetails) -> Problem:
        context = error["ctx"]
        place = (*place, str(context["key"]))
        name = str(self._document.at(place))
        return Problem(
            where=self._document.where(place),
            expected=f"a known {context['key']}",
            found=repr(name),
            hint=nearest(name, str(context["known"]).split(", ")),
        )

    def _unknown_type(self, place: Place, error: ErrorDetails) -> Problem:
        known = [name for name in str(error.get("ctx", {}).get("known", "")).split(", ") if name]
        node = self._document.at(place)
        if not isinstance(node, Mapping) or "type" not in node:
            found = "no such key" if isinstance(node, Mapping) else shown(node)
            where = self._document.where(place, key=True)
            hint = f"Known: {', '.join(known)}" if known else ""
            return Problem(where=where, expected=f"a key 'type' in {_path(place)}", found=found, hint=hint)
        name = str(node["type"])
        return Problem(
            where=self._document.where((*place, "type")),
            expected=f"a known type of {_path(place)}",
            found=repr(name),
            hint=nearest(name, known),
        )


def _path(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _named(expected: str, place: Place) -> str:
    """Say which key is meant, unless the sentence already does."""
    key = next((str(part) for part in reversed(place) if isinstance(part, str)), "")
    return expected if not key or key in expected else f"{expected} for {key}"


def _alternatives(errors: Iterable[tuple[Place, str, ErrorDetails]]) -> dict[Place, list[tuple[str, ErrorDetails]]]:
    """Errors by place. Of a union, the members that fail deeper speak; else all members are alternatives of one problem."""
    grouped: dict[Place, list[tuple[str, ErrorDetails]]] = {}
    for place, rest, error in errors:
        grouped.setdefault(place, []).append((rest, error))
    return grouped


def explain(error: ValidationError, document: Document, names: Mapping[Place, Sequence[str]]) -> list[Problem]:
    """Every problem of a validation, in the order of the file.

    `names` gives the known keys of each section (by its place), for suggestions.
    """
    explainer = _Explainer(document, names)
    located = [(*_resolve(document, details["loc"]), details) for details in error.errors(include_url=False)]
    grouped = _alternatives(located)
    problems: list[tuple[Place, Problem]] = []
    for place, found in grouped.items():
        nouns = [
            _expected(details)
            for _, details in found
            if details["type"] in _NOUNS or details["type"] == "literal_error"
        ]
        deeper = any(len(other) > len(place) and other[: len(place)] == place for other in grouped)
        if len(found) > 1 and len(nouns) == len(found):
            problems.append((place, _either(document, place, nouns)))
            continue
        if deeper and len(nouns) == len(found):
            # the other members of a union; the one that fits best is explained at the deeper place
            continue
        problems += [(place, explainer.problem(place, rest, details)) for rest, details in found]
    position = {place: document.values.get(place, (0, 0)) for place, _ in problems}
    return [problem for _, problem in sorted(problems, key=lambda pair: position[pair[0]])]


def _either(document: Document, place: Place, nouns: Sequence[str]) -> Problem:
    unique = list(dict.fromkeys(nouns))
    expected = f"{', '.join(unique[:-1])} or {unique[-1]}" if len(unique) > 1 else unique[0]
    return Problem(where=document.where(place), expected=_named(expected, place), found=shown(document.at(place)))
