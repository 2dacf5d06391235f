"""Human labelling in SQL, in the database of the ledger: SQLite by default, PostgreSQL by URL.

Each method is one transaction (``BEGIN IMMEDIATE`` on SQLite, row locks on PostgreSQL) and writes its audit events with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from alframe.errors import AlframeError, NotFound
from alframe.labelling.errors import SubmissionConflict, Unauthenticated
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
from alframe.storage import (
    labelling_claims,
    labelling_leases,
    labelling_raters,
    labelling_submissions,
    labelling_summaries,
    migrations,
)
from alframe.storage.database import Database
from alframe.storage.labelling_events import Log, event_of, head
from alframe.storage.labelling_rows import (
    draft_of,
    lease_of,
    rater_of,
    select_leases,
    select_submissions,
    submission_of,
    task_of,
)
from alframe.storage.labelling_tables import drafts, events, leases, raters, submissions, tasks
from alframe.storage.labelling_tasks import progress, put_tasks, retired

__all__ = ["SqlLabelling"]

T = TypeVar("T")
_CHUNK = 500


class SqlLabelling:
    """Implements :class:`~alframe.labelling.ports.LabellingLedger`. Safe in threads and processes; close it when done.

    Raises:
        InvalidValue: for a URL that is neither SQLite in a file nor PostgreSQL.
        NotFound: when there is no ledger at `url` and `create` is False.
        ConflictError: when the database has another schema revision; says what to upgrade.
        StoreUnavailable: when the database cannot be reached, or lies on a network file system.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        revision = migrations.current(url)
        if revision is None and not create:
            raise NotFound("there is no ledger at this address; start a campaign to create one, or correct the address")
        migrations.check(revision or migrations.upgrade(url))
        self._database = Database(url)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def put_tasks(self, tasks: Sequence[NewTask]) -> int:
        """Add tasks; how many were new. Raises ConflictError, InvalidValue, NonFiniteError."""
        return self._write("put_tasks", lambda connection, log: put_tasks(connection, log, tasks)) if tasks else 0

    def task(self, task: str) -> Task:
        """One task. Raises NotFound."""
        return self._database.read(lambda connection: task_of(labelling_submissions.one_task(connection, task)))

    def tasks(
        self,
        campaign: str,
        *,
        state: TaskState | None = None,
        ids: Sequence[str] | None = None,
        after: int = -1,
        limit: int | None = None,
    ) -> tuple[Task, ...]:
        """Tasks by place."""
        chosen = select(tasks).where(tasks.c.campaign == campaign, tasks.c.place > after)
        if state is not None:
            chosen = chosen.where(tasks.c.state == state.value)
        if ids is None:
            return self._all(chosen.order_by(tasks.c.place).limit(limit), task_of)
        found = self._among(chosen, tasks.c.task, ids, task_of)
        return tuple(sorted(found, key=lambda task: task.place)[:limit])

    def settle(self, task: str, *, basis: Sequence[str], disagreement: float) -> Task:
        """Close a full task. Raises NotFound."""
        return self._write(
            "settle", lambda connection, log: labelling_submissions.settle(connection, log, task, basis, disagreement)
        )

    def retired(self, campaign: str) -> Mapping[str, Submission]:
        """By item: the submission that called it unusable."""
        return self._database.read(lambda connection: retired(connection, campaign))

    def progress(self, campaign: str) -> Progress:
        """How far the latest batch is."""
        return self._database.read(lambda connection: progress(connection, campaign))

    # -- leases and drafts ---------------------------------------------------------------------------------------------

    def claim(self, campaign: str, rater: str, *, ttl: float) -> Assignment | None:
        """A task under a lease, or None. Raises Forbidden, NotFound, InvalidValue."""
        (given,) = self.claims(campaign, [rater], ttl=ttl)
        if isinstance(given, AlframeError):
            raise given
        return given

    def claims(
        self, campaign: str, raters: Sequence[str], *, ttl: float
    ) -> tuple[Assignment | AlframeError | None, ...]:
        """What :meth:`claim` gives each of several raters, or would raise for it, in one transaction. Raises InvalidValue."""
        return self._write(
            "claim", lambda connection, log: labelling_claims.claims(connection, log, campaign, raters, ttl)
        )

    def assignments(self, leases: Sequence[str]) -> tuple[Assignment, ...]:
        """Leases with their tasks, drafts and latest submissions, in one snapshot. Raises NotFound."""
        return self._database.read(lambda connection: labelling_claims.assignments(connection, leases))

    def lease(self, lease: str) -> Lease:
        """One lease. Raises NotFound."""
        return self._database.read(lambda connection: lease_of(labelling_leases.one_lease(connection, lease)))

    def leases(self, task: str, rater: str) -> tuple[Lease, ...]:
        """What a rater has or had on a task."""
        mine = select_leases().where(leases.c.task == task, leases.c.rater == rater)
        return self._all(mine.order_by(leases.c.repeat), lease_of)

    def heartbeat(self, lease: str, rater: str, *, ttl: float) -> Lease:
        """Extend an active lease. Raises LeaseLost, Forbidden, NotFound, InvalidValue."""
        return self._write(
            "heartbeat", lambda connection, log: labelling_leases.heartbeat(connection, lease, rater, ttl)
        )

    def release(self, lease: str, rater: str) -> Lease:
        """Give an active lease back. Raises Forbidden, NotFound."""
        return self._write("release", lambda connection, log: labelling_leases.release(connection, log, lease, rater))

    def save_draft(self, lease: str, rater: str, *, data: bytes, media_type: str, tag: str | None) -> Draft:
        """Replace the draft that has `tag`. Raises DraftConflict, LeaseLost, Forbidden, NotFound."""
        return self._write(
            "save_draft",
            lambda connection, log: labelling_leases.save_draft(connection, lease, rater, data, media_type, tag),
        )

    def draft(self, lease: str) -> Draft | None:
        """The draft of a lease."""
        found = self._all(select(drafts).where(drafts.c.lease == lease), draft_of)
        return found[0] if found else None

    # -- submissions ---------------------------------------------------------------------------------------------------

    def submit(self, delivery: Delivery, *, repeat_gap: int) -> Receipt:
        """Store a submission. Raises SubmissionConflict (recorded), ConflictError, Forbidden, NotFound, InvalidValue."""
        result = self._write(
            "submit", lambda connection, log: labelling_submissions.submit(connection, log, delivery, repeat_gap)
        )
        if isinstance(result, str):
            raise SubmissionConflict(result)
        return result

    def submissions(
        self, campaign: str, *, tasks: Sequence[str] | None = None, rater: str | None = None, limit: int | None = None
    ) -> tuple[Submission, ...]:
        """Submissions in the order they came; with `limit`, the latest ones."""
        chosen = select_submissions().where(submissions.c.campaign == campaign)
        if rater is not None:
            chosen = chosen.where(submissions.c.rater == rater)
        newest = submissions.c.sequence.desc()
        if tasks is None:
            found = list(self._all(chosen.order_by(newest).limit(limit), _with_sequence))
        else:
            found = self._among(chosen, submissions.c.task, tasks, _with_sequence)
        ordered = sorted(found, key=lambda pair: pair[0])
        return tuple(one for _, one in (ordered if limit is None else ordered[-limit:] if limit else []))

    def submission(self, submission: str) -> Submission:
        """One submission. Raises NotFound."""
        found = self._database.read(lambda connection: labelling_submissions.one_submission(connection, submission))
        if found is None:
            raise NotFound(f"no submission {submission[:40]!r}")
        return found

    def efforts(self, campaign: str) -> tuple[Effort, ...]:
        """What each rater handed in, by name."""
        return self._database.read(lambda connection: labelling_summaries.efforts(connection, campaign))

    def opinions(self, campaign: str) -> tuple[Opinion, ...]:
        """Masks on the tasks that several raters drew, in the order they came."""
        return self._database.read(lambda connection: labelling_summaries.opinions(connection, campaign))

    # -- audit ---------------------------------------------------------------------------------------------------------

    def note(self, *, campaign: str, actor: str, action: str, object: str, payload: Mapping[str, Any]) -> Event:
        """Append an event of somebody's own."""

        def work(connection: Connection, log: Log) -> Event:
            log.add(campaign, actor, action, object, payload)
            return log.flush()[0]

        return self._write("note", work)

    def events(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        campaign: str | None = None,
        actions: Sequence[str] | None = None,
    ) -> tuple[Event, ...]:
        """Events behind `after`, in order."""
        chosen = select(events).where(events.c.sequence > after)
        if campaign is not None:
            chosen = chosen.where(events.c.campaign == campaign)
        if actions is not None:
            chosen = chosen.where(events.c.action.in_(list(actions)))
        return self._all(chosen.order_by(events.c.sequence).limit(limit), event_of)

    def head(self) -> Head:
        """The end of the chain."""
        return self._database.read(head)

    # -- raters --------------------------------------------------------------------------------------------------------

    def enroll(self, name: str, *, scopes: frozenset[Scope], asserted: bool, actor: str) -> Rater:
        """Add a rater, or change one."""
        return self._write(
            "enroll", lambda connection, log: labelling_raters.enroll(connection, log, name, scopes, asserted, actor)
        )

    def raters(self) -> tuple[Rater, ...]:
        """All raters by name."""
        return self._all(select(raters).order_by(raters.c.rater), rater_of)

    def revoke(self, name: str, *, actor: str) -> Rater:
        """Refuse a rater from now on. Raises NotFound."""
        return self._write("revoke", lambda connection, log: labelling_raters.revoke(connection, log, name, actor))

    def issue(self, rater: str, *, sha256: str, kind: str, seconds: float | None, actor: str) -> None:
        """Keep the hash of a new secret. Raises NotFound, Unauthenticated for a revoked rater."""
        self._write(
            "issue",
            lambda connection, log: labelling_raters.issue(connection, log, rater, sha256, kind, seconds, actor),
        )

    def credentials(self, sha256s: Sequence[str]) -> tuple[Credential | Unauthenticated, ...]:
        """Who secrets belong to."""
        return self._database.read(lambda connection: labelling_raters.authenticate(connection, sha256s))

    def redeem(self, sha256: str, *, session_sha256: str, seconds: float) -> Credential:
        """Exchange an invite for a session. Raises Unauthenticated."""
        return self._write(
            "redeem",
            lambda connection, log: labelling_raters.redeem(connection, log, sha256, session_sha256, seconds),
        )

    def withdraw(self, sha256: str) -> None:
        """Forget a credential. Idempotent."""
        self._write("withdraw", lambda connection, log: labelling_raters.withdraw(connection, log, sha256))

    # -- transactions --------------------------------------------------------------------------------------------------

    def _write(self, method: str, work: Callable[[Connection, Log], T]) -> T:
        return self._database.write(f"labelling.{method}", lambda connection: work(connection, Log(connection)))

    def _all(self, chosen: Select[Any], make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        return self._database.read(lambda connection: tuple(make(row) for row in connection.execute(chosen)))

    def _among(
        self, chosen: Select[Any], column: ColumnElement[str], ids: Sequence[str], make: Callable[[Row[Any]], T]
    ) -> list[T]:
        """Rows whose `column` is one of `ids`, asked for in parts that a database takes."""
        parts = [list(ids[k : k + _CHUNK]) for k in range(0, len(ids), _CHUNK)]

        def work(connection: Connection) -> list[T]:
            return [make(row) for part in parts for row in connection.execute(chosen.where(column.in_(part)))]

        return self._database.read(work) if parts else []


def _with_sequence(row: Row[Any]) -> tuple[int, Submission]:
    return row.sequence, submission_of(row)
