"""Campaigns that ask another rater: the right boxes, different raters, the same after a crash, and by people too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from alframe import integrity
from alframe.campaign import Budget, CampaignLoop
from alframe.labelling import LabellingDesk, Roster, Scope, Work
from alframe.oracles import Human
from alframe.runtime import InlineExecutor
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.strategies import Uncertainty
from alframe.strategies.opinions import Opinions
from alframe.testing.campaigns import blobs, small_campaign
from alframe.types import Outcome, Query

POLICY = Opinions(again=2, most=3, closeness=0.3, then="need")
WHOLE = Uncertainty(measure="entropy")


def started(folder: Path, policy: Opinions = POLICY, **options: object) -> CampaignLoop:
    options = {"pool": blobs(raters=3), "strategy": WHOLE, "batch": 4, "budget": Budget(rounds=3), **options}
    return small_campaign(folder, InlineExecutor(), opinions=policy, **options)  # type: ignore[arg-type]


def again(campaign: CampaignLoop) -> list[tuple[int, Query]]:
    """Queries about a box that was asked about before, with their rounds."""
    seen, found = set(), []
    for record in campaign.parts.ledger.rounds(campaign.name):
        for query in campaign.parts.ledger.queries(campaign.name, record.index):
            if (query.item, query.box) in seen:
                found.append((record.index, query))
            seen.add((query.item, query.box))
    return found


def test_part_of_each_batch_asks_another_rater_about_labelled_boxes(tmp_path: Path) -> None:
    campaign = started(tmp_path)
    campaign.run()
    ledger, found = campaign.parts.ledger, again(campaign)
    assert found
    assert min(index for index, _ in found) == 1  # round 0 has no model
    assert max(Counter(index for index, _ in found).values()) <= POLICY.again
    for record in ledger.rounds("small"):
        assert len(ledger.queries("small", record.index)) <= 4
    answers = ledger.answers("small")
    raters = Counter((answer.item, answer.box, answer.rater) for answer in answers)
    assert set(raters.values()) == {1}  # nobody is asked twice about a box
    assert max(Counter((answer.item, answer.box) for answer in answers).values()) <= POLICY.most
    assert len({query.id for query in ledger.queries("small")}) == len(ledger.queries("small"))
    for _, query in found:
        assert len(query.raters) == 1
        assert query.prefill is not None
    cost = {m.name: m.value for t, m in ledger.metrics("small") if (t, m.scope) == (4, "campaign")}
    assert cost["rated_pixels"] > cost["annotated_pixels"]
    assert any(metric.name == "agreement" for _, metric in ledger.metrics("small"))


def test_without_a_policy_nothing_changes(tmp_path: Path) -> None:
    plain = small_campaign(tmp_path / "a", InlineExecutor(), budget=Budget(rounds=2))
    plain.run()
    other = small_campaign(tmp_path / "b", InlineExecutor(), budget=Budget(rounds=2), opinions=Opinions(most=5))
    other.run()
    assert plain.digest() == other.digest()
    assert again(plain) == []


def test_a_decided_vote_is_left_alone(tmp_path: Path) -> None:
    campaign = started(tmp_path, replace(POLICY, closeness=1.0))
    campaign.run()
    assert again(campaign) == []


def test_step_by_step_and_in_one_go_come_to_the_same(tmp_path: Path) -> None:
    whole = started(tmp_path / "whole")
    whole.run()
    assert again(whole)
    stepped = started(tmp_path / "steps")
    while stepped.step().status == "running":
        stepped = started(tmp_path / "steps")  # a new process would know no more
    assert stepped.digest() == whole.digest()


def test_replay_and_fsck_know_that_a_box_is_asked_about_again(tmp_path: Path) -> None:
    campaign = started(tmp_path)
    campaign.run()
    assert again(campaign)
    replayed = integrity.replay(campaign.settings, campaign.parts, metrics=True)
    assert replayed.clean, replayed.findings
    parts = campaign.parts
    checked = integrity.check(parts.ledger, parts.artifacts, parts.pool, campaign.name)
    assert checked.clean, checked.findings


def test_new_queries_name_their_raters(tmp_path: Path) -> None:
    campaign = started(tmp_path, Opinions(first="need"), initial=3)
    campaign.run()
    ledger = campaign.parts.ledger
    assert all(len(query.raters) == 1 for query in ledger.queries("small"))
    load = Counter(answer.rater for answer in ledger.answers("small"))
    assert max(load.values()) - min(load.values()) <= 1
    for answer in ledger.answers("small"):
        query = next(query for query in ledger.queries("small") if query.id == answer.query)
        assert query.raters == (answer.rater,)


@pytest.fixture
def desk(tmp_path: Path) -> LabellingDesk:
    return LabellingDesk(SqlLabelling(f"sqlite:///{tmp_path / 'ledger.db'}"), FileArtifacts(tmp_path / "artifacts"))


def test_people_are_asked_by_name_and_only_they_get_the_task(tmp_path: Path, desk: LabellingDesk) -> None:
    pool = blobs()
    policy = replace(POLICY, names=("ann", "bob", "cy"))
    oracle = Human(blind_share=0.0, repeat_share=0.0).bind(pool, desk)
    campaign = started(tmp_path, policy, pool=pool, oracle=oracle, budget=Budget(rounds=2))
    people = [Roster(desk.ledger).add(name, Scope.ANNOTATE).name for name in policy.names]
    from alframe.labelling import Credential

    for number in range(40):
        if campaign.run().status == "done":
            break
        for name in people:
            who = Credential(rater=name, scopes=frozenset({Scope.ANNOTATE}))
            held = desk.claim(who, "small")
            if held is None:
                continue
            assert name in held.task.raters
            labels = pool.truth(held.task.item).crop(held.task.box)
            outcome = Outcome.LABELED if labels.classes.any() else Outcome.EMPTY_CONFIRMED
            work = Work(
                id=f"00000000-0000-4000-8000-{number:06d}{people.index(name):06d}", outcome=outcome, labels=labels
            )
            desk.submit(who, held.lease.id, work)
    assert campaign.run().status == "done"
    found = again(campaign)
    assert found
    answers = {answer.query: answer.rater for answer in campaign.parts.ledger.answers("small")}
    for _, query in found:
        assert query.raters == (answers[query.id],)
    raters = Counter((a.item, a.box, a.rater) for a in campaign.parts.ledger.answers("small"))
    assert set(raters.values()) == {1}
