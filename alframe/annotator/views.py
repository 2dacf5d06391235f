"""Values of the desk as the JSON that :mod:`~alframe.annotator.schemas` describes."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from alframe.annotator.pictures import Window, context_size, is_rgb
from alframe.labelling import (
    Assignment,
    Credential,
    Draft,
    Event,
    Lease,
    Progress,
    Scope,
    Submission,
    Task,
    TaskState,
    colour,
)
from alframe.labelling.consensus import agreement
from alframe.types import ItemInfo, LabelMap

__all__ = [
    "BASE",
    "VERSION",
    "agreement_of",
    "assignment",
    "box",
    "classes",
    "draft",
    "event",
    "heartbeat",
    "judged",
    "mine",
    "progress",
    "standing",
    "task",
]

BASE = "/api/v1"
VERSION = importlib.metadata.version("alframe")
Json = dict[str, Any]


def classes(names: Sequence[str]) -> list[Json]:
    """Classes by id with their colours."""
    return [{"id": number, "name": name, "colour": colour(number)} for number, name in enumerate(names)]


def box(corners: Any) -> Json:
    """A box."""
    return {"start": list(corners.start), "stop": list(corners.stop)}


def heartbeat(held: Lease) -> Json:
    """How long a lease lasts."""
    ends = datetime.fromtimestamp(time.time() + held.seconds_left, UTC).isoformat(timespec="seconds")
    return {
        "state": held.state.value,
        "seconds_left": round(held.seconds_left, 3),
        "expires": ends.replace("+00:00", "Z"),
    }


def draft(kept: Draft) -> Json:
    """A draft without its bytes."""
    return {"tag": kept.tag, "media_type": kept.media_type, "saved": kept.saved}


def assignment(given: Assignment, shown: Json) -> Json:
    """An assignment whose task is `shown`."""
    latest = given.submission
    return {
        "lease": {"id": given.lease.id, "repeat": given.lease.repeat, **heartbeat(given.lease)},
        "task": shown,
        "draft": None if given.draft is None else draft(given.draft),
        "submission": None
        if latest is None
        else {
            "id": latest.id,
            "outcome": latest.outcome.value,
            "reason": latest.reason,
            "mask_url": _mask_url(latest),
        },
    }


def _mask_url(one: Submission) -> str | None:
    return None if one.mask is None else f"{BASE}/submissions/{one.id}/mask"


def task(asked: Task, info: ItemInfo, window: Window, measure: str | None) -> Json:
    """A task with the addresses of what belongs to it."""
    place = f"{BASE}/tasks/{asked.id}"
    factor, height, width = context_size(info.shape)
    corners = [round(edge / factor, 2) for edge in (*asked.box.start[-2:], *asked.box.stop[-2:])]
    shown = asked.prefill is not None and not asked.blind
    return {
        "id": asked.id,
        "item": asked.item,
        "box": box(asked.box),
        "shape": list(asked.box.shape),
        "item_shape": list(info.shape),
        "spacing": list(info.spacing),
        "axes": "YX" if len(info.shape) == 2 else "ZYX",
        "classes": classes(asked.classes),
        "class_map": asked.class_map,
        "blind": asked.blind,
        "replicas": asked.replicas,
        "score": asked.score,
        "state": asked.state.value,
        "image": {
            "kind": "rgb" if is_rgb(info) else "grey",
            "channels": info.channels,
            "dtype": info.dtype,
            **asdict(window),
            "png": f"{place}/image.png",
            "pixels": f"{place}/pixels",
        },
        "context": {"url": f"{place}/context.png", "width": width, "height": height, "box": corners},
        "prefill": {"url": f"{place}/prefill", "sha256": asked.prefill.sha256} if shown and asked.prefill else None,
        "uncertainty": {"url": f"{place}/uncertainty", "measure": measure} if shown else None,
    }


def progress(found: Progress, who: Credential, status: str) -> Json:
    """How far the batch is, with no more names than `who` may see."""
    states = {state.value: count for state, count in found.tasks.items()}
    everyone = bool({Scope.REVIEW, Scope.ADMIN} & who.scopes)

    def named(counts: Any) -> dict[str, int]:
        return {name: count for name, count in counts.items() if everyone or name == who.rater}

    return {
        "batch": found.batch,
        "total": sum(states.values()),
        "done": states.get(TaskState.DONE.value, 0) + states.get(TaskState.RETIRED.value, 0),
        "open": states.get(TaskState.OPEN.value, 0),
        "mine": found.submissions.get(who.rater, 0),
        "tasks": states,
        "submissions": named(found.submissions),
        "active": named(found.active),
        "campaign_status": status,
    }


def standing(one: Submission) -> Json:
    """How a submission was received."""
    return {
        "id": one.id,
        "outcome": one.outcome.value,
        "standing": one.standing.value,
        "received": one.received,
        "counts": one.counts,
        "current": one.current,
    }


def mine(one: Submission, item: str) -> Json:
    """A submission as its rater sees it."""
    return {**standing(one), "lease": one.lease, "task": one.task, "item": item}


def judged(one: Submission) -> Json:
    """A submission as a reviewer sees it."""
    facts = {
        name: getattr(one, name) for name in ("rater", "reason", "active_ms", "prefill_shown", "repeat", "supersedes")
    }
    return {**standing(one), **facts, "mask_url": _mask_url(one)}


def agreement_of(one: str, other: str, a: LabelMap, b: LabelMap) -> Json:
    """How two submissions agree where both annotated: Dice over all foreground classes, and of each that either used."""
    both = a.annotated & b.annotated
    first, second = a.classes[both], b.classes[both]
    used = [int(value) for value in np.union1d(first, second) if value != 0]
    per_class = {
        str(value): float(
            2 * np.sum((first == value) & (second == value)) / (np.sum(first == value) + np.sum(second == value))
        )
        for value in used
    }
    return {"a": one, "b": other, "dice": agreement(a, b), "per_class": per_class}


def event(one: Event) -> Json:
    """One line of the audit."""
    return {**asdict(one), "payload": dict(one.payload)}
