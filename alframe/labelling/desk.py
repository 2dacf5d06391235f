"""The labelling desk: what every front end (server, folder, Label Studio, oracle, tests) does with tasks and labels.

The desk checks what comes in, makes masks durable before any row names them, and leaves each decision to one transaction of the
ledger. It keeps no state: any number of desks in any number of processes work on one ledger.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.composition import label_arrays
from alframe.errors import AlframeError, ConflictError, InvalidValue
from alframe.labelling.consensus import disagreement
from alframe.labelling.errors import Forbidden
from alframe.labelling.ports import LabellingLedger
from alframe.labelling.values import (
    Assignment,
    Credential,
    Delivery,
    Draft,
    Event,
    Lease,
    NewTask,
    Receipt,
    Scope,
    Submission,
    Task,
    TaskState,
    Work,
)
from alframe.ports import Artifacts
from alframe.types import UNANNOTATED, ArtifactRef, LabelMap, Outcome

__all__ = ["DRAFT_BYTES", "LEASE_SECONDS", "REPEAT_GAP", "LabellingDesk"]

LEASE_SECONDS = 20 * 60.0
REPEAT_GAP = 5
"""Submissions of a rater between a task and its repeat, at least."""
DRAFT_BYTES = 16 * 2**20
_TEXT = 2000
_DAYS = 10 * 86_400_000
"""Milliseconds beyond which a stated working time is a mistake."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class LabellingDesk:
    """See the module. Safe in threads and processes when ledger and artifacts are.

    Whoever acts is a :class:`Credential`, never a name from a request's body. Without the scope that a method needs it
    raises Forbidden.
    """

    def __init__(
        self,
        ledger: LabellingLedger,
        artifacts: Artifacts,
        *,
        lease_seconds: float = LEASE_SECONDS,
        repeat_gap: int = REPEAT_GAP,
    ) -> None:
        self.ledger, self.artifacts = ledger, artifacts
        self.lease_seconds, self.repeat_gap = lease_seconds, repeat_gap

    # -- the campaign

    def ask(self, tasks: Sequence[NewTask]) -> int:
        """Put up tasks; how many are new. Asking again changes nothing. Raises ConflictError (see the port)."""
        return self.ledger.put_tasks(tasks)

    def settle(self, campaign: str, *, ids: Sequence[str] | None = None) -> None:
        """Compare the labels of full tasks, and close or dispute them. Submitting does this; after a crash, so does the oracle."""
        for task in self.ledger.tasks(campaign, state=TaskState.FULL, ids=ids):
            self._settle(task)

    def _settle(self, task: Task) -> Task:
        counted = [one for one in self.current(task) if one.counts]
        found = disagreement([self.labels(one) for one in counted])
        return self.ledger.settle(task.id, basis=[one.id for one in counted], disagreement=found)

    # -- raters

    def claim(self, who: Credential, campaign: str) -> Assignment | None:
        """The task this rater should work on now: after a reload the same one with its draft; None when there is nothing."""
        who.require(Scope.ANNOTATE)
        return self.ledger.claim(campaign, who.rater, ttl=self.lease_seconds)

    def claims(self, raters: Sequence[Credential], campaign: str) -> tuple[Assignment | AlframeError | None, ...]:
        """What :meth:`claim` gives each of several raters, or would raise for it; one transaction serves them all."""
        allowed = [who.rater for who in raters if who.may(Scope.ANNOTATE)]
        given = dict(zip(allowed, self.ledger.claims(campaign, allowed, ttl=self.lease_seconds), strict=True))
        return tuple(given[who.rater] if who.rater in given else Forbidden(who.lacks(Scope.ANNOTATE)) for who in raters)

    def assignment(self, who: Credential, lease: str) -> Assignment:
        """A lease of this rater, whatever its state. Raises NotFound, Forbidden."""
        return self.ledger.assignments([self._own(who, lease).id])[0]

    def _own(self, who: Credential, lease: str) -> Lease:
        who.require(Scope.ANNOTATE)
        found = self.ledger.lease(lease)
        if found.rater != who.rater:
            raise Forbidden(f"lease {lease} is not {who.rater}'s")
        return found

    def heartbeat(self, who: Credential, lease: str) -> Lease:
        """Say that the rater is still at it. Raises LeaseLost when the lease is not active: claim again, the draft is kept."""
        who.require(Scope.ANNOTATE)
        return self.ledger.heartbeat(lease, who.rater, ttl=self.lease_seconds)

    def release(self, who: Credential, lease: str) -> Lease:
        """Give the task back; the draft is kept for this rater. Raises Forbidden, NotFound."""
        who.require(Scope.ANNOTATE)
        return self.ledger.release(lease, who.rater)

    def save_draft(self, who: Credential, lease: str, data: bytes, *, media_type: str, tag: str | None) -> Draft:
        """Save unfinished work over the draft that has `tag` (None = the first one). Raises DraftConflict, LeaseLost, Forbidden."""
        who.require(Scope.ANNOTATE)
        if len(data) > DRAFT_BYTES:
            raise InvalidValue(f"a draft has at most {DRAFT_BYTES} bytes, got {len(data)}")
        return self.ledger.save_draft(lease, who.rater, data=data, media_type=_text("media type", media_type), tag=tag)

    def draft(self, who: Credential, lease: str) -> Draft | None:
        """The draft of this rater's lease. Raises NotFound, Forbidden."""
        return self.ledger.draft(self._own(who, lease).id)

    def prefill(self, task: Task) -> dict[str, NDArray[Any]] | None:
        """What raters may be shown: ``classes`` (uint8 S) and ``uncertainty`` (float16 S); None when blind, or without a model."""
        if task.blind or task.prefill is None:
            return None
        found = self.artifacts.get_arrays(task.prefill)
        return {name: found[name] for name in ("classes", "uncertainty")}

    # -- submissions

    def submit(self, who: Credential, lease: str, work: Work, *, task: Task | None = None) -> Receipt:
        """Hand in a task, in time or not. Durable when this returns; the same work again gives the same receipt.

        `task` is the lease's, from a caller who has it already; of another one the ledger stores nothing.

        Raises:
            InvalidValue: for work that does not fit the task; says what was expected.
            SubmissionConflict: as the port says.
            Forbidden: for another rater's lease.
        """
        who.require(Scope.ANNOTATE)
        if task is None:
            task = self.ledger.task(self._own(who, lease).task)
        return self._deliver(who, task, work, lease=lease)

    def deliver(self, who: Credential, task: str, work: Work) -> Receipt:
        """Hand in a task without a lease (a folder, another tool). Fills a place when one is free, else it is kept as extra."""
        who.require(Scope.ANNOTATE)
        return self._deliver(who, self.ledger.task(task), work)

    def adjudicate(self, who: Credential, task: str, work: Work) -> Receipt:
        """Decide a task whose labels are all in: the reviewer's labels stand for it from now on.

        Raises ConflictError while raters still work on it; otherwise as :meth:`submit`.
        """
        who.require(Scope.REVIEW)
        if work.outcome is Outcome.SKIPPED:
            raise InvalidValue("a reviewer decides or leaves a task alone; there is no skip")
        found = self.ledger.task(task)
        if (
            found.state is TaskState.OPEN
        ):  # decided again in the transaction; here, so that no mask is stored for nothing
            raise ConflictError(
                f"task {task} is open ({found.counted} of {found.replicas} labels); a reviewer decides once all are in"
            )
        return self._deliver(who, found, work, adjudicates=True)

    def _deliver(
        self, who: Credential, task: Task, work: Work, *, lease: str | None = None, adjudicates: bool = False
    ) -> Receipt:
        _check(task, work)
        delivery = Delivery(
            id=work.id,
            campaign=task.campaign,
            task=task.id,
            rater=who.rater,
            lease=lease,
            adjudicates=adjudicates,
            outcome=work.outcome,
            reason=work.reason,
            mask=self._stored(work.labels),
            class_map=task.class_map,
            prefill_shown=work.prefill_shown,
            prefill_sha256=work.prefill_sha256,
            pixels_changed=work.pixels_changed,
            active_ms=work.active_ms,
            wall_ms=work.wall_ms,
            client=work.client,
            supersedes=work.supersedes,
        )
        receipt = self.ledger.submit(delivery, repeat_gap=self.repeat_gap)
        if receipt.task.state is not TaskState.FULL:
            return receipt
        task = self._settle(receipt.task)
        return Receipt(submission=receipt.submission, task=task, created=receipt.created)

    def _stored(self, labels: LabelMap | None) -> ArtifactRef | None:
        return None if labels is None else self.artifacts.put_arrays("mask", label_arrays(labels))

    # -- reading

    def current(self, task: Task) -> tuple[Submission, ...]:
        """The submissions of a task that no correction superseded, repeats included, in the order they came."""
        return tuple(one for one in self.ledger.submissions(task.campaign, tasks=[task.id]) if one.current)

    def labels(self, submission: Submission) -> LabelMap | None:
        """The labels of a submission, None when its outcome has none. Raises ArtifactMissing, ArtifactDamaged."""
        if submission.mask is None:
            return None
        arrays = self.artifacts.get_arrays(submission.mask)
        return LabelMap(classes=arrays["classes"], instances=arrays.get("instances"))

    def note(
        self, who: Credential, action: str, object: str, payload: Mapping[str, Any], *, campaign: str = ""
    ) -> Event:
        """Record something that happened elsewhere (a deletion in another tool, a sign-in) in the audit."""
        return self.ledger.note(campaign=campaign, actor=who.rater, action=action, object=object, payload=payload)


