"""Leases and submissions in any order, against a model that only knows sets of names."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alframe.errors import InvalidValue
from alframe.labelling import LabellingDesk, LeaseLost, LeaseState, Receipt, SubmissionConflict, verify
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.contracts.labelling import CAMPAIGN, drawing, sample_tasks
from alframe.testing.desks import enrolled, work_of
from alframe.types import Outcome

NAMES = ("anna", "bo", "cy")
SAID = (Outcome.LABELED, Outcome.AMBIGUOUS, Outcome.SKIPPED, Outcome.UNUSABLE)


@dataclass
class Question:
    """A task as the model sees it. A rater is in at most one of `holders`, `counted`, `extras`, `passed`, `left`."""

    replicas: int
    skips: int
    holders: list[str] = field(default_factory=list)  # with an active lease, or one that ran out unnoticed
    overdue: set[str] = field(default_factory=set)
    counted: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)  # expired or released
    unusable: set[str] = field(default_factory=set)  # who says so now
    closed: str = ""

    @property
    def places(self) -> int:
        return self.replicas - len(self.holders) - len(self.counted)

    def leave(self, name: str) -> None:
        self.holders.remove(name)
        self.overdue.discard(name)
        self.move_in()

    def move_in(self) -> None:
        """Extras take free places; then a task that nobody wants closes."""
        while not self.closed and self.places > 0 and self.extras:
            self.counted.append(self.extras.pop(0))
            if len(self.counted) == self.replicas:
                self.closed = "done"
        heard = len(self.counted) + len(self.passed) >= self.replicas
        fresh = set(NAMES) - set(self.counted) - set(self.extras) - self.passed
        if (
            not self.closed
            and self.passed
            and heard
            and not self.holders
            and (len(self.passed) >= self.skips or not fresh)
        ):
            self.closed = "done"


class Protocol(RuleBasedStateMachine):
    @initialize(
        sizes=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3)), min_size=1, max_size=3),
    )
    def begin(self, sizes: list[tuple[int, int]]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="alframe-protocol-")
        root = Path(self.folder.name)
        self.ledger = SqlLabelling(f"sqlite:///{root}/ledger.db")
        self.desk = LabellingDesk(self.ledger, FileArtifacts(root / "masks"), repeat_gap=0)
        self.brief = LabellingDesk(self.ledger, self.desk.artifacts, lease_seconds=0)
        self.who = dict(zip(NAMES, enrolled(self.desk, *NAMES), strict=True))
        asked = [t for k, (r, s) in enumerate(sizes) for t in sample_tasks(1, first=2 * k, replicas=r, skips=s)]
        self.desk.ask(asked)  # every task has an item of its own
        self.model = {t.id: Question(replicas=t.replicas, skips=t.skips) for t in asked}
        self.lease: dict[tuple[str, str], str] = {}
        self.receipts: dict[tuple[str, str], Receipt] = {}
        self.accepted: list[str] = []
        self.work: dict[str, object] = {}

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            assert verify(self.ledger, self.desk.artifacts).problems == ()
            self.ledger.close()
            self.folder.cleanup()

    # -- what may happen

    @rule(name=st.sampled_from(NAMES))
    def claim(self, name: str) -> None:
        for question in self.model.values():
            for gone in [holder for holder in question.holders if holder in question.overdue]:
                question.leave(gone)
                question.left.add(gone)
        held = [task for task, question in self.model.items() if name in question.holders]
        free = {task for task, question in self.model.items() if not question.closed and question.places > 0}
        back = {task for task in free if name in self.model[task].left}
        unseen = {
            task
            for task in free - back
            if name not in (*self.model[task].counted, *self.model[task].extras, *self.model[task].passed)
        }
        allowed = set(held) or back or unseen
        given = self.desk.claim(self.who[name], CAMPAIGN)
        assert (given is None) == (not allowed)
        if given is None:
            return
        task = given.task.id
        assert task in allowed
        assert given.lease.state is LeaseState.ACTIVE
        assert self.lease.setdefault((name, task), given.lease.id) == given.lease.id  # one lease for good
        if not held:
            self.model[task].holders.append(name)
            self.model[task].left.discard(name)

    def mine(self) -> list[tuple[str, str]]:
        return sorted(self.lease) if hasattr(self, "lease") else []

    @precondition(lambda self: self.mine())
    @rule(data=st.data())
    def run_out(self, data: st.DataObject) -> None:
        name, task = data.draw(st.sampled_from(self.mine()))
        question = self.model[task]
        alive = name in question.holders and name not in question.overdue
        try:
            self.brief.heartbeat(self.who[name], self.lease[name, task])
            assert alive
            question.overdue.add(name)
        except LeaseLost:
            assert not alive

    @precondition(lambda self: self.mine())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name, task = data.draw(st.sampled_from(self.mine()))
        question = self.model[task]
        self.desk.release(self.who[name], self.lease[name, task])
        if name in question.holders:
            question.leave(name)
            question.left.add(name)

    @precondition(lambda self: self.mine())
    @rule(data=st.data(), outcome=st.sampled_from(SAID), correct=st.booleans())
    def submit(self, data: st.DataObject, outcome: Outcome, correct: bool) -> None:
        name, task = data.draw(st.sampled_from(self.mine()))
        self.send(name, task, outcome, correct, self.lease[name, task])

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 2), correct=st.booleans())
    def deliver(self, name: str, number: int, correct: bool) -> None:
        task = sorted(self.model)[number % len(self.model)]
        self.send(name, task, Outcome.LABELED, correct, None)
        found = self.ledger.submissions(CAMPAIGN, tasks=[task], rater=name)
        if found and (name, task) not in self.lease:
            given = self.desk.assignment(self.who[name], self.seat(name, task))
            self.lease[name, task] = given.lease.id

    def seat(self, name: str, task: str) -> str:
        """The lease that a delivery without one got, read where the ledger keeps it."""
        from sqlalchemy import create_engine, text

        made = create_engine(f"sqlite:///{self.folder.name}/ledger.db")
        with made.connect() as connection:
            query = text("SELECT lease FROM leases WHERE task = :task AND rater = :rater AND repeat = 0")
            found = connection.execute(query, {"task": task, "rater": name}).scalar_one()
        made.dispose()
        return str(found)

    def send(self, name: str, task: str, outcome: Outcome, correct: bool, lease: str | None) -> None:
        question, before = self.model[task], self.receipts.get((name, task))
        labels = drawing(1 + len(self.accepted) % 2) if outcome is Outcome.LABELED else None
        work = work_of(labels, outcome, supersedes=before.submission.id if before and correct else None)

        def hand_in() -> Receipt:
            if lease is None:
                return self.desk.deliver(self.who[name], task, work)
            return self.desk.submit(self.who[name], lease, work)

        if name in question.overdue:
            question.leave(name)
            question.left.add(name)
        try:
            receipt = hand_in()
        except SubmissionConflict:
            assert before
            assert not correct
            return self.restore(name, question)
        except InvalidValue:
            assert outcome is Outcome.SKIPPED
            assert before
            assert before.submission.outcome is not Outcome.SKIPPED
            return self.restore(name, question)
        assert receipt.created
        assert correct or not before
        again = hand_in()
        assert (again.created, again.submission.id) == (False, receipt.submission.id)
        self.expect(name, question, outcome, receipt)
        self.receipts[name, task] = receipt
        self.accepted.append(work.id)
        return None

    def restore(self, name: str, question: Question) -> None:
        """A refused submission changed nothing; nobody who answered holds a place, so there is nothing to undo."""
        assert name not in question.holders

    def expect(self, name: str, question: Question, outcome: Outcome, receipt: Receipt) -> None:
        standing = receipt.submission.standing.value
        held, first = name in question.holders, name not in question.left
        question.left.discard(name)
        if outcome is Outcome.SKIPPED:
            assert standing == "skip"
            question.passed.add(name)
            if held:
                question.leave(name)
            question.move_in()
            return
        question.passed.discard(name)
        retires = outcome is Outcome.UNUSABLE and (question.closed != "done" or name in question.counted)
        takes_back = name in question.unusable and outcome is not Outcome.UNUSABLE
        question.unusable.discard(name)
        if outcome is Outcome.UNUSABLE:
            question.unusable.add(name)
        if name in question.counted:
            assert standing in ("on_time", "late", "extra")
        elif held and not question.closed:
            assert standing == "on_time"
            question.holders.remove(name)
            question.counted.append(name)
        elif not held and not question.closed and question.places > 0:
            assert standing in (("on_time", "late") if first else ("late",))
            question.counted.append(name)
        else:
            assert standing == "extra"
            if held:
                question.holders.remove(name)
            if name not in question.extras:
                question.extras.append(name)
        if retires:
            question.closed = "retired"
        elif question.closed == "retired" and takes_back and not question.unusable:
            question.closed = ""
        if len(question.counted) == question.replicas and not question.closed:
            question.closed = "done"
        question.move_in()

    # -- what must hold

    @invariant()
    def the_ledger_agrees_with_the_model(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for task in self.ledger.tasks(CAMPAIGN):
            question = self.model[task.id]
            state = "done" if task.state == "full" else task.state.value  # compared when somebody submits or collects
            assert state == (question.closed or "open")
            assert (task.counted, task.skipped) == (len(question.counted), len(question.passed))
            assert task.taken == len(question.holders) + len(question.counted)
            counts = {one.rater for one in self.ledger.submissions(CAMPAIGN, tasks=[task.id]) if one.counts}
            assert counts == set(question.counted)
        assert [one.id for one in self.ledger.submissions(CAMPAIGN)] == self.accepted  # none lost, none invented


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=25, stateful_step_count=25)
