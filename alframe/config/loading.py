"""From a file to a :class:`Config`, and back to a text that can be hashed and compared."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from alframe.config import document as documents
from alframe.config.document import Document
from alframe.config.explain import explain
from alframe.config.schema import known_keys
from alframe.config.sections import Config
from alframe.errors import ConfigurationError, Problem

__all__ = ["Change", "changes", "digest", "load", "loads", "problems", "resolved", "to_yaml"]

# Changing these leaves every later decision and number of a campaign as it would have been, or only says when to end it.
# The pool is compared by its manifest hash and artifacts by theirs, so where they lie (and what `ingest` read) may change.
_SAFE = (
    ("budget",),
    ("stop",),
    ("evaluate",),
    ("workdir",),
    ("pool",),
    ("ledger",),
    ("store",),
    ("data",),
    ("ray",),
    ("runtime", "lease_seconds"),
    ("runtime", "snapshot_seconds"),
)

_UNSAFE: dict[tuple[str, ...], Any] = {("ray", "member_workers"): 1}
"""Keys below a safe one that are none, and what their absence means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key whose value differs. `safe`: a campaign may be resumed with it."""

    key: str
    old: Any
    new: Any
    safe: bool

    def __str__(self) -> str:
        return f"{self.key}: {json.dumps(self.old)} → {json.dumps(self.new)}"


def _validated(document: Document, folder: Path) -> Config:
    try:
        return Config.model_validate_json(json.dumps(document.content), context={"folder": folder})
    except ValidationError as error:
        raise ConfigurationError(explain(error, document, known_keys(document.content))) from error


def load(path: str | Path) -> Config:
    """Read, check and build a campaign's configuration. Relative paths in it start from the file's folder.

    Raises:
        ConfigurationError: with every problem of the file as file:line:column.
    """
    path = Path(path)
    return _validated(documents.read(path), path.absolute().parent)


def loads(text: str, *, name: str = "configuration", folder: str | Path = ".") -> Config:
    """:func:`load` for a text, for example the resolved configuration that a ledger keeps.

    Raises:
        ConfigurationError: with every problem of the text as name:line:column.
    """
    return _validated(documents.parse(text, name), Path(folder).absolute())


def problems(path: str | Path) -> tuple[Problem, ...]:
    """What is wrong with a configuration file; empty when nothing is."""
    try:
        load(path)
    except ConfigurationError as error:
        return error.problems
    return ()


def resolved(config: Config) -> dict[str, Any]:
    """Every setting with its defaults filled in, as plain values; paths stay as they were written."""
    return config.model_dump(mode="json")


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML; :func:`loads` reads it back to an equal configuration."""
    yaml = YAML(typ="rt", pure=True)  # keeps the order of the keys
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(resolved(config), stream)
    return stream.getvalue()


def digest(config: Config) -> str:
    """SHA-256 (hex) of the resolved configuration."""
    text = json.dumps(resolved(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _leaves(value: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, Mapping) and value:
        return {key: leaf for name, part in value.items() for key, leaf in _leaves(part, (*place, str(name))).items()}
    return {place: value}


def _is_place(config: Config, key: tuple[str, ...]) -> bool:
    """Whether an oracle says that this parameter only tells where it works, not how."""
    return len(key) == 2 and key[0] == "oracle" and key[1] in getattr(config.oracle.value, "places", ())


def changes(old: Config, new: Config) -> tuple[Change, ...]:
    """What differs between two configurations, key by key, and whether a campaign begun under `old` may go on under `new`.

    Safe are budgets and stop rules, what is evaluated, where files and the database lie, and where the work runs.
    Everything else (network, strategy, seed, batch, threads, device, precision …) would change the campaign's
    decisions or numbers, so that it would no longer be one experiment.
    """
    before, after = _leaves(resolved(old)), _leaves(resolved(new))
    found = []
    for place in sorted(before.keys() | after.keys()):
        one, two = (leaves.get(place, _UNSAFE.get(place)) for leaves in (before, after))
        if one != two:
            below = any(place[: len(prefix)] == prefix for prefix in _SAFE) and place not in _UNSAFE
            safe = below or _is_place(new, place)
            found.append(Change(key=".".join(place), old=one, new=two, safe=safe))
    return tuple(found)