def _check(task: Task, work: Work) -> None:
    """Refuse work that cannot be an answer to `task`. Raises InvalidValue."""
    where = f"submission {work.id[:40]!r} to task {task.id}"
    try:
        proper = str(uuid.UUID(work.id)) == work.id
    except ValueError:
        proper = False
    if not proper:
        raise InvalidValue(f"{where}: expected an id that is a UUID in lower case with dashes")
    if work.class_map not in ("", task.class_map):
        raise InvalidValue(f"{where}: it was drawn with another class map than {task.class_map[:12]}; reload the page")
    _check_shown(where, task, work)
    for name, text in (("reason", work.reason), ("client", work.client), ("pre-fill hash", work.prefill_sha256)):
        _text(f"{where}: the {name}", text)
    numbers = (("active_ms", work.active_ms, _DAYS), ("wall_ms", work.wall_ms, 100 * _DAYS))
    for name, number, most in (*numbers, ("pixels_changed", work.pixels_changed, task.box.size)):
        if number is not None and not 0 <= number <= most:
            raise InvalidValue(f"{where}: expected {name} from 0 to {most}, got {number}")
    if work.outcome.carries_label != (work.labels is not None):
        verb = "needs" if work.outcome.carries_label else "cannot have"
        raise InvalidValue(f"{where}: outcome {work.outcome} {verb} labels")
    if work.labels is not None:
        _check_labels(where, task, work.outcome, work.labels)


