"""What every :class:`alframe.labelling.LabellingLedger` must do. Subclass and give :meth:`LabellingContract.open_labelling`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alframe.errors import ConflictError, InvalidValue, NonFiniteError, NotFound
from alframe.labelling import (
    Credential,
    DraftConflict,
    Forbidden,
    Head,
    LabellingDesk,
    LabellingLedger,
    LeaseLost,
    LeaseState,
    NewTask,
    Roster,
    Scope,
    Standing,
    SubmissionConflict,
    TaskState,
    Unauthenticated,
    answers,
    verify,
)
from alframe.testing.desks import enrolled, work_of
from alframe.types import ArtifactRef, Box, LabelMap, Outcome

__all__ = ["CAMPAIGN", "LabellingContract", "drawing", "sample_tasks"]

OpenLabelling = Callable[[], LabellingLedger]
CAMPAIGN = "glands"
CLASSES = ("background", "Drüse", "tumour")


def sample_tasks(
    count: int, *, first: int = 0, axes: int = 2, campaign: str = CAMPAIGN, **fields: object
) -> list[NewTask]:
    """Tasks of 4 pixels on each side, two to an item."""
    tasks = []
    for number in range(first, first + count):
        at = (4 * (number % 2),) * axes
        box = Box(start=at, stop=tuple(a + 4 for a in at))
        plain = NewTask(
            id=f"{campaign}-{number}", campaign=campaign, item=f"Größe {number // 2}", box=box, classes=CLASSES
        )
        tasks.append(replace(plain, score=1 / (number + 3), **fields))  # type: ignore[arg-type]
    return tasks


def drawing(value: int = 1, rows: int = 2, axes: int = 2) -> LabelMap:
    """A box of 4 on each side whose first `rows` have class `value`."""
    classes = np.zeros((4,) * axes, np.uint8)
    classes[:rows] = value
    return LabelMap(classes=classes)


class LabellingContract:
    """The promises of the port, seen from the desk. `open_labelling` opens the same (at first empty) ledger each time."""

    @pytest.fixture
    def open_labelling(self) -> OpenLabelling:
        raise NotImplementedError("give the contract a function that opens the labelling tables")

    @pytest.fixture
    def ledger(self, open_labelling: OpenLabelling) -> LabellingLedger:
        return open_labelling()

    @pytest.fixture
    def desk(self, ledger: LabellingLedger, tmp_path: Path) -> LabellingDesk:
        from alframe.storage import FileArtifacts

        return LabellingDesk(ledger, FileArtifacts(tmp_path / "masks"), repeat_gap=2)

    @pytest.fixture
    def raters(self, desk: LabellingDesk) -> list[Credential]:
        return enrolled(desk, "anna", "bo", "Cy, MD")

    @pytest.fixture
    def reviewer(self, desk: LabellingDesk) -> Credential:
        return enrolled(desk, "reviewer", scopes=(Scope.REVIEW,))[0]

    def brief(self, desk: LabellingDesk) -> LabellingDesk:
        """The same desk, with leases that are over at once."""
        return LabellingDesk(desk.ledger, desk.artifacts, lease_seconds=0, repeat_gap=desk.repeat_gap)

    def sound(self, desk: LabellingDesk) -> None:
        """Everything that happened is in the audit, in order."""
        assert verify(desk.ledger, desk.artifacts).problems == ()

    # -- tasks

    @pytest.mark.parametrize("axes", [2, 3])
    def test_tasks_come_back_as_they_were_put_up(self, desk: LabellingDesk, axes: int) -> None:
        prefill = ArtifactRef(kind="prefill", sha256="ab" * 32, size=7)
        asked = sample_tasks(3, axes=axes, raters=("anna", "bo"), replicas=2, blind=True, repeat=True, prefill=prefill)
        assert desk.ask(asked) == 3
        found = desk.ledger.tasks(CAMPAIGN)
        same = list(NewTask.__dataclass_fields__)
        assert [[getattr(t, name) for name in same] for t in found] == [
            [getattr(t, name) for name in same] for t in asked
        ]
        assert [(t.batch, t.place, t.state, t.taken, t.counted) for t in found] == [
            (0, k, "open", 0, 0) for k in range(3)
        ]
        assert desk.ledger.task(asked[1].id) == found[1]
        assert desk.ledger.tasks(CAMPAIGN, after=0, limit=1) == found[1:2]
        assert desk.ledger.tasks(CAMPAIGN, ids=[asked[2].id, "none"]) == found[2:]
        assert desk.ledger.tasks(CAMPAIGN, ids=[]) == ()
        assert desk.ledger.tasks("other") == ()
        with pytest.raises(NotFound, match="no task"):
            desk.ledger.task("none")

    def test_asking_again_adds_only_what_is_new(self, desk: LabellingDesk) -> None:
        first, more = sample_tasks(2), sample_tasks(4)
        assert (desk.ask(first), desk.ask(first), desk.ask(more), desk.ask([])) == (2, 0, 2, 0)
        found = desk.ledger.tasks(CAMPAIGN)
        assert [(t.id, t.batch, t.place) for t in found] == [(t.id, k // 2, k) for k, t in enumerate(more)]
        other_score = [replace(first[0], score=9.0, blind=True)]
        assert desk.ask(other_score) == 0
        assert desk.ledger.task(first[0].id).score == first[0].score

    def test_another_question_under_one_id_is_a_conflict(self, desk: LabellingDesk) -> None:
        (task,) = sample_tasks(1)
        desk.ask([task])
        for other in (
            replace(task, item="x"),
            replace(task, campaign="x"),
            replace(task, box=Box(start=(0, 0), stop=(1, 1))),
        ):
            with pytest.raises(ConflictError, match="asks about"):
                desk.ask([*sample_tasks(1, first=7), other])
        assert len(desk.ledger.tasks(CAMPAIGN)) == 1
        with pytest.raises(NonFiniteError):
            desk.ask([replace(task, id="nan", score=float("nan"))])

    # -- leases

    def test_each_rater_gets_a_task_of_its_own_and_keeps_it(
        self, desk: LabellingDesk, raters: list[Credential]
    ) -> None:
        desk.ask(sample_tasks(2))
        first = [desk.claim(who, CAMPAIGN) for who in raters]
        again = [desk.claim(who, CAMPAIGN) for who in raters]
        assert [a and a.task.place for a in first] == [0, 1, None]
        assert [a and (a.lease.id, a.task.id) for a in again] == [a and (a.lease.id, a.task.id) for a in first]
        assert first[0] is not None
        assert first[0].lease.seconds_left == pytest.approx(1200, abs=60)
        assert first[0].lease.rater == "anna"

    def test_replicas_are_asked_of_different_raters(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(1, replicas=2))
        taken = [desk.claim(who, CAMPAIGN) is not None for who in raters]
        assert taken == [True, True, False]
        task = desk.ledger.tasks(CAMPAIGN)[0]
        assert (task.taken, task.counted) == (2, 0)

    def test_untouched_tasks_come_first(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(2, replicas=2))
        places = [[self.done(desk, who).task.place for _ in range(2)] for who in raters[:2]]
        assert places == [[0, 1], [0, 1]]
        assert desk.claim(raters[2], CAMPAIGN) is None

    def done(self, desk: LabellingDesk, who: Credential, labels: LabelMap | None = None, **more: object):  # type: ignore[no-untyped-def]
        """Claim and submit."""
        given = desk.claim(who, CAMPAIGN)
        assert given is not None
        return desk.submit(who, given.lease.id, work_of(labels or drawing(), **more))  # type: ignore[arg-type]

    def test_tasks_for_named_raters_are_theirs(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask([*sample_tasks(1, raters=("Cy, MD",)), *sample_tasks(1, first=1)])
        found = [desk.claim(who, CAMPAIGN) for who in raters]
        assert [a and a.task.place for a in found] == [1, None, 0]

    def test_a_lease_that_ran_out_is_free_and_comes_back_to_its_rater_first(
        self, desk: LabellingDesk, raters: list[Credential]
    ) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(2))
        gone = self.brief(desk).claim(anna, CAMPAIGN)
        assert gone is not None
        draft = desk.save_draft(anna, gone.lease.id, b"half", media_type="image/png", tag=None)
        assert desk.assignment(anna, gone.lease.id).lease.state is LeaseState.EXPIRED
        with pytest.raises(LeaseLost, match="expired"):
            desk.heartbeat(anna, gone.lease.id)
        other = desk.claim(bo, CAMPAIGN)
        assert other is not None
        assert other.task.id == gone.task.id  # the place was free
        desk.release(bo, other.lease.id)
        back = desk.claim(anna, CAMPAIGN)
        assert back is not None
        assert (back.lease.id, back.task.id, back.draft) == (gone.lease.id, gone.task.id, draft)
        desk.heartbeat(anna, back.lease.id)
        self.sound(desk)

    def test_giving_back_frees_the_place_once(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        assert desk.claim(bo, CAMPAIGN) is None
        for _ in range(2):
            assert desk.release(anna, held.lease.id).state is LeaseState.RELEASED
        assert desk.ledger.task(held.task.id).taken == 0
        assert desk.claim(bo, CAMPAIGN) is not None
        assert desk.claim(anna, CAMPAIGN) is None

    def test_another_raters_lease_is_out_of_reach(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        lease = held.lease.id
        for act in (desk.heartbeat, desk.release, desk.assignment, desk.draft):
            with pytest.raises(Forbidden):
                act(bo, lease)
            with pytest.raises(NotFound):
                act(bo, "none")
        with pytest.raises(Forbidden):
            desk.save_draft(bo, lease, b"", media_type="x/y", tag=None)
        with pytest.raises(Forbidden):
            desk.submit(bo, lease, work_of(drawing()))
        assert desk.ledger.submissions(CAMPAIGN) == ()

    # -- drafts

    def test_drafts_change_only_under_the_tag_they_were_read_with(
        self, desk: LabellingDesk, raters: list[Credential]
    ) -> None:
        anna = raters[0]
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        lease = held.lease.id

        def save(data: bytes, tag: str | None) -> str:
            return desk.save_draft(anna, lease, data, media_type="image/png", tag=tag).tag

        with pytest.raises(DraftConflict, match="none yet"):
            save(b"one", "7-abc")
        first = save(b"one", None)
        assert save(b"one", None) == first  # the answer was lost, the page tries again
        second = save(b"two\0", first)
        with pytest.raises(DraftConflict, match=second):
            save(b"three", first)
        with pytest.raises(DraftConflict):
            save(b"three", None)
        assert save(b"one", second) != first  # back to the first content, yet another state
        kept = desk.claim(anna, CAMPAIGN)
        assert kept is not None
        assert kept.draft is not None
        assert (kept.draft.data, kept.draft.media_type) == (b"one", "image/png")
        desk.submit(anna, lease, work_of(drawing()))
        assert desk.draft(anna, lease) is None
        with pytest.raises(LeaseLost, match="submitted"):
            save(b"more", None)

    # -- submissions

    def test_the_same_submission_again_is_the_same(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna = raters[0]
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        work = work_of(drawing(), reason="naïve; 'x'")
        first, again = (desk.submit(anna, held.lease.id, work) for _ in range(2))
        assert (first.created, again.created) == (True, False)
        assert again.submission == first.submission
        assert first.task.state is TaskState.DONE
        stored = desk.ledger.submission(work.id)
        assert stored == first.submission
        assert (stored.standing, stored.counts, stored.current, stored.rater) == (Standing.ON_TIME, True, True, "anna")
        assert (stored.active_ms, stored.reason, stored.client) == (1000, "naïve; 'x'", "script")
        labels = desk.labels(stored)
        assert labels is not None
        assert np.array_equal(labels.classes, drawing().classes)
        for other in (replace(work, labels=drawing(2)), replace(work, reason=""), replace(work, active_ms=2)):
            with pytest.raises(SubmissionConflict, match="another content"):
                desk.submit(anna, held.lease.id, other)
        assert desk.ledger.submissions(CAMPAIGN) == (stored,)
        refused = [
            event.payload["mask"]["sha256"] for event in desk.ledger.events() if event.action == "submission.refused"
        ]
        assert len(refused) == 3  # kept in the audit, masks included
        for sha256 in set(refused):
            desk.artifacts.get(ArtifactRef(kind="mask", sha256=sha256, size=self.size(desk, sha256)))
        self.sound(desk)

    def size(self, desk: LabellingDesk, sha256: str) -> int:
        """The size of a mask by its hash, from the audit."""
        return next(
            int(event.payload["mask"]["size"])
            for event in desk.ledger.events()
            if event.action.startswith("submission.") and event.payload["mask"]["sha256"] == sha256
        )

    def test_a_second_tab_cannot_answer_twice(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna = raters[0]
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        first = desk.submit(anna, held.lease.id, work_of(drawing())).submission
        with pytest.raises(SubmissionConflict, match=first.id):
            desk.submit(anna, held.lease.id, work_of(drawing(2)))
        with pytest.raises(SubmissionConflict):
            desk.submit(anna, held.lease.id, work_of(drawing(2), supersedes=str(uuid.uuid4())))
        assert [one.id for one in desk.ledger.submissions(CAMPAIGN)] == [first.id]

    def test_corrections_supersede_and_nothing_is_lost(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna = raters[0]
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        first = desk.submit(anna, held.lease.id, work_of(drawing())).submission
        second = desk.submit(anna, held.lease.id, work_of(drawing(2), supersedes=first.id)).submission
        assert (second.standing, second.counts, second.current) == (Standing.ON_TIME, True, True)
        with pytest.raises(SubmissionConflict, match=second.id):
            desk.submit(anna, held.lease.id, work_of(drawing(1, 1), supersedes=first.id))
        with pytest.raises(InvalidValue, match="skip"):
            desk.submit(anna, held.lease.id, work_of(None, Outcome.SKIPPED, supersedes=second.id))
        kept = desk.ledger.submissions(CAMPAIGN)
        assert [(one.id, one.current, one.counts) for one in kept] == [
            (first.id, False, False),
            (second.id, True, True),
        ]
        (answer,) = answers(desk, CAMPAIGN, {held.task.id: 1})
        assert answer.labels is not None
        assert np.array_equal(answer.labels.classes, drawing(2).classes)
        assert desk.assignment(anna, held.lease.id).submission == second
        self.sound(desk)

    def test_late_work_counts_where_it_is_still_wanted(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(1))
        gone = self.brief(desk).claim(anna, CAMPAIGN)
        assert gone is not None
        receipt = desk.submit(anna, gone.lease.id, work_of(drawing()))
        assert (receipt.submission.standing, receipt.submission.counts) == (Standing.LATE, True)
        assert receipt.task.state is TaskState.DONE
        assert desk.claim(bo, CAMPAIGN) is None

    def test_late_work_is_kept_where_another_took_over(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(1))
        gone = self.brief(desk).claim(anna, CAMPAIGN)
        heir = desk.claim(bo, CAMPAIGN)
        assert gone is not None
        assert heir is not None
        late = desk.submit(anna, gone.lease.id, work_of(drawing(2)))
        assert (late.submission.standing, late.submission.counts) == (Standing.EXTRA, False)
        assert late.task.state is TaskState.OPEN
        desk.submit(bo, heir.lease.id, work_of(drawing()))
        (answer,) = answers(desk, CAMPAIGN, {gone.task.id: 1})
        assert answer.rater == "bo"
        assert len(desk.ledger.submissions(CAMPAIGN)) == 2
        self.sound(desk)

    @pytest.mark.parametrize("way", ["release", "expire", "skip"])
    def test_extra_work_moves_in_when_a_place_becomes_free(
        self, desk: LabellingDesk, raters: list[Credential], way: str
    ) -> None:
        anna, bo, cy = raters
        desk.ask(sample_tasks(1))
        brief = self.brief(desk)
        gone = brief.claim(anna, CAMPAIGN)
        heir = desk.claim(bo, CAMPAIGN)
        assert gone is not None
        assert heir is not None
        desk.submit(anna, gone.lease.id, work_of(drawing(2)))
        if way == "release":
            desk.release(bo, heir.lease.id)
        elif way == "skip":
            desk.submit(bo, heir.lease.id, work_of(None, Outcome.SKIPPED))
        else:
            brief.heartbeat(bo, heir.lease.id)
        assert desk.claim(cy, CAMPAIGN) is None
        task = desk.ledger.task(gone.task.id)
        assert (task.state, task.taken, task.counted) == (TaskState.DONE, 1, 1)
        (answer,) = answers(desk, CAMPAIGN, {task.id: 1})
        assert answer.rater == "anna"
        if way != "skip":  # and the one who comes too late now is kept as well
            assert desk.submit(bo, heir.lease.id, work_of(drawing())).submission.standing is Standing.EXTRA
        self.sound(desk)

    def test_a_skip_goes_to_another_rater(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        skip = desk.submit(anna, held.lease.id, work_of(None, Outcome.SKIPPED, reason="not my field"))
        assert (skip.submission.standing, skip.task.state, skip.task.taken) == (Standing.SKIP, TaskState.OPEN, 0)
        assert desk.claim(anna, CAMPAIGN) is None
        assert answers(desk, CAMPAIGN, {held.task.id: 1}) == ()
        other = desk.claim(bo, CAMPAIGN)
        assert other is not None
        assert other.task.id == held.task.id
        desk.submit(bo, other.lease.id, work_of(drawing()))
        (answer,) = answers(desk, CAMPAIGN, {held.task.id: 1})
        assert answer.rater == "bo"

    def test_a_task_that_nobody_wants_is_given_up(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask([*sample_tasks(1, skips=2), *sample_tasks(1, first=1, skips=9)])
        states = []
        for who in raters:
            while (held := desk.claim(who, CAMPAIGN)) is not None:
                desk.submit(who, held.lease.id, work_of(None, Outcome.SKIPPED, reason="no"))
            states.append([task.state.value for task in desk.ledger.tasks(CAMPAIGN)])
        assert states == [["open", "open"], ["done", "open"], ["done", "done"]]
        found = answers(desk, CAMPAIGN, {task.id: 1 for task in desk.ledger.tasks(CAMPAIGN)})
        assert [(one.rater, one.outcome) for one in found] == [("bo", "skipped"), ("Cy, MD", "skipped")]

    def test_a_skip_can_be_taken_back(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna = raters[0]
        desk.ask(sample_tasks(1))
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        skip = desk.submit(anna, held.lease.id, work_of(None, Outcome.SKIPPED)).submission
        receipt = desk.submit(anna, held.lease.id, work_of(drawing(), supersedes=skip.id))
        assert (receipt.submission.standing, receipt.task.state, receipt.task.skipped) == (
            Standing.LATE,
            TaskState.DONE,
            0,
        )

    def test_unusable_retires_the_item(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, _ = raters
        desk.ask(sample_tasks(4))
        other = desk.claim(bo, CAMPAIGN)
        held = desk.claim(anna, CAMPAIGN)
        assert held is not None
        assert other is not None
        assert held.task.item == other.task.item
        desk.submit(anna, held.lease.id, work_of(None, Outcome.UNUSABLE, reason="out of focus"))
        assert [task.state.value for task in desk.ledger.tasks(CAMPAIGN)] == ["retired", "retired", "open", "open"]
        late = desk.submit(bo, other.lease.id, work_of(drawing()))
        assert (late.submission.standing, late.task.state) == (Standing.EXTRA, TaskState.RETIRED)
        found = answers(desk, CAMPAIGN, {held.task.id: 1, other.task.id: 1})
        assert [(one.rater, one.outcome.value) for one in found] == [("anna", "unusable")] * 2
        assert desk.ask([replace(sample_tasks(1)[0], id="more", box=Box(start=(0, 0), stop=(2, 2)))]) == 1
        assert desk.ledger.task("more").state is TaskState.RETIRED
        assert list(desk.ledger.retired(CAMPAIGN)) == [held.task.item]
        self.sound(desk)

    def test_work_without_a_lease_takes_a_place_too(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, cy = raters
        (task,) = sample_tasks(1, replicas=2)
        desk.ask([task])
        first = desk.deliver(anna, task.id, work_of(drawing()))
        assert (first.submission.standing, first.submission.lease) == (Standing.ON_TIME, None)
        held = desk.claim(bo, CAMPAIGN)
        assert held is not None
        assert desk.deliver(cy, task.id, work_of(drawing())).submission.standing is Standing.EXTRA
        assert desk.deliver(bo, task.id, work_of(drawing())).submission.standing is Standing.ON_TIME  # on his own lease
        assert desk.ledger.task(task.id).state is TaskState.DONE
        corrected = desk.deliver(anna, task.id, work_of(drawing(2), supersedes=first.submission.id))
        assert corrected.submission.counts
        self.sound(desk)

    # -- several raters

    def test_raters_who_agree_close_a_task_and_the_majority_answers(
        self, desk: LabellingDesk, raters: list[Credential]
    ) -> None:
        (task,) = sample_tasks(1, replicas=3, adjudicate_above=0.9)
        desk.ask([task])
        for who, rows in zip(raters, (2, 2, 3), strict=True):
            self.done(desk, who, drawing(1, rows))
        closed = desk.ledger.task(task.id)
        assert closed.state is TaskState.DONE
        assert closed.disagreement == pytest.approx(1 - (1 + 0.8 + 0.8) / 3)
        (answer,) = answers(desk, CAMPAIGN, {task.id: 1})
        assert (answer.rater, answer.seconds) == ("consensus", 3.0)
        assert answer.labels is not None
        assert np.array_equal(answer.labels.classes, drawing(1, 2).classes)
        each = answers(desk, CAMPAIGN, {task.id: 3})
        assert [one.rater for one in each] == ["anna", "bo", "Cy, MD"]

    def test_raters_who_differ_wait_for_a_reviewer(
        self, desk: LabellingDesk, raters: list[Credential], reviewer: Credential
    ) -> None:
        (task,) = sample_tasks(1, replicas=2, adjudicate_above=0.3)
        desk.ask([task])
        with pytest.raises(ConflictError, match="0 of 2"):
            desk.adjudicate(reviewer, task.id, work_of(drawing()))
        for who, value in zip(raters, (1, 2), strict=False):
            self.done(desk, who, drawing(value))
        assert desk.ledger.task(task.id).state is TaskState.DISPUTED
        assert answers(desk, CAMPAIGN, {task.id: 1}) == ()
        with pytest.raises(Forbidden, match="review"):
            desk.adjudicate(raters[0], task.id, work_of(drawing()))
        decided = desk.adjudicate(reviewer, task.id, work_of(drawing(2, 3)))
        assert (decided.submission.standing, decided.task.state) == (Standing.ADJUDICATION, TaskState.DONE)
        second = desk.adjudicate(reviewer, task.id, work_of(drawing(1, 1)))
        assert second.submission.standing is Standing.EXTRA
        third = desk.adjudicate(reviewer, task.id, work_of(drawing(1, 4), supersedes=decided.submission.id))
        assert third.submission.standing is Standing.ADJUDICATION
        (answer,) = answers(desk, CAMPAIGN, {task.id: 1})
        assert answer.rater == "reviewer"
        assert answer.labels is not None
        assert np.array_equal(answer.labels.classes, drawing(1, 4).classes)
        self.sound(desk)

    def test_a_correction_is_compared_anew(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        (task,) = sample_tasks(1, replicas=2, adjudicate_above=0.3)
        desk.ask([task])
        given = [self.done(desk, who, drawing(value)) for who, value in zip(raters, (1, 2), strict=False)]
        last = given[1].submission
        agreed = desk.deliver(raters[1], task.id, work_of(drawing(1), supersedes=last.id))
        assert (agreed.task.state, agreed.task.disagreement) == (TaskState.DONE, 0.0)

    def test_settling_with_yesterdays_labels_changes_nothing(
        self, desk: LabellingDesk, raters: list[Credential]
    ) -> None:
        (task,) = sample_tasks(1, replicas=2)
        desk.ask([task])
        open_task = desk.ledger.settle(task.id, basis=[], disagreement=0.0)
        assert open_task.state is TaskState.OPEN
        for who in raters[:2]:
            self.done(desk, who)
        closed = desk.ledger.task(task.id)
        assert desk.ledger.settle(task.id, basis=["x"], disagreement=1.0) == closed

    # -- repeats

    def test_a_repeat_comes_later_and_changes_nothing(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna = raters[0]
        desk.ask([*sample_tasks(1, repeat=True), *sample_tasks(4, first=1)])
        seen = [self.done(desk, anna, drawing(1, rows)) for rows in (1, 2, 2, 3, 2, 2)]
        assert [(r.task.place, r.submission.repeat) for r in seen] == [(0, 0), (1, 0), (2, 0), (0, 1), (3, 0), (4, 0)]
        again = seen[3]
        assert (again.submission.standing, again.submission.counts) == (Standing.REPEAT, False)
        assert again.task.state is TaskState.DONE
        (answer,) = answers(desk, CAMPAIGN, {again.task.id: 1})
        assert answer.labels is not None
        assert np.array_equal(answer.labels.classes, drawing(1, 1).classes)
        assert desk.claim(anna, CAMPAIGN) is None
        self.sound(desk)

    # -- progress and audit

    def test_progress_counts_the_latest_batch(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        empty = desk.ledger.progress(CAMPAIGN)
        assert (empty.batch, empty.tasks, empty.submissions, empty.active) == (-1, {}, {}, {})
        desk.ask(sample_tasks(1))
        self.done(desk, raters[0])
        desk.ask(sample_tasks(3))
        self.done(desk, raters[1])
        desk.claim(raters[0], CAMPAIGN)
        found = desk.ledger.progress(CAMPAIGN)
        assert (found.batch, found.tasks) == (1, {TaskState.DONE: 1, TaskState.OPEN: 1})
        assert (found.submissions, found.active) == ({"bo": 1}, {"anna": 1})

    def test_events_are_read_in_order_and_in_parts(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(2))
        self.done(desk, raters[0])
        desk.note(raters[0], "elsewhere.deleted", "annotation 7", {"why": "größer"}, campaign=CAMPAIGN)
        events = desk.ledger.events()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert desk.ledger.events(after=3, limit=2) == events[3:5]
        mine = [event.action for event in desk.ledger.events(campaign=CAMPAIGN)]
        assert mine == ["task.asked", "task.asked", "lease.granted", "submission.received", "elsewhere.deleted"]
        assert desk.ledger.head() == Head(sequence=len(events), hash=events[-1].hash)
        assert events[-1].payload == {"why": "größer"}

    def test_what_is_refused_leaves_no_trace(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(1))
        held = desk.claim(raters[0], CAMPAIGN)
        assert held is not None
        before = (desk.ledger.head(), desk.ledger.tasks(CAMPAIGN))
        with pytest.raises(InvalidValue):
            desk.submit(raters[0], held.lease.id, work_of(LabelMap(classes=np.zeros((3, 4), np.uint8))))
        with pytest.raises(NotFound):
            desk.submit(raters[0], "none", work_of(drawing()))
        with pytest.raises(NotFound):
            desk.deliver(raters[0], "none", work_of(drawing()))
        assert (desk.ledger.head(), desk.ledger.tasks(CAMPAIGN)) == before

    # -- raters

    def test_tokens_open_until_revoked(self, desk: LabellingDesk) -> None:
        roster = Roster(desk.ledger)
        roster.add("anna", Scope.ANNOTATE, Scope.REVIEW)
        token, other = roster.token("anna"), roster.token("anna", seconds=1000)
        assert roster.authenticate(token).scopes == {Scope.ANNOTATE, Scope.REVIEW}
        assert roster.authenticate(other).rater == "anna"
        roster.sign_out(other)
        for bad in (other, token + "x", "alf_", "", "alf_" + "ü" * 9, "Bearer"):
            with pytest.raises(Unauthenticated):
                roster.authenticate(bad)
        desk.ask(sample_tasks(1))
        held = desk.claim(roster.authenticate(token), CAMPAIGN)
        assert held is not None
        who = roster.authenticate(token)
        assert roster.revoke("anna").revoked is not None
        with pytest.raises(Unauthenticated):
            roster.authenticate(token)
        with pytest.raises(Unauthenticated):
            roster.token("anna")
        with pytest.raises(Forbidden, match="revoked"):
            desk.claim(who, CAMPAIGN)
        assert desk.ledger.task(held.task.id).taken == 0
        roster.add("anna")
        with pytest.raises(Unauthenticated):
            roster.authenticate(token)  # a rater who comes back gets a new one
        assert [(one.name, one.revoked, one.asserted) for one in roster.list()] == [("anna", None, False)]
        with pytest.raises(NotFound):
            roster.revoke("nobody")
        with pytest.raises(NotFound):
            roster.token("nobody")
        self.sound(desk)

    def test_an_invite_opens_once(self, desk: LabellingDesk) -> None:
        roster = Roster(desk.ledger)
        roster.add("anna")
        invite = roster.invite("anna")
        with pytest.raises(Unauthenticated):
            roster.authenticate(invite)  # an invite is no token
        session, who = roster.redeem(invite)
        assert (who.rater, who.kind) == ("anna", "session")
        assert roster.authenticate(session) == who
        for bad in (invite, session, roster.token("anna"), "alf_none"):
            with pytest.raises(Unauthenticated):
                roster.redeem(bad)
        secrets = [invite, session]
        assert not any(secret in str(desk.ledger.events()) for secret in secrets)

    def test_what_expires_is_refused(self, desk: LabellingDesk) -> None:
        roster = Roster(desk.ledger)
        roster.add("anna")
        token, invite = roster.token("anna", seconds=1e-6), roster.invite("anna", seconds=1e-6)
        with pytest.raises(Unauthenticated):
            roster.authenticate(token)
        with pytest.raises(Unauthenticated):
            roster.redeem(invite)

    def test_asserted_raters_are_marked_and_change_nobody(self, desk: LabellingDesk) -> None:
        roster = Roster(desk.ledger)
        roster.add("anna", Scope.REVIEW)
        assert roster.asserted("qupath user").scopes == {Scope.ANNOTATE}
        roster.asserted("anna")
        found = {one.name: (one.asserted, sorted(one.scopes)) for one in roster.list()}
        assert found == {"anna": (False, ["review"]), "qupath user": (True, ["annotate"])}

    # -- many at once

    def test_many_raters_at_once_never_share_a_place(self, desk: LabellingDesk, open_labelling: OpenLabelling) -> None:
        desk.ask(sample_tasks(12, replicas=2))
        who = enrolled(desk, *(f"rater {k}" for k in range(6)))
        desks = [LabellingDesk(open_labelling(), desk.artifacts) for _ in who]

        def work(k: int) -> list[str]:
            done = []
            while (held := desks[k].claim(who[k], CAMPAIGN)) is not None:
                desks[k].submit(who[k], held.lease.id, work_of(drawing()))
                done.append(held.task.id)
            return done

        with ThreadPoolExecutor(len(who)) as pool:
            done: Sequence[list[str]] = list(pool.map(work, range(len(who))))
        assert sorted(task for each in done for task in each) == sorted(
            t.id for t in sample_tasks(12) for _ in range(2)
        )
        assert all(len(set(each)) == len(each) for each in done)
        assert {task.state for task in desk.ledger.tasks(CAMPAIGN)} == {TaskState.DONE}
        self.sound(desk)

    def test_two_tabs_claiming_at_once_get_one_lease(self, desk: LabellingDesk, open_labelling: OpenLabelling) -> None:
        desk.ask(sample_tasks(5))
        (who,) = enrolled(desk, "anna")
        desks = [LabellingDesk(open_labelling(), desk.artifacts) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            held = list(pool.map(lambda one: one.claim(who, CAMPAIGN), desks))
        assert len({a.lease.id for a in held if a is not None}) == 1
        assert sum(task.taken for task in desk.ledger.tasks(CAMPAIGN)) == 1

    def test_one_submission_sent_from_many_sides_is_one(
        self, desk: LabellingDesk, open_labelling: OpenLabelling
    ) -> None:
        desk.ask(sample_tasks(1))
        (who,) = enrolled(desk, "anna")
        held = desk.claim(who, CAMPAIGN)
        assert held is not None
        lease, work = held.lease.id, work_of(drawing())
        desks = [LabellingDesk(open_labelling(), desk.artifacts) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            receipts = list(pool.map(lambda one: one.submit(who, lease, work), desks))
        assert sum(receipt.created for receipt in receipts) == 1
        assert len(desk.ledger.submissions(CAMPAIGN)) == 1
        self.sound(desk)
