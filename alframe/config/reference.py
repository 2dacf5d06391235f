"""The page docs/reference/configuration.md, written from the models themselves so that it cannot grow old."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel

from alframe import registry
from alframe.campaign.settings import Budget, Plateau, Target
from alframe.config.cluster import Ray, Worker
from alframe.config.mirror import mirror
from alframe.config.schema import data_model, models
from alframe.config.sections import Config, Evaluate, Initial, MetricsSettings, Runtime, Stop
from alframe.strategies.opinions import Opinions

__all__ = ["reference"]

_HEAD = """\
# Configuration

One YAML file describes one campaign. `alframe validate FILE` reports every problem of it as file:line:column;
`alframe validate --schema` prints a JSON Schema for editors. Unknown keys are errors. Relative paths start from the
YAML's folder. A key without a default must be given. In `data.root`, `${NAME}` and `${NAME:-otherwise}` stand for environment
variables.

This page is written by `python -m alframe.config`; a test keeps it equal to the code.

## What may change between `run` and `resume`

`budget`, `stop`, `evaluate`, `data`, the places (`workdir`, `pool`, `ledger`, `store`), all of `ray` but
`ray.member_workers`, `runtime.lease_seconds` and `runtime.snapshot_seconds`, and where an oracle works (`folder` and `settle` of
`folder`, `url` and `token` of `label_studio`).
Any other change is refused: it would alter the campaign's decisions or numbers.
The pool itself is compared by the hash of its content.
"""


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema.get("anyOf", schema.get("oneOf"))))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return f"section {schema['$ref'].rpartition('/')[2]}"
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    kind = schema.get("type")
    if kind == "array":
        parts = schema.get("prefixItems")
        inner = ", ".join(_type(part) for part in parts) if parts else _type(schema.get("items", {}))
        return f"list of {inner}"
    if kind == "object":
        return "mapping"
    return {"null": "null", "string": "text", "boolean": "true/false"}.get(str(kind), str(kind or "any")) + _bounds(
        schema
    )


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    given = [f"{sign} {schema[name]}" for name, sign in words.items() if name in schema]
    return f" {', '.join(given)}" if given else ""


def _default(name: str, schema: Mapping[str, Any], required: bool) -> str:
    if required:
        return "–"
    if "default" not in schema:
        return "its own defaults"
    value = schema["default"]
    return f"`{json.dumps(value)}`" if not isinstance(value, Mapping) else "its own defaults"


def _table(schema: Mapping[str, Any], *, described: bool, skip: tuple[str, ...] = ()) -> Iterator[str]:
    yield "| key | type | default |" + (" meaning |" if described else "")
    yield "|---|---|---|" + ("---|" if described else "")
    for name, part in schema.get("properties", {}).items():
        if name in skip:
            continue
        cells = [f"`{name}`", _type(part), _default(name, part, name in schema.get("required", ()))]
        if described:
            cells.append(part.get("description", ""))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _prose(schema: Mapping[str, Any]) -> str:
    """A docstring without its formal part, as Markdown."""
    text = cleandoc(schema.get("description", "")).partition("\n\nRaises:")[0]
    return text.replace("``", "`")


def _nested(schema: Mapping[str, Any], depth: str) -> Iterator[str]:
    for name, definition in schema.get("$defs", {}).items():
        if definition.get("properties"):
            yield f"{depth} Section {name}\n"
            yield _prose(definition) + "\n"
            yield from _table(definition, described=False)


def _plain(model: type[BaseModel], title: str) -> Iterator[str]:
    schema = model.model_json_schema()
    yield f"## {title}\n"
    yield _prose(schema) + "\n"
    yield from _table(schema, described=False)
    yield from _nested(schema, "###")


def _settings(model: type[BaseModel], title: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield from _table(model.model_json_schema(), described=True)


def _plugins(group: str, title: str) -> Iterator[str]:
    """Only alframe's own: what else is installed differs from machine to machine."""
    own = {plugin.name for plugin in registry.available(group) if plugin.distribution == "alframe"}
    yield f"## {title}\n"
    for name, model in models(group).items():
        if name in own:
            schema = model.model_json_schema()
            yield f"### `type: {name}`\n"
            yield _prose(schema) + "\n"
            yield from _table(schema, described=False, skip=("type",))
            yield from _nested(schema, "####")


def reference() -> str:
    """The whole page."""
    lines = [_HEAD]
    lines += _settings(Config, "Top level")
    for model, title in (
        (Initial, "`initial`"),
        (Stop, "`stop`"),
        (MetricsSettings, "`metrics`"),
        (Evaluate, "`evaluate`"),
        (Runtime, "`runtime`"),
        (Ray, "`ray`"),
        (Worker, "`ray.fit`, `ray.score`"),
    ):
        lines += _settings(model, title)
    lines += _plain(mirror(Budget), "`budget`")
    lines += _plain(mirror(Opinions), "`raters`")
    lines += _plain(mirror(Target), "`stop.target`")
    lines += _plain(mirror(Plateau), "`stop.plateau`")
    lines += _plain(data_model(), "`data`")
    lines += _plugins("alframe.strategies", "`strategy`, `initial.strategy`")
    lines += _plugins("alframe.learners", "`learner`")
    lines += _plugins("alframe.oracles", "`oracle`")
    return "\n".join(lines).rstrip() + "\n"
