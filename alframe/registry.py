"""Plug-ins by entry point: strategies, learners, oracles and readers, from this package and from any other that is installed.

A package joins by declaring, for example, in its ``pyproject.toml``::

    [project.entry-points."alframe.strategies"]
    margin = "my_package.margin:Margin"

Listing imports nothing; only :func:`find` and :func:`inspect` load a plug-in. One that cannot be loaded is reported and
leaves the others alone. alframe's own names cannot be taken over; a name that two other packages claim belongs to neither.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from alframe.errors import ExtraMissing, InvalidValue, NotFound

__all__ = ["GROUPS", "PlugIn", "available", "find", "inspect", "nearest"]

GROUPS = ("alframe.strategies", "alframe.learners", "alframe.oracles", "alframe.readers")
"""The entry-point groups that alframe reads."""

_OWN = "alframe"
# What importing a stranger's module can reasonably raise; anything else (an interrupt, an exit) is not ours to swallow.
_LOAD_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """One registered name. `target` is ``module:attribute``; `problem` is empty when it can be used."""

    group: str
    name: str
    target: str
    distribution: str
    version: str
    problem: str = ""


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence that suggests the closest of `names`, or lists them when none is close."""
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}" if known else ""


def _entries(group: str) -> list[EntryPoint]:
    if group not in GROUPS:
        raise InvalidValue(f"unknown plug-in group {group!r}; the groups are {', '.join(GROUPS)}")
    unique = {(entry.name, entry.value): entry for entry in entry_points(group=group)}
    return [unique[key] for key in sorted(unique)]


def _describe(entry: EntryPoint, problem: str = "") -> PlugIn:
    distribution = entry.dist
    return PlugIn(
        group=entry.group,
        name=entry.name,
        target=entry.value,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
        problem=problem,
    )


def _claims(group: str) -> list[tuple[EntryPoint, PlugIn]]:
    """Every entry with what speaks against it before it is even loaded."""
    described = [(entry, _describe(entry)) for entry in _entries(group)]
    claims: list[tuple[EntryPoint, PlugIn]] = []
    for entry, plugin in described:
        rivals = [other for _, other in described if other.name == plugin.name and other != plugin]
        own = plugin.distribution == _OWN
        if own or not rivals:
            claims.append((entry, plugin))
        elif any(other.distribution == _OWN for other in rivals):
            claims.append((entry, replace(plugin, problem=f"the name {plugin.name!r} is alframe's own")))
        else:
            others = ", ".join(other.distribution for other in rivals)
            claims.append((entry, replace(plugin, problem=f"{others} claims the name {plugin.name!r} as well")))
    return claims


def available(group: str) -> tuple[PlugIn, ...]:
    """All plug-ins of a group by name, without importing any of them.

    Raises:
        InvalidValue: when alframe has no such group.
    """
    return tuple(plugin for _, plugin in _claims(group))


def _load(entry: EntryPoint) -> tuple[Any, str]:
    try:
        return entry.load(), ""
    except _LOAD_FAILURES as error:
        return None, f"{type(error).__name__}: {error}"


def inspect(group: str, check: Callable[[Any], str] | None = None) -> tuple[PlugIn, ...]:
    """All plug-ins of a group, each one loaded; a failure is in its `problem` and does not touch the others.

    `check` may find fault with a loaded plug-in: it returns the problem, or an empty string.

    Raises:
        InvalidValue: when alframe has no such group.
    """
    seen = []
    for entry, plugin in _claims(group):
        if not plugin.problem:
            value, problem = _load(entry)
            plugin = replace(plugin, problem=problem or (check(value) if check else ""))
        seen.append(plugin)
    return tuple(seen)


def find(group: str, name: str) -> Any:
    """Load one plug-in.

    Raises:
        NotFound: when no usable plug-in has this name; the message suggests the nearest one.
        ExtraMissing: when it needs a package that is not installed.
        InvalidValue: when its module fails on import, or alframe has no such group.
    """
    claims = [(entry, plugin) for entry, plugin in _claims(group) if plugin.name == name]
    usable = [entry for entry, plugin in claims if not plugin.problem]
    if not usable:
        kind = group.rpartition(".")[2]
        if claims:
            raise NotFound(f"{kind}: {claims[0][1].problem}; uninstall one of them")
        raise NotFound(f"no {name!r} among the {kind}. {nearest(name, (p.name for p in available(group)))}".rstrip())
    value, problem = _load(usable[0])
    if problem.startswith(("ModuleNotFoundError", "ImportError", "ExtraMissing")):
        raise ExtraMissing(f"the plug-in {name!r} ({usable[0].value}) cannot be imported: {problem}")
    if problem:
        raise InvalidValue(f"the plug-in {name!r} ({usable[0].value}) is broken: {problem}")
    return value
