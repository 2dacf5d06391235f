"""What requests may say; anything else is refused with what was expected."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from alframe.annotator.problems import Refused
from alframe.types import Outcome

__all__ = ["InviteIn", "MaskIn", "SubmissionIn", "parsed"]

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_SHA256 = r"^[0-9a-f]{64}$"
Hash = Annotated[str, Field(pattern=_SHA256)]
Identity = Annotated[str, Field(pattern=_UUID)]
Name = Annotated[str, Field(pattern=r"^[\w.:@ -]{1,200}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
_MARKUP = re.compile(r"<\s*[A-Za-z/!?]")


def _plain(text: str) -> str:
    """Text that people read: what looks like markup is refused, although every page shows it as text."""
    if _MARKUP.search(text):
        raise PydanticCustomError("markup", "expected plain text; a `<` may not begin a tag")
    return text


Plain = AfterValidator(_plain)
Model = TypeVar("Model", bound=BaseModel)


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InviteIn(_In):
    """An invite, as the fragment of its URL has it."""

    invite: Annotated[str, Field(min_length=1, max_length=200)]


class MaskIn(_In):
    """A mask of the box's shape, class ids in C order, 255 = left open. `sha256` is of the decoded uint8 bytes."""

    encoding: Literal["gzip", "png", "nifti"]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=2**31)]], Field(min_length=2, max_length=3)]
    sha256: Hash
    data: Annotated[str, Field(description="base64")]


class SubmissionIn(_In):
    """What a rater says about a task: name the `lease` (a reviewer: the `task`)."""

    lease: Name | None = None
    task: Name | None = None
    outcome: Annotated[Outcome, Field(strict=False)]
    reason: Annotated[str, Field(max_length=2000), Plain] = ""
    mask: MaskIn | None = None
    class_map: Hash | Literal[""] = ""
    prefill_shown: bool = False
    prefill_sha256: Hash | Literal[""] | None = None
    pixels_changed: Count | None = None
    active_ms: Count | None = None
    wall_ms: Count | None = None
    client: Annotated[str, Field(max_length=200), Plain] = ""
    supersedes: Identity | None = None


def parsed(model: type[Model], body: bytes) -> Model:
    """The body of a request. Raises Refused (400 for what is no JSON, 422 for what does not fit)."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if any(one["type"] == "json_invalid" for one in found):
            raise Refused(400, "malformed", f"expected a JSON object: {found[0]['msg']}") from error
        errors = [{"where": ".".join(map(str, one["loc"])) or "body", "expected": one["msg"]} for one in found]
        detail = "; ".join(f"{one['where']}: {one['expected']}" for one in errors[:5])
        raise Refused(422, "invalid", detail, errors=errors[:20]) from error
