"""The names a configuration may use: a JSON Schema for editors, and the known keys for suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from alframe import registry
from alframe.campaign.settings import Budget, Plateau, Target
from alframe.config.document import Place
from alframe.config.mirror import check, mirror
from alframe.config.sections import SITES, Config
from alframe.errors import AlframeError
from alframe.registry import PlugIn
from alframe.strategies.opinions import Opinions

__all__ = ["data_model", "json_schema", "known_keys", "models", "plugins"]


def plugins() -> tuple[PlugIn, ...]:
    """All plug-ins of all groups, loaded; `problem` says why one cannot be used."""
    configured = set(SITES.values())
    return tuple(
        plugin
        for group in registry.GROUPS
        for plugin in registry.inspect(group, check if group in configured else None)
    )


def models(group: str) -> dict[str, type[BaseModel]]:
    """The strict model of every usable plug-in of a group, by name."""
    found = {}
    for plugin in registry.inspect(group, check):
        if not plugin.problem:
            found[plugin.name] = mirror(registry.find(group, plugin.name), plugin.name)
    return found


def data_model() -> type[BaseModel]:
    """The strict model of the section `data`."""
    from alframe.readers import DataSettings

    return mirror(DataSettings)


def _embed(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Move a schema's definitions to the root; pydantic names them uniquely within one schema, so prefix by the title."""
    definitions = schema.pop("$defs", {})
    title = schema.get("title", "Section")
    text_names = {name: f"{title}-{name}" for name in definitions}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: f"#/$defs/{text_names[part.rpartition('/')[2]]}" if key == "$ref" else renamed(part)
                for key, part in value.items()
            }
        return [renamed(part) for part in value] if isinstance(value, list) else value

    for name, definition in definitions.items():
        root["$defs"][text_names[name]] = renamed(definition)
    return dict(renamed(schema))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a campaign's YAML with all plug-ins that are installed now."""
    root = Config.model_json_schema(mode="validation")
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    root["title"] = "alframe campaign"
    for site, group in SITES.items():
        options = [_embed(root, model.model_json_schema()) for model in models(group).values()]
        _properties(root, site[:-1])[site[-1]] |= {"oneOf": options}
    sections: dict[tuple[str, ...], type[BaseModel]] = {
        ("data",): data_model(),
        ("budget",): mirror(Budget),
        ("raters",): mirror(Opinions),
        ("stop", "target"): mirror(Target),
        ("stop", "plateau"): mirror(Plateau),
    }
    for place, model in sections.items():
        target = _properties(root, place[:-1])
        old = target[place[-1]]
        embedded = _embed(root, model.model_json_schema())
        optional = "anyOf" in old
        kept = {key: value for key, value in old.items() if key in ("description", "default")}
        target[place[-1]] = kept | ({"anyOf": [embedded, {"type": "null"}]} if optional else embedded | kept)
    return root


def _properties(root: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    node = root
    for name in place:
        node = node["properties"][name]
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]]
    properties: dict[str, Any] = node["properties"]
    return properties


def _section_models(content: Mapping[str, Any]) -> dict[Place, type[BaseModel]]:
    """The model of each section that this content has; plug-ins only as far as they can be found."""
    found: dict[Place, type[BaseModel]] = {
        (): Config,
        ("budget",): mirror(Budget),
        ("raters",): mirror(Opinions),
        ("stop", "target"): mirror(Target),
        ("stop", "plateau"): mirror(Plateau),
    }
    if isinstance(content.get("data"), Mapping):
        found[("data",)] = data_model()
    for place, group in SITES.items():
        node: Any = content
        for step in place:
            node = node.get(step) if isinstance(node, Mapping) else None
        name = node.get("type") if isinstance(node, Mapping) else None
        if isinstance(name, str):
            try:
                found[place] = mirror(registry.find(group, name), name)
            except AlframeError:
                continue  # reported where it stands; it only has no suggestions
    return found


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def known_keys(content: Mapping[str, Any]) -> dict[Place, tuple[str, ...]]:
    """The keys that every section of `content` may have, by the section's place."""
    keys: dict[Place, tuple[str, ...]] = {}
    for place, model in _section_models(content).items():
        schema = _schema(model)
        node: Any = content
        for step in place:
            node = node.get(step) if isinstance(node, Mapping) else None
        _collect(schema, schema.get("$defs", {}), node, place, keys)
    return keys


def _collect(
    schema: Mapping[str, Any],
    definitions: Mapping[str, Any],
    node: Any,
    place: Place,
    keys: dict[Place, tuple[str, ...]],
) -> None:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for branch in _branches(schema):
        _collect(branch, definitions, node, place, keys)
    properties = schema.get("properties")
    if not isinstance(node, Mapping) or properties is None:
        return
    tag = properties.get("type", {})
    allowed = tag.get("enum", [tag["const"]] if "const" in tag else [])
    if allowed and node.get("type", tag.get("default")) not in allowed:
        return
    keys[place] = tuple(dict.fromkeys((*keys.get(place, ()), *properties)))
    for name, part in properties.items():
        if name in node:
            _collect(part, definitions, node[name], (*place, name), keys)


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [branch for word in ("anyOf", "oneOf", "allOf") for branch in schema.get(word, [])]
