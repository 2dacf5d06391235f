"""A strict pydantic model for any dataclass: the parameters of a plug-in, checked before the plug-in itself is built.

Plug-ins are plain dataclasses that know nothing of configuration. A *mirror* has the same fields, refuses unknown ones and
values of another type, and, once its fields are sound, builds the dataclass (whose own checks may still say no). Nested
dataclasses are mirrored too; in a union of dataclasses the field ``type`` says which one is meant. A field that holds a
learner is itself a plug-in: a mapping with its registered ``type`` and its parameters.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    create_model,
)
from pydantic_core import PydanticCustomError

from alframe import registry
from alframe.errors import ExtraMissing, InvalidValue, NotFound
from alframe.ports import Learner

__all__ = ["STRICT", "adapter", "check", "mirror", "nested_plugin", "parameters", "resolved"]

PLUGGED: dict[Any, str] = {Learner: "alframe.learners"}
"""Ports whose implementations may be nested in a plug-in, and where those are registered."""

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())
"""What every section of a configuration obeys."""


def parameters(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass that a configuration may set."""
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def check(cls: Any) -> str:
    """Why `cls` cannot be configured, or an empty string."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return "not a dataclass; its parameters must be the fields of one"
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return "a dataclass, but not frozen"
    return ""


def _build(cls: type) -> Callable[[BaseModel], Any]:
    def build(model: BaseModel) -> Any:
        given = {name: getattr(model, name) for name in type(model).model_fields if name in parameters(cls)}
        return cls(**given)

    return build


def _tags(cls: type) -> tuple[str, ...]:
    """The values of the field ``type`` that mean this dataclass; empty when any text may."""
    hint = get_type_hints(cls).get("type")
    return tuple(str(value) for value in get_args(hint)) if get_origin(hint) is Literal else ()


def _choice(classes: list[type]) -> Callable[[Any], str | None]:
    by_tag = {tag: cls.__name__ for cls in classes for tag in _tags(cls)}
    open_ended = [cls.__name__ for cls in classes if not _tags(cls) and "type" in parameters(cls)]
    default = next((cls.__name__ for cls in classes if _has_default(cls)), None)
    by_class = {cls: cls.__name__ for cls in classes}

    def choose(value: Any) -> str | None:
        if not isinstance(value, dict):
            return by_class.get(type(value))
        tag = value.get("type")
        if tag is None:
            return default
        found = by_tag.get(str(tag))
        return found if found or ":" not in str(tag) or not open_ended else open_ended[0]

    return choose


def _has_default(cls: type) -> bool:
    field = parameters(cls).get("type")
    return field is not None and field.default is not dataclasses.MISSING


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _union(members: tuple[Any, ...]) -> Any:
    members = tuple(_bare(member) if _is_dataclass(_bare(member)) else member for member in members)
    classes = [member for member in members if _is_dataclass(member)]
    others = [_translate(member) for member in members if member not in classes]
    if len(classes) > 1:
        tagged = tuple(Annotated[_translate(cls), Tag(cls.__name__)] for cls in classes)
        tags = sorted(tag for cls in classes for tag in _tags(cls))
        chooser = Discriminator(
            _choice(classes),
            custom_error_type="unknown_type",
            custom_error_message="unknown type",
            custom_error_context={"known": ", ".join(tags)},
        )
        chosen: Any = Annotated[Union[tagged], chooser]  # noqa: UP007 - built at run time
    elif classes:
        chosen = _translate(classes[0])
    else:
        return Union[tuple(others)]  # noqa: UP007
    return Union[(chosen, *others)] if others else chosen


def nested_plugin(group: str, value: Any) -> Any:
    """The plug-in of `group` that a mapping describes, built; a value that is built already is left alone.

    Raises:
        PydanticCustomError: when its type is not known; pydantic's own errors for its parameters.
    """
    if not isinstance(value, Mapping):
        if dataclasses.is_dataclass(value):
            return value
        raise PydanticCustomError("dict_type", "a mapping with a key 'type'")
    name, known = value.get("type"), [plugin.name for plugin in registry.available(group)]
    if name not in known:
        raise PydanticCustomError("unknown_type", "unknown type", {"known": ", ".join(known)})
    try:
        cls = registry.find(group, str(name))
        if fault := check(cls):
            raise InvalidValue(f"the plug-in {name!r} is {fault}")
    except (ExtraMissing, InvalidValue, NotFound) as error:
        raise PydanticCustomError("plugin", "{message}", {"message": str(error)}) from error
    return adapter(cls, str(name)).validate_json(json.dumps(value))


def resolved(value: Any) -> Any:
    """The parameters of a built plug-in, defaults included, as YAML spells them; plug-ins in it say their ``type``."""
    content = dataclasses.asdict(value)
    for name, hint in get_type_hints(type(value)).items():
        if hint in PLUGGED and name in content:
            inner, group = getattr(value, name), PLUGGED[hint]
            own = next(p.name for p in registry.available(group) if registry.find(group, p.name) is type(inner))
            content[name] = {"type": own, **resolved(inner)}
    return content


def _translate(hint: Any) -> Any:
    """The same type with every dataclass in it mirrored."""
    if hint is Learner:
        build = partial(nested_plugin, PLUGGED[hint])
        return Annotated[Any, BeforeValidator(build, json_schema_input_type=dict[str, Any])]
    if _is_dataclass(hint):
        return Annotated[mirror(hint), AfterValidator(_build(hint))]
    origin, inner = get_origin(hint), get_args(hint)
    if _is_union(hint):
        return _union(inner)
    if origin is Annotated and _is_union(inner[0]) and any(_is_dataclass(_bare(part)) for part in get_args(inner[0])):
        return _union(get_args(inner[0]))
    if origin is Annotated:
        return Annotated[(_translate(inner[0]), *inner[1:])]
    if origin is not None and origin is not Literal and inner:
        translated = tuple(_translate(part) if part is not Ellipsis else part for part in inner)
        return origin[translated] if translated != inner else hint
    return hint


@cache
def mirror(cls: type, tag: str | None = None) -> type[BaseModel]:
    """The strict model of a dataclass; with `tag`, it also has a field ``type`` that must equal it.

    Raises:
        InvalidValue: when `cls` is not a dataclass, or a field's type cannot come from YAML.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise InvalidValue(f"{cls!r} is {check(cls)}")
    try:
        hints = get_type_hints(cls, include_extras=True)
        fields: dict[str, Any] = {} if tag is None else {"type": (Literal[tag], ...)}
        for name, field in parameters(cls).items():
            fields.setdefault(name, (_translate(hints[name]), _default(field)))
        return create_model(cls.__name__, __config__=STRICT, __doc__=cls.__doc__, **fields)
    except (TypeError, NameError) as error:
        raise InvalidValue(f"{cls.__qualname__}: the fields cannot be read from a configuration: {error}") from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ...


@cache
def adapter(cls: type, tag: str | None = None) -> TypeAdapter[Any]:
    """Checks parameters and builds the dataclass; pydantic's ``ValidationError`` carries every problem.

    Raises:
        InvalidValue: as :func:`mirror`.
    """
    checked: Any = Annotated[mirror(cls, tag), AfterValidator(_build(cls))]
    return TypeAdapter(checked)
