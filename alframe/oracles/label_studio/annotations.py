"""What an annotation of Label Studio says, as labels of our task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from alframe.errors import InvalidValue
from alframe.labelling import Said, Task
from alframe.oracles.label_studio import brush
from alframe.oracles.label_studio.board import CHOICES, CLASSES, LEFT_OPEN, OUTCOME, REASON, pages, within
from alframe.types import UNANNOTATED, Box, LabelMap, Outcome

__all__ = ["author", "checked", "said", "source"]

_LONGEST = 10 * 86_400.0
"""Seconds beyond which a working time is a mistake: the page was left open."""
_SILENT = (Outcome.AMBIGUOUS, Outcome.UNUSABLE)


class _Part(BaseModel):
    """Only the shape is checked; there is more in each of these."""

    model_config = ConfigDict(strict=True)


class _Value(_Part):
    choices: list[str] = []
    text: str | list[str] | None = None
    rle: list[int] = []
    brushlabels: list[str] | None = None


class _Result(_Part):
    from_name: str = ""
    type: str = ""
    value: _Value = _Value()


class _By(_Part):
    id: int | None = None
    email: str | None = None


class _Annotation(_Part):
    id: int
    updated_at: str
    result: list[_Result] | None = None
    completed_by: _By | int | None = None


def checked(annotation: Any) -> Mapping[str, Any]:
    """The annotation, when it has the shape that Label Studio documents. Raises InvalidValue."""
    try:
        _Annotation.model_validate(annotation)
        datetime.fromisoformat(annotation["updated_at"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InvalidValue(f"expected an annotation as Label Studio documents it; {where}: {first['msg']}") from error
    except ValueError as error:
        raise InvalidValue(f"expected an annotation with a time; {error}") from error
    found: Mapping[str, Any] = annotation
    return found


def source(annotation: Mapping[str, Any]) -> str:
    """What names an annotation in the audit."""
    return f"annotation-{annotation['id']}"


def author(annotation: Mapping[str, Any]) -> str:
    """Who made an annotation: their address in Label Studio."""
    by = annotation.get("completed_by")
    if isinstance(by, Mapping):
        return str(by.get("email") or f"user {by.get('id')}")
    return f"user {by}"


def said(annotation: Mapping[str, Any], task: Task, around: Box) -> Said:
    """An annotation as an answer: skipped, one of the choices, or the union of its brush strokes, later ones on top.

    `around` is what the picture shows; strokes outside the task's box say nothing.

    Raises:
        InvalidValue: for strokes that do not fit the task's picture, unknown classes, and what is drawn with another tool.
    """
    results = annotation.get("result") or []
    seconds = annotation.get("lead_time")
    known = isinstance(seconds, int | float) and 0 <= seconds < _LONGEST
    more: dict[str, Any] = {"reason": _reason(results), "seconds": seconds if known else None}
    if annotation.get("was_cancelled"):
        return Said(outcome=Outcome.SKIPPED, **more)
    stated = _outcome(results)
    if stated in _SILENT:
        return Said(outcome=stated, **more)
    whole = np.zeros(around.shape, np.uint8)
    for region in _strokes(results):
        _paint(pages(whole), region, task)
    inner = np.ascontiguousarray(whole[within(task.box, around).slices])
    found = Said.drawn(LabelMap(classes=inner), **more)
    if stated not in (None, found.outcome):
        raise InvalidValue(f"it says {CHOICES[stated]!r}, but something is painted; remove the strokes or that choice")
    return found


def _named(results: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [one.get("value", {}) for one in results if one.get("from_name") == name]


def _outcome(results: Sequence[Mapping[str, Any]]) -> Outcome | None:
    texts = {text: outcome for outcome, text in CHOICES.items()} | {outcome.value: outcome for outcome in CHOICES}
    chosen = [text for value in _named(results, OUTCOME) for text in value.get("choices", ())]
    if len(set(chosen)) > 1 or any(text not in texts for text in chosen):
        raise InvalidValue(f"expected one of {', '.join(CHOICES.values())}, got {', '.join(map(str, chosen))[:200]}")
    return texts[chosen[0]] if chosen else None


def _reason(results: Sequence[Mapping[str, Any]]) -> str:
    texts = [value.get("text") or "" for value in _named(results, REASON)]
    return " ".join(" ".join(text) if isinstance(text, list) else str(text) for text in texts)[:2000]


def _strokes(results: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in results:
        if one.get("from_name") in (OUTCOME, REASON) or one.get("type") == "relation":
            continue
        if one.get("type") != "brushlabels" or one.get("from_name") != CLASSES or "rle" not in one.get("value", {}):
            raise InvalidValue(
                f"only brush strokes become labels, and this has {str(one.get('type'))[:40]!r}; paint it"
            )
        yield one


def _paint(planes: Sequence[NDArray[np.uint8]], region: Mapping[str, Any], task: Task) -> None:
    page, shape = region.get("item_index", 0), planes[0].shape
    if not isinstance(page, int) or not 0 <= page < len(planes):
        raise InvalidValue(f"expected pages 0 to {len(planes) - 1}, got {str(page)[:20]}")
    height, width = shape
    size = (region.get("original_height"), region.get("original_width"))
    if size != (height, width) or region.get("image_rotation", 0):
        raise InvalidValue(
            f"expected strokes on a picture {width} wide and {height} high that is not turned, got {size}"
        )
    names = region["value"].get("brushlabels") or []
    known = {name: number for number, name in enumerate(task.classes) if number} | {LEFT_OPEN: UNANNOTATED}
    if len(names) != 1 or names[0] not in known:
        raise InvalidValue(
            f"expected one class of {', '.join(known)}, got {', '.join(map(str, names))[:200] or 'none'}"
        )
    planes[page][brush.decode(region["value"]["rle"], (height, width))] = known[names[0]]
