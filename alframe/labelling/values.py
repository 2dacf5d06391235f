"""The values of human labelling: tasks, leases, drafts, submissions, events, raters and their credentials."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from alframe.errors import InvalidValue
from alframe.labelling.errors import Forbidden
from alframe.types import ArtifactRef, Box, LabelMap, Outcome

__all__ = [
    "CONSENSUS",
    "Assignment",
    "Credential",
    "Delivery",
    "Draft",
    "Effort",
    "Event",
    "Head",
    "Lease",
    "LeaseState",
    "NewTask",
    "Opinion",
    "Progress",
    "Rater",
    "Receipt",
    "Scope",
    "Standing",
    "Submission",
    "Task",
    "TaskState",
    "Work",
    "canonical",
    "class_map_hash",
    "rater_name",
]

CONSENSUS = "consensus"
"""The rater's name of an answer that several raters' labels were fused to; nobody can be enrolled under it."""
_NAME = re.compile(r"[^\W_](?:[\w .,@+-]{0,78}[\w.])?")


class Scope(StrEnum):
    """What a credential allows."""

    ANNOTATE = "annotate"
    REVIEW = "review"
    ADMIN = "admin"


class TaskState(StrEnum):
    """`open` wants labels; `full` has them, not compared yet; `disputed` waits for a reviewer; `retired`: an unusable item."""

    OPEN = "open"
    FULL = "full"
    DISPUTED = "disputed"
    DONE = "done"
    RETIRED = "retired"


class LeaseState(StrEnum):
    """`due` is a repeat that was not handed out yet. `expired` and `released` ones may become active again."""

    DUE = "due"
    ACTIVE = "active"
    EXPIRED = "expired"
    RELEASED = "released"
    SUBMITTED = "submitted"
    SKIPPED = "skipped"


class Standing(StrEnum):
    """How a submission was received. `on_time` and `late` fill a replica; an `extra` one does when a place becomes free."""

    ON_TIME = "on_time"
    LATE = "late"
    EXTRA = "extra"
    REPEAT = "repeat"
    SKIP = "skip"
    ADJUDICATION = "adjudication"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces (UTF-8): equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def class_map_hash(classes: tuple[str, ...]) -> str:
    """The version of a class map: SHA-256 (hex) over the names in the order of their ids."""
    return hashlib.sha256(canonical(list(classes))).hexdigest()


def rater_name(name: str) -> str:
    """`name` unchanged when a rater can have it. Raises InvalidValue."""
    if not _NAME.fullmatch(name) or name == CONSENSUS:
        raise InvalidValue(
            f"a rater's name is 1 to 80 letters, digits, spaces or . , @ + - _ and begins with a letter or digit "
            f"(and is not {CONSENSUS!r}), got {name!r}"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A question to raters: which class each pixel of `box` in `item` has.

    `id` is the query's id. `replicas` raters answer independently; when they differ by more than `adjudicate_above`
    (1 − mean pairwise Dice, None = never) a reviewer decides. `blind`: nobody is shown the pre-fill. `repeat`: whoever
    answered is asked once more, later. The task is given up when `skips` raters skipped it. `classes` are names by id.
    """

    id: str
    campaign: str
    item: str
    box: Box
    classes: tuple[str, ...]
    score: float = 0.0
    raters: tuple[str, ...] = ()
    replicas: int = 1
    blind: bool = False
    repeat: bool = False
    adjudicate_above: float | None = None
    skips: int = 2
    prefill: ArtifactRef | None = None

    def __post_init__(self) -> None:
        if not self.id or not self.campaign or not self.item:
            raise InvalidValue("a task needs an id, a campaign and an item")
        if self.replicas < 1 or self.skips < 1 or not 1 <= len(self.classes) <= 255:
            raise InvalidValue(f"task {self.id}: expected replicas >= 1, skips >= 1 and 1 to 255 classes")
        if self.raters and len(self.raters) < self.replicas:
            raise InvalidValue(f"task {self.id}: {self.replicas} answers are wanted of {len(self.raters)} raters")

    @property
    def class_map(self) -> str:
        """See :func:`class_map_hash`."""
        return class_map_hash(self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(NewTask):
    """A task in the ledger. `batch` counts the calls of ask from 0, `place` the tasks of a campaign in their order.

    `counted` submissions fill a replica; `taken` are those and the active leases, never more than `replicas`. `skipped` raters
    passed.
    `disagreement` is known once two or more labels were compared. `asked` is an ISO time.
    """

    batch: int
    place: int
    state: TaskState
    taken: int
    counted: int
    skipped: int
    disagreement: float | None
    asked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One rater's place at one task: unique by (task, rater, repeat), with one id for good.

    `state` is as of the database's clock: an overdue lease reads `expired`. `seconds_left` is 0 unless it is active. `repeat` is
    0, or 1 when the rater is asked again. `counts` says whether its submission fills a replica. `granted` is an ISO time.
    """

    id: str
    task: str
    campaign: str
    rater: str
    repeat: int
    state: LeaseState
    counts: bool
    seconds_left: float
    granted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Unfinished work as its front end wrote it. `tag` changes with every change (the HTTP ETag, without quotes)."""

    lease: str
    tag: str
    media_type: str
    data: bytes
    saved: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a rater needs to go on: the lease, its task, the draft if there is one, the rater's latest submission if any."""

    lease: Lease
    task: Task
    draft: Draft | None = None
    submission: Submission | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a front end hands in. `id` is a UUID made by the client; the same id may be sent as often as it takes.

    `labels` has the box's shape and goes with the outcomes ``labeled`` and ``empty_confirmed`` only; 255 = left open. `class_map`
    and `prefill_sha256` say what the rater saw (empty = the task's own, and nothing). `active_ms` leaves idle time out.
    `supersedes` names the rater's earlier submission that this one corrects.
    """

    id: str
    outcome: Outcome
    labels: LabelMap | None = None
    reason: str = ""
    class_map: str = ""
    prefill_shown: bool = False
    prefill_sha256: str = ""
    pixels_changed: int | None = None
    active_ms: int | None = None
    wall_ms: int | None = None
    client: str = ""
    supersedes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Work whose mask is durable, on its way into the ledger. `lease` is None for front ends without leases and for reviewers."""

    id: str
    campaign: str
    task: str
    rater: str
    lease: str | None
    adjudicates: bool
    outcome: Outcome
    reason: str
    mask: ArtifactRef | None
    class_map: str
    prefill_shown: bool
    prefill_sha256: str
    pixels_changed: int | None
    active_ms: int | None
    wall_ms: int | None
    client: str
    supersedes: str | None

    def plain(self) -> dict[str, Any]:
        """All fields of the delivery as JSON has them."""
        values = {one.name: getattr(self, one.name) for one in fields(Delivery)}
        mask = None if self.mask is None else {"sha256": self.mask.sha256, "size": self.mask.size}
        return {**values, "outcome": self.outcome.value, "mask": mask}

    @property
    def body_sha256(self) -> str:
        """What tells a repetition from another submission under the same id."""
        return hashlib.sha256(canonical(self.plain())).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(Delivery):
    """A delivery as the ledger keeps it for good. `repeat` is the lease's; `current` is False once a correction supersedes it.

    `counts`: whether it (still) fills a replica of its task. `received` is an ISO time.
    """

    repeat: int
    standing: Standing
    received: str
    counts: bool
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """A rater's current labels, and how long (ms) the rater was active on them; None where no client told."""

    rater: str
    labels: int
    active_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a rater drew of a task."""

    task: str
    rater: str
    mask: ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to a submission. `created` is False when the same submission was received before."""

    submission: Submission
    task: Task
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the audit. `hash` covers all fields and `previous`, the hash before (see :mod:`alframe.labelling.audit`)."""

    sequence: int
    at: str
    campaign: str
    actor: str
    action: str
    object: str
    payload: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the audit chain: keep it elsewhere, and nobody can rewrite what came before unseen."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rater:
    """A person (or a tool that speaks for one). `asserted`: a bridge says who it is, no credential proves it."""

    name: str
    scopes: frozenset[Scope]
    asserted: bool
    created: str
    revoked: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who speaks, as proven by a secret (`kind`: ``token``, ``session``) or said by a bridge (``asserted``)."""

    rater: str
    scopes: frozenset[Scope] = field(default_factory=frozenset)
    kind: str = "token"

    def require(self, scope: Scope) -> None:
        """Raises Forbidden unless this credential has the scope (``admin`` has them all)."""
        if not self.may(scope):
            raise Forbidden(self.lacks(scope))

    def may(self, scope: Scope) -> bool:
        """Whether this credential has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def lacks(self, scope: Scope) -> str:
        """A sentence for who has not the scope."""
        held = ", ".join(sorted(self.scopes)) or "nothing"
        return f"{self.rater} may {held}, but this needs {scope}; ask who runs the campaign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the latest batch is: tasks by state, submissions by rater that count, active leases by rater."""

    batch: int
    tasks: Mapping[TaskState, int]
    submissions: Mapping[str, int]
    active: Mapping[str, int]
