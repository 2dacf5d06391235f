"""The audit: a chain of hashes over everything that happened to tasks, labels and raters.

``hash = SHA-256(canonical JSON of [sequence, at, campaign, actor, action, object, SHA-256(payload), previous])``. A
changed, removed or inserted event breaks the chain from there on. Somebody who can write to the database can also write a
new chain: only a head that was exported to another place shows that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alframe.errors import ArtifactDamaged, ArtifactMissing
from alframe.labelling.ports import LabellingLedger
from alframe.labelling.values import Event, Head, Submission, canonical
from alframe.ports import Artifacts, Ledger
from alframe.types import Phase

__all__ = ["Verification", "chained", "event_hash", "trace", "verify"]

_PAGE = 1000


def event_hash(
    *, sequence: int, at: str, campaign: str, actor: str, action: str, object: str, payload: bytes, previous: str
) -> str:
    """The hash of an event whose payload is `payload` (canonical JSON)."""
    content = hashlib.sha256(payload).hexdigest()
    return hashlib.sha256(canonical([sequence, at, campaign, actor, action, object, content, previous])).hexdigest()


def chained(
    head: Head, at: str, campaign: str, actor: str, action: str, object: str, payload: Mapping[str, Any]
) -> Event:
    """The event that follows `head`."""
    fields: dict[str, Any] = {
        "sequence": head.sequence + 1,
        "at": at,
        "campaign": campaign,
        "actor": actor,
        "action": action,
        "object": object,
        "previous": head.hash,
    }
    return Event(**fields, payload=dict(payload), hash=event_hash(**fields, payload=canonical(dict(payload))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What :func:`verify` found. `problems` are sentences; none means that events, submissions and masks agree."""

    events: int
    submissions: int
    masks: int
    head: Head
    problems: tuple[str, ...]


def verify(ledger: LabellingLedger, artifacts: Artifacts, *, expected: Head | None = None) -> Verification:
    """Follow the whole chain; compare every submission with its event, and every mask with its hash.

    `expected` is a head that was kept elsewhere: it must lie on the chain.
    """
    problems: list[str] = []
    end, seen = Head(sequence=0, hash=""), expected is None or expected.sequence == 0
    received: dict[str, str] = {}
    campaigns: set[str] = set()
    for event in _all(ledger):
        problems += _linked(event, end)
        end = Head(sequence=event.sequence, hash=event.hash)
        campaigns.add(event.campaign)
        if event.action == "submission.received":
            received[event.object] = str(event.payload.get("body_sha256", ""))
        if expected is not None and event.sequence == expected.sequence:
            seen = True
            if event.hash != expected.hash:
                problems.append(f"event {event.sequence} has not the hash that was exported: the history was rewritten")
    if not seen:
        problems.append(f"the chain ends at {end.sequence}, before the exported event {expected and expected.sequence}")
    if ledger.head() != end:
        problems.append(
            f"the last event is {end.sequence}, but the head says {ledger.head().sequence}: events are missing"
        )
    stored = [one for campaign in sorted(campaigns - {""}) for one in ledger.submissions(campaign)]
    problems += _kept(stored, received)
    masks = {one.mask for one in stored if one.mask is not None}
    for ref in sorted(masks, key=lambda ref: ref.sha256):
        try:
            artifacts.get(ref)
        except (ArtifactMissing, ArtifactDamaged) as error:
            problems.append(str(error))
    counts = {"events": end.sequence, "submissions": len(stored), "masks": len(masks)}
    return Verification(**counts, head=end, problems=tuple(problems))


def _all(ledger: LabellingLedger) -> Iterator[Event]:
    after = 0
    while page := ledger.events(after=after, limit=_PAGE):
        yield from page
        after = page[-1].sequence


def _linked(event: Event, end: Head) -> Iterator[str]:
    if event.sequence != end.sequence + 1:
        yield f"events {end.sequence + 1} to {event.sequence - 1} are missing"
    if event.previous != end.hash:
        yield f"event {event.sequence} does not follow from the event before it"
    again = chained(
        Head(sequence=event.sequence - 1, hash=event.previous),
        *(event.at, event.campaign, event.actor, event.action, event.object, event.payload),
    )
    if again.hash != event.hash:
        yield f"event {event.sequence} ({event.action} {event.object}) was changed"


def _kept(stored: Sequence[Submission], received: Mapping[str, str]) -> Iterator[str]:
    for one in stored:
        if one.id not in received:
            yield f"submission {one.id} by {one.rater} has no event"
        elif received[one.id] != one.body_sha256:
            yield f"submission {one.id} by {one.rater} was changed"
    for missing in sorted(set(received) - {one.id for one in stored}):
        yield f"submission {missing} was removed"


def trace(labelling: LabellingLedger, ledger: Ledger, campaign: str) -> tuple[dict[str, Any], ...]:
    """One row a submission: from the label back to rater, time, task, pre-fill, model, acquisition score and pool version.

    `model` names the checkpoints of the round that asked (empty in round 0), `committed` whether the campaign took the mask.
    """
    rounds = {record.index: record for record in ledger.rounds(campaign)}
    asked = {query.id: index for index in rounds for query in ledger.queries(campaign, index)}
    models = {index: _checkpoints(ledger, campaign, index) for index in rounds}
    masks = {(answer.query, answer.mask.sha256) for answer in ledger.answers(campaign) if answer.mask}
    tasks = {task.id: task for task in labelling.tasks(campaign)}
    rows = []
    for one in labelling.submissions(campaign):
        task, index = tasks[one.task], asked.get(one.task)
        done = index is not None and rounds[index].phase.order >= Phase.COMMITTED.order
        rows.append(
            {
                **one.plain(),
                **{"standing": one.standing.value, "received": one.received, "repeat": one.repeat},
                **{"counts": one.counts, "current": one.current, "body_sha256": one.body_sha256},
                **{"item": task.item, "start": list(task.box.start), "stop": list(task.box.stop), "asked": task.asked},
                **{"score": task.score, "blind": task.blind, "classes": list(task.classes)},
                "prefill": None if task.prefill is None else task.prefill.sha256,
                "round": index,
                "model": [] if index is None else models[index],
                "pool_version": rounds[index].version if index is not None and done else None,
                "committed": one.mask is not None and (one.task, one.mask.sha256) in masks,
            }
        )
    return tuple(rows)


def _checkpoints(ledger: Ledger, campaign: str, index: int) -> list[str]:
    named = ledger.artifacts(campaign, index)
    return [ref.sha256 for key, ref in sorted(named.items()) if key.startswith("member/")]
