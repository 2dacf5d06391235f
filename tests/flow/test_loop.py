"""The loop end to end on small real campaigns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alframe.campaign import Budget
from alframe.errors import ConflictError, InvalidValue
from alframe.ports import Executor
from alframe.runtime import InlineExecutor
from alframe.strategies import Random, RandomForeground, Uncertainty, union_size
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Answer, Box, LabelMap, Outcome, Phase, Query, Split


@pytest.fixture
def inline() -> Executor:
    return InlineExecutor()


def value(campaign, name: str, scope: str, round: int) -> float:
    rows = [
        m.value
        for t, m in campaign.parts.ledger.metrics(campaign.name)
        if (t, m.name, m.scope, m.label, m.statistic) == (round, name, scope, "", "pooled")
    ]
    assert len(rows) == 1
    return rows[0]


def test_a_campaign_learns_measures_and_ends_by_its_budget(tmp_path: Path, inline: Executor) -> None:
    campaign = small_campaign(tmp_path, inline, budget=Budget(rounds=3))
    standing = campaign.run()
    assert standing.status == "done"
    assert standing.reason.startswith("budget: rounds 3 of 3")
    rounds = campaign.parts.ledger.rounds(campaign.name)
    assert [r.phase for r in rounds] == [Phase.DONE] * 5
    assert [r.acquire for r in rounds] == [True] * 4 + [False]
    for scope in ("test", "val", "pool"):
        assert 0.5 < value(campaign, "dice", scope, 4) <= 1
    assert value(campaign, "nll", "acquired", 2) > 0
    versions = [r.version for r in rounds]
    assert versions[0] == rounds[1].parent
    assert len({*versions}) == 4
    assert campaign.run() == standing


def test_the_cost_is_the_counted_union_of_annotated_pixels(tmp_path: Path, inline: Executor) -> None:
    strategy = Uncertainty(measure="entropy", window=9, stride=3, max_overlap=0.5)
    campaign = small_campaign(tmp_path, inline, strategy=strategy)
    campaign.run()
    boxes: dict[str, list[Box]] = {}
    for query in campaign.parts.ledger.queries(campaign.name):
        boxes.setdefault(query.item, []).append(query.box)
    union = 0
    for item, asked in boxes.items():
        canvas = np.zeros(campaign.parts.pool.info(item).shape, bool)
        for box in asked:
            canvas[box.slices] = True
        assert union_size(asked) == np.count_nonzero(canvas)
        union += int(np.count_nonzero(canvas))
    assert value(campaign, "annotated_pixels", "campaign", 3) == union
    total = sum(info.size for info in campaign.parts.pool.items(Split.TRAIN))
    assert value(campaign, "annotated_fraction", "campaign", 3) == pytest.approx(union / total)


def test_no_two_regions_overlap_in_the_whole_campaign(tmp_path: Path, inline: Executor) -> None:
    campaign = small_campaign(tmp_path, inline, budget=Budget(rounds=4), batch=6)
    campaign.run()
    queries = campaign.parts.ledger.queries(campaign.name)
    for one in queries:
        for two in queries:
            assert one.id == two.id or one.item != two.item or one.box.overlap(two.box) == 0


@pytest.mark.parametrize(
    "strategy",
    [
        Random(),
        Random(window=9, stride=3),
        RandomForeground(window=9, stride=3),
        Uncertainty(measure="var_ratio"),
        Uncertainty(measure="vote_ratio", window=9),
    ],
    ids=lambda s: f"{type(s).__name__}-{getattr(s, 'measure', '')}-{s.window}",
)
def test_every_strategy_runs_a_campaign(tmp_path: Path, inline: Executor, strategy: object) -> None:
    campaign = small_campaign(tmp_path, inline, strategy=strategy, batch=2)  # type: ignore[arg-type]
    assert campaign.run().status == "done"
    assert len(campaign.parts.ledger.queries(campaign.name)) == 2 + 2 * 2


def test_volumes_and_several_raters(tmp_path: Path, inline: Executor) -> None:
    from alframe.oracles import Simulated

    pool = blobs(10, 18, axes=3, raters=3)
    oracle = Simulated(rater="random", boundary_shift=0.5).bind(pool)
    strategy = Uncertainty(measure="bald", window=(3, 6, 6))
    campaign = small_campaign(tmp_path, inline, pool=pool, oracle=oracle, strategy=strategy, replicas=2)
    assert campaign.run().status == "done"
    answers = campaign.parts.ledger.answers(campaign.name)
    assert len(answers) == 2 * len(campaign.parts.ledger.queries(campaign.name))
    assert all(len({a.rater for a in answers if a.query == one.query}) == 2 for one in answers)


def test_refused_queries_cost_nothing_and_are_not_asked_again(tmp_path: Path, inline: Executor) -> None:
    from alframe.oracles import Simulated

    pool = blobs()
    campaign = small_campaign(tmp_path, inline, pool=pool, oracle=Simulated(refuse=0.4, seed=2).bind(pool), initial=4)
    assert campaign.run().status == "done"
    answers = campaign.parts.ledger.answers(campaign.name)
    refused = [a for a in answers if not a.outcome.carries_label]
    assert refused
    assert all(a.mask is None for a in refused)
    assert len({(a.item, a.box) for a in answers}) == len(answers)


def test_a_pool_that_is_used_up_ends_the_campaign(tmp_path: Path, inline: Executor) -> None:
    campaign = small_campaign(tmp_path, inline, strategy=Random(), budget=Budget(rounds=50), batch=4)
    standing = campaign.run()
    assert standing.reason.startswith("exhausted")
    assert value(campaign, "annotated_fraction", "campaign", len(campaign.parts.ledger.rounds(campaign.name)) - 1) == 1


def test_a_budget_of_pixels_is_not_exceeded(tmp_path: Path, inline: Executor) -> None:
    budget = Budget(pixels=2 * 28 * 28 + 5 * 81)
    campaign = small_campaign(tmp_path, inline, budget=budget)
    assert campaign.run().reason.startswith("budget: pixels")
    last = len(campaign.parts.ledger.rounds(campaign.name)) - 1
    assert value(campaign, "annotated_pixels", "campaign", last) == budget.pixels


def test_members_restarts_and_warm_start(tmp_path: Path, inline: Executor) -> None:
    learner = PixelLearner(members=2, restarts=2, warm_start=True)
    campaign = small_campaign(tmp_path, inline, learner=learner)
    campaign.run()
    losses = {
        m.label: m.value
        for t, m in campaign.parts.ledger.metrics(campaign.name)
        if t == 1 and m.name == "validation_loss"
    }
    assert set(losses) == {"0/0", "0/1", "1/0", "1/1"}
    stored = campaign.parts.ledger.artifacts(campaign.name, 1)
    best = min("01", key=lambda restart: losses[f"0/{restart}"])
    assert stored["member/0"] == stored[f"checkpoint/0/{best}"]


class Nobody:
    """An oracle whose raters are away."""

    immediate = False

    def ask(self, campaign: str, queries: tuple[Query, ...]) -> None:
        pass

    def collect(self, campaign: str, queries: tuple[Query, ...]) -> tuple[Answer, ...]:
        return ()


def exact(campaign, query: Query, rater: str = "me") -> Answer:
    labels = campaign.parts.pool.truth(query.item).crop(query.box)
    return Answer(query=query.id, rater=rater, outcome=Outcome.LABELED, labels=labels)


def test_asking_and_telling_by_hand_gives_the_same_labels_as_the_oracle(tmp_path: Path, inline: Executor) -> None:
    automatic = small_campaign(tmp_path, inline, name="automatic")
    automatic.run()
    manual = small_campaign(tmp_path, inline, name="manual", oracle=Nobody())  # type: ignore[arg-type]
    while queries := manual.ask():
        assert manual.run().status == "waiting"
        first, *rest = queries
        assert manual.tell([exact(manual, first)]).status == ("waiting" if rest else "running")
        manual.tell([exact(manual, first)] if rest else [])
        assert len(manual.ask()) == len(rest)
        if rest:
            manual.tell([exact(manual, query) for query in rest])
    both = [
        [(a.item, a.box, a.mask) for a in campaign.parts.ledger.answers(campaign.name)]
        for campaign in (automatic, manual)
    ]
    assert both[0] == both[1]


def test_a_second_answer_of_one_rater_and_an_unfit_one_are_refused(tmp_path: Path, inline: Executor) -> None:
    campaign = small_campaign(tmp_path, inline, oracle=Nobody())  # type: ignore[arg-type]
    query = campaign.ask()[0]
    campaign.tell([exact(campaign, query)])
    empty = LabelMap(classes=np.zeros(query.box.shape, np.uint8))
    with pytest.raises(ConflictError, match="the first one stands"):
        campaign.tell([Answer(query=query.id, rater="me", outcome=Outcome.LABELED, labels=empty)])
    for bad, message in [
        (Answer(query="zzz", rater="me", outcome=Outcome.SKIPPED), "not one of this round"),
        (
            Answer(query=query.id, rater="x", outcome=Outcome.LABELED, labels=LabelMap.blank((2, 2))),
            "expected a label map",
        ),
        (
            Answer(
                query=query.id,
                rater="x",
                outcome=Outcome.LABELED,
                labels=LabelMap(classes=np.full(query.box.shape, 9, np.uint8)),
            ),
            "expected classes 0 to 1",
        ),
    ]:
        with pytest.raises(InvalidValue, match=message):
            campaign.tell([bad])


def test_a_stop_request_is_heard_between_phases(tmp_path: Path, inline: Executor) -> None:
    undisturbed = small_campaign(tmp_path, inline, name="a")
    undisturbed.run()
    campaign = small_campaign(tmp_path, inline, name="b")

    class Stopper:
        def phase_started(self, round: int, phase: Phase, total: int) -> None:
            if round == 1 and phase is Phase.SCORED:
                campaign.parts.ledger.request_stop("b", "lunch")

        def advanced(self, done: int) -> None:
            pass

        def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
            pass

    object.__setattr__(campaign.parts, "observer", Stopper())
    standing = campaign.run()
    assert (standing.status, standing.reason) == ("stopped", "lunch")
    assert campaign.parts.ledger.rounds("b")[-1].phase is Phase.SCORED
    assert small_campaign(tmp_path, inline, name="b").run().status == "done"
    digests = [[(q.item, q.box, q.score) for q in undisturbed.parts.ledger.queries(name)] for name in ("a", "b")]
    assert digests[0] == digests[1]
