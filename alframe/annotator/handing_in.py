"""From the body of a submission to a receipt: the checks that need the task before a mask is decoded."""

from __future__ import annotations

import math

import numpy as np
from starlette.responses import Response

from alframe.annotator import masks, views
from alframe.annotator.answers import json_of
from alframe.annotator.incoming import SubmissionIn, parsed
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.errors import InvalidValue
from alframe.labelling import Credential, Receipt, Scope, Task, Work
from alframe.types import LabelMap, Outcome

__all__ = ["adjudicated", "handed_in", "receipt_of"]


def handed_in(office: Office, who: Credential, submission: str, body: bytes) -> Receipt:
    """A rater's submission. Raises what the desk raises, and Refused."""
    said = parsed(SubmissionIn, body)
    if said.lease is None or said.task is not None:
        raise InvalidValue("expected `lease`, the one that the work was done under, and no `task`")
    held = office.lease(who, said.lease)
    task = office.asked(held.task)
    return office.desk.submit(who, held.id, _work(office, task, submission, said), task=task)


def adjudicated(office: Office, who: Credential, submission: str, body: bytes) -> Receipt:
    """A reviewer's decision. Raises what the desk raises, and Refused."""
    who.require(Scope.REVIEW)
    said = parsed(SubmissionIn, body)
    if said.task is None or said.lease is not None:
        raise InvalidValue("expected `task`, the one that is decided, and no `lease`")
    task = office.asked(said.task)
    return office.desk.adjudicate(who, task.id, _work(office, task, submission, said))


def _work(office: Office, task: Task, submission: str, said: SubmissionIn) -> Work:
    return Work(
        id=submission,
        outcome=said.outcome,
        labels=_labels(office, task, said),
        reason=said.reason,
        class_map=said.class_map,
        prefill_shown=said.prefill_shown,
        prefill_sha256=said.prefill_sha256 or "",
        pixels_changed=said.pixels_changed,
        active_ms=said.active_ms,
        wall_ms=said.wall_ms,
        client=said.client,
        supersedes=said.supersedes,
    )


def _labels(office: Office, task: Task, said: SubmissionIn) -> LabelMap | None:
    shape, mask = task.box.shape, said.mask
    if mask is None:
        return LabelMap(classes=np.zeros(shape, np.uint8)) if said.outcome is Outcome.EMPTY_CONFIRMED else None
    if not said.outcome.carries_label:
        raise InvalidValue(f"outcome {said.outcome} has no mask; send null")
    if tuple(mask.shape) != shape:
        raise InvalidValue(f"mask.shape: expected {list(shape)}, the box of the task, got {mask.shape}")
    if math.prod(shape) > office.door.pixels:
        raise InvalidValue(
            f"this server takes masks of at most {office.door.pixels} pixels; the task has {math.prod(shape)}"
        )
    return LabelMap(classes=masks.decode(mask.encoding, shape, mask.sha256, mask.data))


def receipt_of(office: Office, meters: Meters, who: Credential, receipt: Receipt) -> Response:
    """The answer to a submission: 201 for a new one, 200 for the same again."""
    office.changed()
    if receipt.created:
        meters.submitted(receipt.submission.outcome, receipt.submission.standing.value)
    found = {
        "created": receipt.created,
        "submission": views.standing(receipt.submission),
        "task": {"id": receipt.task.id, "state": receipt.task.state.value},
        "progress": office.progress(who),
    }
    return json_of(found, 201 if receipt.created else 200)
