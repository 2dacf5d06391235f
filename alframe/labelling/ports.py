"""The port of human labelling: what a database must do for :class:`~alframe.labelling.desk.LabellingDesk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from alframe.errors import AlframeError
from alframe.labelling.errors import Unauthenticated
from alframe.labelling.values import (
    Assignment,
    Credential,
    Delivery,
    Draft,
    Effort,
    Event,
    Head,
    Lease,
    NewTask,
    Opinion,
    Progress,
    Rater,
    Receipt,
    Scope,
    Submission,
    Task,
    TaskState,
)

__all__ = ["LabellingLedger"]


class LabellingLedger(Protocol):
    """Tasks, leases, submissions, raters and the audit. Each method is one transaction; what it returns is committed.

    Every change of a task, lease, submission or rater writes its :class:`Event` in the same transaction; heartbeats and drafts
    write none. Times are the database's. Safe to use from many threads and processes. Names that do not exist raise NotFound.
    """

    # -- tasks

    def put_tasks(self, tasks: Sequence[NewTask]) -> int:
        """Add tasks in their order; how many were new. One that exists keeps what it has.

        Raises ConflictError when it exists for another item or box; nothing is added then.
        """

    def task(self, task: str) -> Task:
        """One task."""

    def tasks(
        self,
        campaign: str,
        *,
        state: TaskState | None = None,
        ids: Sequence[str] | None = None,
        after: int = -1,
        limit: int | None = None,
    ) -> tuple[Task, ...]:
        """Tasks by place, beginning behind place `after`."""

    def settle(self, task: str, *, basis: Sequence[str], disagreement: float) -> Task:
        """Close a full task whose counted submissions `basis` were compared: ``done``, or ``disputed`` above its threshold.

        Changes nothing when the task is not full, or when `basis` is not what counts now.
        """

    # -- leases

    def claim(self, campaign: str, rater: str, *, ttl: float) -> Assignment | None:
        """A task under a lease for `ttl` seconds, or None when there is nothing for this rater now.

        In this order: the active lease the rater has; one that expired or was released, where a place is still free; a repeat
        that is due; the next task by (places taken, place) that has a free place and that this rater never had. Overdue
        leases of the campaign expire first. Two claims never take one place.
        Raises Forbidden for a revoked rater.
        """

    def claims(
        self, campaign: str, raters: Sequence[str], *, ttl: float
    ) -> tuple[Assignment | AlframeError | None, ...]:
        """What :meth:`claim` gives each of several raters, or would raise for it, in their order and in one transaction."""

    def assignments(self, leases: Sequence[str]) -> tuple[Assignment, ...]:
        """Each lease with its task, its draft, and its rater's latest submission on it, all of one moment."""

    def lease(self, lease: str) -> Lease:
        """One lease."""

    def leases(self, task: str, rater: str) -> tuple[Lease, ...]:
        """What a rater has or had on a task: its lease, and that of the repeat, if any."""

    def heartbeat(self, lease: str, rater: str, *, ttl: float) -> Lease:
        """Extend an active lease. Raises LeaseLost when it is not active, Forbidden when it is another rater's."""

    def release(self, lease: str, rater: str) -> Lease:
        """Give an active lease back; nothing happens to one that is not active. Raises Forbidden."""

    # -- drafts

    def save_draft(self, lease: str, rater: str, *, data: bytes, media_type: str, tag: str | None) -> Draft:
        """Replace the draft that has `tag` (None = there is none yet). The same data again is no change, whatever the tag.

        An expired or released lease still takes drafts. Raises DraftConflict on another tag, LeaseLost after a
        submission, Forbidden.
        """

    def draft(self, lease: str) -> Draft | None:
        """The draft of a lease; a submission removes it."""

    # -- submissions

    def submit(self, delivery: Delivery, *, repeat_gap: int) -> Receipt:
        """Store a submission for good, and apply :mod:`alframe.labelling.rules`. The same delivery again returns the first receipt.

        Where the task asks for a repeat, it becomes due for this rater after `repeat_gap` more submissions.
        Raises SubmissionConflict when its id has another content (the attempt is recorded as an event), or when it answers
        what this rater answered before without naming it in `supersedes`; Forbidden for another rater's lease.
        """

    def submissions(
        self, campaign: str, *, tasks: Sequence[str] | None = None, rater: str | None = None, limit: int | None = None
    ) -> tuple[Submission, ...]:
        """Submissions in the order they came; with `limit`, the latest ones."""

    def submission(self, submission: str) -> Submission:
        """One submission."""

    def efforts(self, campaign: str) -> tuple[Effort, ...]:
        """What each rater handed in, by name. Corrected submissions and skips are not in it."""

    def opinions(self, campaign: str) -> tuple[Opinion, ...]:
        """Masks on the tasks that several raters drew, in the order they came; without repeats, and without corrected ones."""

    def retired(self, campaign: str) -> Mapping[str, Submission]:
        """By item: the submission that called it unusable."""

    def progress(self, campaign: str) -> Progress:
        """How far the latest batch is."""

    # -- audit

    def note(self, *, campaign: str, actor: str, action: str, object: str, payload: Mapping[str, Any]) -> Event:
        """Append an event of somebody's own (a bridge's, a server's)."""

    def events(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        campaign: str | None = None,
        actions: Sequence[str] | None = None,
    ) -> tuple[Event, ...]:
        """Events behind sequence `after`, in order (the first has 1); of one campaign, of some actions."""

    def head(self) -> Head:
        """The end of the chain, (0, "") before the first event."""

    # -- raters

    def enroll(self, name: str, *, scopes: frozenset[Scope], asserted: bool, actor: str) -> Rater:
        """Add a rater; one who exists gets these scopes, and is no longer revoked."""

    def raters(self) -> tuple[Rater, ...]:
        """All raters by name."""

    def revoke(self, name: str, *, actor: str) -> Rater:
        """Refuse all credentials of a rater from now on and give back what it holds. Submissions stay."""

    def issue(self, rater: str, *, sha256: str, kind: str, seconds: float | None, actor: str) -> None:
        """Keep the hash of a new secret of `kind` ``token``, ``invite`` or ``session`` for `seconds` (None = until revoked)."""

    def credentials(self, sha256s: Sequence[str]) -> tuple[Credential | Unauthenticated, ...]:
        """Who each token or session belongs to, or why nobody: it is unknown, used, expired or revoked."""

    def redeem(self, sha256: str, *, session_sha256: str, seconds: float) -> Credential:
        """Exchange an invite, once, for a session. Raises Unauthenticated when it is unknown, used, expired or revoked."""

    def withdraw(self, sha256: str) -> None:
        """Forget one credential (a sign-out). Idempotent."""

    def close(self) -> None:
        """Release connections. Idempotent. A ledger is a context manager that closes itself."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
