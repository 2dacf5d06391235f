"""What lies in another tool becomes submissions: once each, edits supersede, deletions and refusals are recorded.

A bridge goes over all that its tool holds and offers each piece of work by its *source* (a file, an annotation) and *version* (a
hash, a time of change). The ledger alone remembers what was taken: a submission's `client` reads ``tool source version``, and
its id is derived from that and from what it supersedes. So a pass that was killed, repeated or run twice at once changes nothing.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alframe.errors import ConflictError, DataError, InvalidValue
from alframe.labelling.consensus import outcome_of
from alframe.labelling.desk import LabellingDesk
from alframe.labelling.errors import Forbidden, Unauthenticated
from alframe.labelling.ports import LabellingLedger
from alframe.labelling.roster import Roster
from alframe.labelling.values import Credential, Standing, Submission, Task, Work, canonical
from alframe.types import LabelMap, Outcome

__all__ = ["Intake", "Refusal", "Said", "refusals"]

_REFUSED, _CLEARED, _DELETED, _RESTORED = "bridge.refused", "bridge.cleared", "bridge.deleted", "bridge.restored"
_READ = "bridge.read"
_ACTIONS = (_REFUSED, _CLEARED, _DELETED, _RESTORED, _READ)
_NAMESPACE = uuid.UUID("6f0cfe0e-8a7b-5d0f-9a8d-1c8b0a6f7c11")
_ADDRESS = re.compile(r"^submission \S+ to task \S+: ")
"""What the desk begins its errors with; the author of a file knows nothing of ids."""
_ILL = (InvalidValue, DataError, ConflictError, Forbidden, Unauthenticated)
"""What is wrong with the work or the rater. That the database is away is not among them: the pass ends there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What somebody said in another tool. `labels` goes with the outcomes that carry one; `seconds` when the tool knows them."""

    outcome: Outcome
    labels: LabelMap | None = None
    reason: str = ""
    seconds: float | None = None

    @classmethod
    def drawn(cls, labels: LabelMap, *, reason: str = "", seconds: float | None = None) -> Said:
        """What the drawing itself says: something, nothing, or (when all is left open) that it cannot be told."""
        outcome = outcome_of(labels)
        kept = labels if outcome.carries_label else None
        return cls(outcome=outcome, labels=kept, reason=reason, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Work in another tool that could not be taken, and why, in words for its author."""

    tool: str
    source: str
    version: str
    problem: str


def refusals(ledger: LabellingLedger, campaign: str) -> tuple[Refusal, ...]:
    """What bridges of a campaign could not take, and nobody has repaired since."""
    found: dict[tuple[str, str], Refusal] = {}
    for event in ledger.events(campaign=campaign, actions=(_REFUSED, _CLEARED)):
        key = (str(event.payload["tool"]), event.object)
        found.pop(key, None)
        if event.action == _REFUSED:
            version, problem = str(event.payload["version"]), str(event.payload["problem"])
            found[key] = Refusal(tool=key[0], source=event.object, version=version, problem=problem)
    return tuple(found.values())


