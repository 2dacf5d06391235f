"""Any frozen dataclass as a strict section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from alframe.config.mirror import adapter, check, mirror
from alframe.errors import InvalidValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    type: Literal["circle"] = "circle"
    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise InvalidValue(f"radius must be positive, got {self.radius}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    type: Literal["square"] = "square"
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    shape: Circle | Square | Own = field(default_factory=Circle)
    extra: Circle | None = None
    size: tuple[int, ...] | int | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    many: tuple[Square, ...] = ()


def build(value: dict[str, Any]) -> Drawing:
    made: Drawing = adapter(Drawing).validate_json(json.dumps(value))
    return made


def errors(value: dict[str, Any]) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(ValidationError) as caught:
        build(value)
    return {error["loc"]: error["type"] for error in caught.value.errors()}


def test_defaults_are_the_dataclass_own() -> None:
    assert build({}) == Drawing()


def test_sections_become_the_dataclasses_they_mirror() -> None:
    made = build(
        {
            "shape": {"type": "square", "side": 3},
            "extra": {"radius": 2},
            "size": [4, 5],
            "names": {"0": "a", "255": "b"},
            "many": [{"side": 1}, {"side": 2}],
        }
    )
    assert made == Drawing(
        shape=Square(side=3),
        extra=Circle(radius=2.0),
        size=(4, 5),
        names={0: "a", 255: "b"},
        many=(Square(side=1), Square(side=2)),
    )


def test_the_type_chooses_the_member_and_a_path_the_open_ended_one() -> None:
    assert build({"shape": {"radius": 3.0}}).shape == Circle(radius=3.0)
    assert build({"shape": {"type": "my.module:make", "params": {"k": 1}}}).shape == Own(
        type="my.module:make", params={"k": 1}
    )


@pytest.mark.parametrize(
    ("value", "place", "kind"),
    [
        ({"shap": 1}, ("shap",), "extra_forbidden"),
        ({"shape": {"type": "circel"}}, ("shape",), "unknown_type"),
        ({"shape": {"type": "square"}}, ("shape", "Square", "side"), "missing"),
        ({"shape": {"radius": "3"}}, ("shape", "Circle", "radius"), "float_type"),
        ({"shape": {"radius": -1.0}}, ("shape", "Circle"), "value_error"),
        ({"extra": {"radius": float("nan")}}, ("extra", "radius"), "finite_number"),
        ({"many": [{"side": 1}, {"side": True}]}, ("many", 1, "side"), "int_type"),
        ({"names": {"x": "a"}}, ("names", "x", "[key]"), "int_parsing"),
    ],
)
def test_each_fault_has_its_place(value: dict[str, Any], place: tuple[str | int, ...], kind: str) -> None:
    found = errors(value)
    assert found == {place: kind}


def test_faults_in_several_sections_come_together() -> None:
    found = errors({"shape": {"type": "square", "side": 1.5}, "extra": {"radius": 0}, "names": {"1": 2}})
    assert len(found) == 3


def test_a_tag_becomes_a_required_type() -> None:
    model = mirror(Drawing, "drawing")
    assert model.model_json_schema()["required"] == ["type"]
    assert adapter(Drawing, "drawing").validate_json('{"type": "drawing", "size": 3}') == Drawing(size=3)


def test_what_cannot_be_configured_is_refused() -> None:
    @dataclass
    class Loose:
        a: int = 1

    assert "not frozen" in check(Loose)
    assert "not a dataclass" in check(int)
    assert check(Circle) == ""
    with pytest.raises(InvalidValue, match="not a dataclass"):
        mirror(int)
