"""Tasks, leases, drafts and submissions that are repeated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alframe.errors import ConflictError, NonFiniteError, NotFound
from alframe.labelling import (
    Assignment,
    Credential,
    DraftConflict,
    Forbidden,
    LabellingDesk,
    LeaseLost,
    LeaseState,
    NewTask,
    Roster,
    Standing,
    SubmissionConflict,
    TaskState,
)
from alframe.testing.contracts.labelling_base import (
    CAMPAIGN,
    LabellingFixtures,
    drawing,
    sample_tasks,
)
from alframe.testing.desks import work_of
from alframe.types import ArtifactRef, Box

__all__ = ["LeaseRules"]


class LeaseRules(LabellingFixtures):
    """Tasks, leases, drafts and submissions that are repeated."""

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

    def test_raters_who_claim_together_get_what_they_would_get_in_turn(
        self, desk: LabellingDesk, raters: list[Credential], reviewer: Credential
    ) -> None:
        desk.ask(sample_tasks(4))
        anna, bo, cy = raters
        first = desk.claim(anna, CAMPAIGN)
        second = desk.claim(bo, CAMPAIGN)
        assert first is not None
        assert second is not None
        desk.release(bo, second.lease.id)
        together = desk.claims([cy, reviewer, anna, bo, cy], CAMPAIGN)
        tasks = [one.task.id if isinstance(one, Assignment) else one for one in together]
        assert tasks[0] == tasks[4] == second.task.id  # its place was free, and it comes first
        assert isinstance(tasks[1], Forbidden)
        assert tasks[2:4] == [first.task.id, "glands-2"]
        assert desk.claims([], CAMPAIGN) == ()
        assert desk.ledger.claims(CAMPAIGN, [], ttl=1) == ()
        Roster(desk.ledger).revoke("anna")
        refused, missing, last = desk.ledger.claims(CAMPAIGN, ["anna", "nobody", "bo"], ttl=60)
        assert isinstance(refused, Forbidden)
        assert isinstance(missing, NotFound)
        assert isinstance(last, Assignment)
        self.sound(desk)

    def test_fewer_tasks_than_raters_who_claim_together(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(1, replicas=2))
        given = desk.claims(raters, CAMPAIGN)
        assert [isinstance(one, Assignment) for one in given] == [True, True, False]
        assert given[2] is None
        (task,) = desk.ledger.tasks(CAMPAIGN)
        assert task.taken == 2

    def test_what_a_rater_has_or_had_on_a_task(self, desk: LabellingDesk, raters: list[Credential]) -> None:
        desk.ask(sample_tasks(2))
        given = desk.claim(raters[0], CAMPAIGN)
        assert given is not None
        (held,) = desk.ledger.leases(given.task.id, "anna")
        assert (held.id, held.state, held.repeat) == (given.lease.id, LeaseState.ACTIVE, 0)
        assert desk.ledger.leases(given.task.id, "bo") == ()
        draft = desk.save_draft(raters[0], given.lease.id, b"x", media_type="a/b", tag=None)
        desk.release(raters[0], given.lease.id)
        assert [one.state for one in desk.ledger.leases(given.task.id, "anna")] == [LeaseState.RELEASED]
        (kept,) = desk.ledger.assignments([given.lease.id])
        assert (kept.lease.state, kept.task.id, kept.draft, kept.submission) == (
            "released",
            given.task.id,
            draft,
            None,
        )
        receipt = desk.submit(raters[0], given.lease.id, work_of(drawing()))
        assert desk.ledger.assignments([given.lease.id])[0].submission == receipt.submission
        with pytest.raises(NotFound, match="no lease"):
            desk.ledger.assignments([given.lease.id, "none"])

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