def _check_shown(where: str, task: Task, work: Work) -> None:
    if not work.prefill_shown:
        return
    if task.blind or task.prefill is None:
        raise InvalidValue(f"{where}: a pre-fill was shown, but this task has none (or is blind)")
    if work.prefill_sha256 not in ("", task.prefill.sha256):
        raise InvalidValue(f"{where}: another pre-fill was shown than {task.prefill.sha256[:12]}; reload the page")


def _check_labels(where: str, task: Task, outcome: Outcome, labels: LabelMap) -> None:
    if labels.shape != task.box.shape:
        raise InvalidValue(f"{where}: expected labels of shape {task.box.shape}, got {labels.shape}")
    found = np.unique(labels.classes).tolist()
    unknown = [value for value in found if value >= len(task.classes) and value != UNANNOTATED]
    if unknown:
        raise InvalidValue(
            f"{where}: expected classes 0 to {len(task.classes) - 1} or {UNANNOTATED} (left open), got {unknown[:5]}"
        )
    drawn = any(value not in (0, UNANNOTATED) for value in found)
    if outcome is Outcome.LABELED and not drawn:
        hint = "ambiguous" if found == [UNANNOTATED] else "empty_confirmed"
        raise InvalidValue(f"{where}: nothing is drawn; when that is meant, say {hint}")
    if outcome is Outcome.EMPTY_CONFIRMED and (drawn or 0 not in found):
        raise InvalidValue(f"{where}: empty_confirmed goes with background only, got classes {found[:5]}")


def _text(what: str, text: str) -> str:
    if len(text) > _TEXT or _CONTROL.search(text):
        raise InvalidValue(f"{what} has at most {_TEXT} characters and no control characters")
    return text
