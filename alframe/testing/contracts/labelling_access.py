"""Progress and audit, who may do what, and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from alframe.errors import InvalidValue, NotFound
from alframe.labelling import (
    Credential,
    Forbidden,
    Head,
    LabellingDesk,
    Roster,
    Scope,
    TaskState,
    Unauthenticated,
)
from alframe.testing.contracts.labelling_base import (
    CAMPAIGN,
    LabellingFixtures,
    OpenLabelling,
    drawing,
    sample_tasks,
)
from alframe.testing.desks import enrolled, work_of
from alframe.types import LabelMap

__all__ = ["AccessRules"]


class AccessRules(LabellingFixtures):
    """Progress and audit, who may do what, and many at once."""

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
        asked = desk.ledger.events(actions=["task.asked", "rater.enrolled"])
        assert asked == tuple(event for event in events if event.action in ("task.asked", "rater.enrolled"))
        assert desk.ledger.events(actions=[]) == ()
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

    def test_tokens_are_looked_up_together_as_they_are_alone(self, desk: LabellingDesk) -> None:
        roster = Roster(desk.ledger)
        for name in ("anna", "bo", "cy"):
            roster.add(name, Scope.ANNOTATE)
        tokens = {name: roster.token(name) for name in ("anna", "bo", "cy")}
        late, invite = roster.token("anna", seconds=1e-6), roster.invite("bo")
        roster.revoke("cy")
        asked = [tokens["bo"], "alf_none", tokens["anna"], tokens["cy"], "", late, tokens["bo"], invite, "Bearer"]
        together = roster.identify(asked)
        for token, found in zip(asked, together, strict=True):
            if isinstance(found, Unauthenticated):
                with pytest.raises(Unauthenticated) as alone:
                    roster.authenticate(token)
                assert str(alone.value) == str(found)
            else:
                assert roster.authenticate(token) == found
        named = [one.rater for one in together if isinstance(one, Credential)]
        assert named == ["bo", "anna", "bo"]
        assert roster.identify([]) == ()

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
