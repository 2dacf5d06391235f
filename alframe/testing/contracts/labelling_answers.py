"""What becomes of an answer: late, extra, superseded, skipped, unusable, adjudicated, repeated."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

from alframe.errors import ConflictError, InvalidValue
from alframe.labelling import (
    Credential,
    Forbidden,
    LabellingDesk,
    Standing,
    SubmissionConflict,
    TaskState,
    answers,
)
from alframe.testing.contracts.labelling_base import (
    CAMPAIGN,
    LabellingFixtures,
    drawing,
    sample_tasks,
)
from alframe.testing.desks import work_of
from alframe.types import Box, Outcome

__all__ = ["AnswerRules"]


class AnswerRules(LabellingFixtures):
    """What becomes of an answer: late, extra, superseded, skipped, unusable, adjudicated, repeated."""

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

    def test_a_task_that_is_not_the_leases_is_refused(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo = raters[:2]
        desk.ask(sample_tasks(3))
        mine, his = desk.claim(anna, CAMPAIGN), desk.claim(bo, CAMPAIGN)
        assert mine is not None
        assert his is not None
        for who, lease, task in ((anna, mine, his.task), (bo, mine, mine.task), (anna, his, mine.task)):
            with pytest.raises(Forbidden, match=mine.lease.id if lease is mine else his.lease.id):
                desk.submit(who, lease.lease.id, work_of(drawing()), task=task)
        assert desk.ledger.submissions(CAMPAIGN) == ()
        assert desk.submit(anna, mine.lease.id, work_of(drawing()), task=mine.task).created
        self.sound(desk)

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

    def test_unusable_can_be_taken_back(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        anna, bo, cy = raters
        desk.ask(sample_tasks(2))
        one, two = (task.id for task in desk.ledger.tasks(CAMPAIGN))
        first = desk.deliver(anna, one, work_of(None, Outcome.UNUSABLE)).submission
        second = desk.deliver(bo, two, work_of(None, Outcome.UNUSABLE)).submission
        mistaken = desk.deliver(anna, one, work_of(drawing(), supersedes=first.id))
        assert mistaken.task.state is TaskState.RETIRED  # bo still says so
        assert desk.deliver(bo, two, work_of(drawing(2), supersedes=second.id)).task.state is TaskState.DONE
        assert [task.state.value for task in desk.ledger.tasks(CAMPAIGN)] == ["done", "done"]
        assert desk.claim(cy, CAMPAIGN) is None
        found = answers(desk, CAMPAIGN, {one: 1, two: 1})
        assert [(answer.rater, answer.outcome.value) for answer in found] == [("anna", "labeled"), ("bo", "labeled")]
        assert desk.ledger.retired(CAMPAIGN) == {}
        self.sound(desk)

    def test_a_reviewer_may_call_an_item_unusable_and_take_it_back(
        self, desk: LabellingDesk, raters: list[Credential], reviewer: Credential
    ) -> None:
        desk.ask(sample_tasks(2))
        one, two = (task.id for task in desk.ledger.tasks(CAMPAIGN))
        desk.deliver(raters[0], one, work_of(drawing()))
        said = desk.adjudicate(reviewer, one, work_of(None, Outcome.UNUSABLE))
        assert said.task.state is TaskState.RETIRED
        assert desk.ledger.task(two).state is TaskState.RETIRED
        back = desk.adjudicate(reviewer, one, work_of(drawing(2), supersedes=said.submission.id))
        assert back.task.state is TaskState.DONE
        assert desk.ledger.task(two).state is TaskState.OPEN
        (answer,) = answers(desk, CAMPAIGN, {one: 1})
        assert answer.rater == "reviewer"
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