class Intake:
    """One pass over a tool: :meth:`offer` or :meth:`refuse` each piece of work, then :meth:`finish`. Not safe for threads."""

    def __init__(self, desk: LabellingDesk, campaign: str, tool: str) -> None:
        self._desk, self._campaign, self._tool = desk, campaign, tool
        self._roster = Roster(desk.ledger, actor=tool)
        self._known: dict[str, Credential] = {}
        self.tasks: dict[str, Task] = {task.id: task for task in desk.ledger.tasks(campaign)}
        self._standing: dict[tuple[str, str], Submission] = {}
        self._taken: dict[tuple[str, str], str] = {}
        self._of_source: dict[str, Submission] = {}
        for one in desk.ledger.submissions(campaign):
            if not one.repeat and one.standing is not Standing.ADJUDICATION:
                self._remember(one)
        own = [one for one in desk.ledger.events(campaign=campaign, actions=_ACTIONS) if one.payload["tool"] == tool]
        self.mark = ""
        self._gone: set[str] = set()
        for event in own:
            if event.action == _READ:
                self.mark = event.object
            elif event.action in (_DELETED, _RESTORED):
                change = self._gone.add if event.action == _DELETED else self._gone.discard
                change(event.object)
        self._open = {one.source: one for one in refusals(desk.ledger, campaign) if one.tool == tool}
        self._present: set[str] = set()
        self._unread: set[str] = set()
        self._problems: dict[str, str] = {}

    def _remember(self, one: Submission) -> None:
        key = (one.task, one.rater)
        if one.current:
            self._standing[key] = one
        tool, _, rest = one.client.partition(" ")
        if tool == self._tool and " " in rest:
            self._taken[key] = one.client
            self._of_source[rest.rpartition(" ")[0]] = one

    @property
    def problems(self) -> dict[str, str]:
        """What was refused in this pass, by source."""
        return dict(self._problems)

    def known(self, task: str) -> tuple[str, ...]:
        """The sources of a task of which some version was taken before, and that were not gone at the last look."""
        return tuple(s for s, one in self._of_source.items() if one.task == task and one.id not in self._gone)

    def seen(self, source: str) -> None:
        """`source` is there but cannot be looked at now: it is neither deleted nor repaired."""
        self._present.add(source)
        self._unread.add(source)

    def offer(
        self, *, task: Task, rater: str, source: str, version: str, read: Callable[[], Said], shown: bool = False
    ) -> bool:
        """Hand in what `read` returns, unless this `version` of `source` was taken before; False when it was refused.

        `shown`: the rater could see the task's pre-fill. `read` may raise InvalidValue or DataError to refuse.
        """
        self._present.add(source)
        client = f"{self._tool} {source} {version}"
        try:
            if self._taken.get((task.id, rater)) != client:
                self._hand_in(task, rater, client, read, shown)
        except _ILL as error:
            self.refuse(source, version, _ADDRESS.sub("", str(error)))
            return False
        return True

    def _hand_in(self, task: Task, rater: str, client: str, read: Callable[[], Said], shown: bool) -> None:
        if task.raters and rater not in task.raters:
            raise InvalidValue(f"this task is for {', '.join(task.raters)}, not for {rater}")
        said, stands = read(), self._standing.get((task.id, rater))
        if stands is not None and self._equal(stands, said):
            return
        who = self._credential(rater)
        supersedes = None if stands is None else stands.id
        name = canonical([self._campaign, task.id, rater, client, supersedes]).decode()
        prefill = self._desk.prefill(task) if shown else None
        changed = None
        if prefill is not None and said.labels is not None:
            changed = int(np.count_nonzero(said.labels.classes != prefill["classes"]))
        work = Work(
            id=str(uuid.uuid5(_NAMESPACE, name)),
            outcome=said.outcome,
            labels=said.labels,
            reason=said.reason,
            prefill_shown=prefill is not None,
            prefill_sha256=task.prefill.sha256 if prefill is not None and task.prefill is not None else "",
            pixels_changed=changed,
            active_ms=None if said.seconds is None else round(1000 * said.seconds),
            client=client,
            supersedes=supersedes,
        )
        self._remember(self._desk.deliver(who, task.id, work).submission)

    def _credential(self, rater: str) -> Credential:
        if rater not in self._known:
            self._known[rater] = self._roster.asserted(rater)
        return self._known[rater]

    def _equal(self, stands: Submission, said: Said) -> bool:
        """Whether the tool only wrote the same work again."""
        if (stands.outcome, stands.reason) != (said.outcome, said.reason):
            return False
        drawn = self._desk.labels(stands)
        if drawn is None or said.labels is None:
            return drawn is said.labels
        same = np.array_equal(drawn.classes, said.labels.classes)
        one, other = drawn.instances, said.labels.instances
        if one is None or other is None:
            return same and one is other
        return same and np.array_equal(one, other)

    def refuse(self, source: str, version: str, problem: str) -> None:
        """Record that what lies at `source` cannot be taken; the same problem of the same version is recorded once."""
        self._present.add(source)
        self._problems[source] = problem
        known = self._open.get(source)
        if known is None or (known.version, known.problem) != (version, problem):
            self._note(_REFUSED, source, {"version": version, "problem": problem})

    def finish(self, *, mark: str = "") -> None:
        """Record what was repaired, what is gone from the tool, and what came back. Only after all sources were gone over.

        `mark` is the bridge's own sign of how far it has read; the next pass finds the latest one as :attr:`mark`.
        """
        for source in self._open.keys() - self._problems.keys() - self._unread:
            self._note(_CLEARED, source, {})
        for source, one in self._of_source.items():
            facts = {"source": source, "task": one.task, "rater": one.rater}
            if source not in self._present and one.id not in self._gone:
                self._note(_DELETED, one.id, facts)
            elif source in self._present and one.id in self._gone:
                self._note(_RESTORED, one.id, facts)
        if mark not in ("", self.mark):
            self._note(_READ, mark, {})

    def _note(self, action: str, object: str, payload: dict[str, Any]) -> None:
        actor = Credential(rater=self._tool, kind="asserted")
        self._desk.note(actor, action, object, {"tool": self._tool, **payload}, campaign=self._campaign)
