"""People behind the oracle's port: scripted raters at a real desk give the campaign the labels they drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from alframe.errors import InvalidValue, NotFound
from alframe.labelling import LabellingDesk, Roster, Scope, agreements, trace, verify
from alframe.oracles import Human, HumanOracle, Manual, Simulated
from alframe.ports import Oracle, Pool
from alframe.runtime import InlineExecutor
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.contracts.oracle import CAMPAIGN, OracleContract, a_query
from alframe.testing.desks import ScriptedRater, enrolled, truthful, work_of
from alframe.types import Answer, Box, LabelMap, Outcome, Query


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabellingDesk]:
    with SqlLabelling(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))


class TestHuman(OracleContract):
    @pytest.fixture(autouse=True)
    def _desk(self, desk: LabellingDesk, pool: Pool) -> None:
        self.desk, self.pool_ = desk, pool

    def make(self, pool: Pool) -> Oracle:
        return Human().bind(pool, LabellingDesk(self.desk.ledger, self.desk.artifacts))

    def work(self, oracle: Oracle, queries: Sequence[Query]) -> None:
        for who in enrolled(self.desk, "anna", "bo"):
            ScriptedRater(self.desk, who, truthful(self.pool_, who.rater)).work(CAMPAIGN)


def one_query(pool: Pool, **fields: object) -> Query:
    info = pool.items()[0]
    return replace(a_query(info.id, (2,) * len(info.shape), (12,) * len(info.shape)), **fields)  # type: ignore[arg-type]


def answered(oracle: HumanOracle, desk: LabellingDesk, query: Query, drawn: dict[str, LabelMap]) -> tuple[Answer, ...]:
    oracle.ask(CAMPAIGN, [query])
    for name, labels in drawn.items():
        desk.deliver(Roster(desk.ledger).asserted(name), query.id, work_of(labels))
    return oracle.collect(CAMPAIGN, [query])


def test_the_share_of_blind_and_repeated_tasks_is_as_asked_and_fixed(desk: LabellingDesk) -> None:
    pool = blobs(4)
    queries = [a_query("blob-00", (y, x), (y + 1, x + 1)) for y in range(20) for x in range(25)]
    Human(blind_share=0.2, repeat_share=0.1).bind(pool, desk).ask(CAMPAIGN, queries)
    found = desk.ledger.tasks(CAMPAIGN)
    # binomial bounds at four standard deviations
    assert abs(sum(task.blind for task in found) - 100) < 36
    assert abs(sum(task.repeat for task in found) - 50) < 27
    assert 0 < sum(task.repeat and task.blind for task in found) < 30  # drawn apart
    again = Human(blind_share=0.2, repeat_share=0.1).bind(pool, desk)
    again.ask("another", [replace(query, id=query.id[::-1]) for query in queries])
    assert [task.blind for task in desk.ledger.tasks("another")] != [task.blind for task in found]
    for share, count in ((0.0, 0), (1.0, 500)):
        name = f"share {share}"
        Human(blind_share=share).bind(pool, desk).ask(name, [replace(q, id=q.id + name) for q in queries])
        assert sum(task.blind for task in desk.ledger.tasks(name)) == count


def test_blind_tasks_show_nothing(desk: LabellingDesk) -> None:
    pool = blobs(4)
    shape = (10, 10)
    arrays = {
        "classes": np.ones(shape, np.uint8),
        "uncertainty": np.ones(shape, np.float16),
        "mean": np.ones((2, *shape)),
    }
    shown = desk.artifacts.put_arrays("prefill", {**arrays, "mean": arrays["mean"].astype(np.float32)})
    for share in (0.0, 1.0):
        query = one_query(pool, id=f"q{share}", prefill=shown)
        Human(blind_share=share).bind(pool, desk).ask(CAMPAIGN, [query])
    seen, blind = (desk.prefill(task) for task in desk.ledger.tasks(CAMPAIGN))
    assert blind is None
    assert seen is not None
    assert sorted(seen) == ["classes", "uncertainty"]  # the probabilities stay inside


def test_classes_become_objects_where_the_items_have_them(desk: LabellingDesk) -> None:
    pool = blobs(4)
    classes = np.zeros((10, 10), np.uint8)
    classes[1:3, 1:3] = classes[5:9, 5:9] = 1
    classes[0, 9] = 255
    (answer,) = answered(Human().bind(pool, desk), desk, one_query(pool), {"anna": LabelMap(classes=classes)})
    assert answer.labels is not None
    assert answer.labels.instances is not None
    assert np.array_equal(answer.labels.instances > 0, classes == 1)
    assert [np.sum(answer.labels.instances == number) for number in (1, 2)] == [4, 16]


def test_objects_that_a_front_end_tells_apart_are_kept(desk: LabellingDesk) -> None:
    pool = blobs(4)
    classes = np.ones((10, 10), np.uint8)
    objects = np.repeat(np.array([5, 9], np.int32), 50).reshape(10, 10)
    drawn = {"anna": LabelMap(classes=classes, instances=objects)}
    (answer,) = answered(Human().bind(pool, desk), desk, one_query(pool), drawn)
    assert answer.labels is not None
    assert answer.labels.instances is not None
    assert np.array_equal(answer.labels.instances, objects)


@pytest.mark.parametrize("bad", [{"blind_share": 1.1}, {"repeat_share": -0.1}, {"replicas": 0}, {"skips": 0}])
def test_impossible_parameters_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(bad))):
        Human(**bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="adjudicate_above"):
        Human(adjudicate_above=float("nan"))


def test_impossible_queries_are_refused_before_anything_is_asked(desk: LabellingDesk) -> None:
    pool = blobs(4)
    query = one_query(pool)
    for oracle, bad, error in (
        (Human(), replace(query, item="none"), NotFound),
        (Human(), replace(query, box=Box(start=(0, 0), stop=(99, 99))), InvalidValue),
        (Human(replicas=3), replace(query, replicas=2), InvalidValue),
        (Human(adjudicate_above=0.2), replace(query, replicas=2), InvalidValue),
    ):
        with pytest.raises(error):
            oracle.bind(pool, desk).ask(CAMPAIGN, [query, bad])
    assert desk.ledger.tasks(CAMPAIGN) == ()


def drive(folder: Path, desk: LabellingDesk, parameters: Human, raters: Sequence[ScriptedRater], **options: object):  # type: ignore[no-untyped-def]
    """A campaign whose raters work whenever it waits; a new process each time, as in life."""
    pool = blobs(raters=2)
    for _ in range(20):
        oracle = parameters.bind(pool, desk)
        campaign = small_campaign(folder, InlineExecutor(), pool=pool, oracle=oracle, **options)  # type: ignore[arg-type]
        standing = campaign.run()
        if standing.status != "waiting":
            return campaign, standing
        assert sum(rater.work("small") for rater in raters) > 0, standing
    raise AssertionError("the campaign does not end")


def decisions(campaign) -> list[tuple[object, ...]]:  # type: ignore[no-untyped-def]
    return [(a.query, a.outcome, a.mask) for a in campaign.parts.ledger.answers("small")]


def test_a_campaign_with_people_ends_with_the_labels_of_the_simulated_one(tmp_path: Path) -> None:
    pool = blobs(raters=2)
    simulated = small_campaign(
        tmp_path / "simulated", InlineExecutor(), pool=pool, oracle=Simulated(rater="rater0").bind(pool)
    )
    assert simulated.run().status == "done"
    folder = tmp_path / "people"
    with SqlLabelling(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(folder / "artifacts"), repeat_gap=1)
        who = enrolled(desk, "anna", "bo")
        raters = [ScriptedRater(desk, one, truthful(pool, "rater0")) for one in who]
        campaign, standing = drive(folder, desk, Human(repeat_share=1.0), [*raters])
        assert standing.status == "done"
        assert decisions(campaign) == decisions(simulated)
        versions = [[r.version for r in c.parts.ledger.rounds("small")] for c in (campaign, simulated)]
        metrics = [
            [row for row in c.parts.ledger.metrics("small") if not row[1].name.endswith("seconds")]
            for c in (campaign, simulated)
        ]
        assert metrics[0] == metrics[1]
        assert len(versions[0]) == len(versions[1])
        rows = trace(ledger, campaign.parts.ledger, "small")
        assert {row["rater"] for row in rows} <= {"anna", "bo"}
        assert sum(bool(row["committed"] and row["counts"]) for row in rows) == len(decisions(campaign))
        asked = [row for row in rows if row["round"]]
        assert asked
        assert all(row["model"] and row["prefill"] and row["pool_version"] for row in asked)
        within = [row.value for row in agreements(desk, "small") if row.kind == "within"]
        assert within
        assert set(within) == {1.0}
        assert verify(ledger, desk.artifacts).problems == ()


def test_a_campaign_of_several_opinions_takes_them_one_by_one(tmp_path: Path) -> None:
    pool = blobs(raters=2)
    with SqlLabelling(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))
        raters = [
            ScriptedRater(desk, who, truthful(pool, f"rater{k}")) for k, who in enumerate(enrolled(desk, "anna", "bo"))
        ]
        campaign, standing = drive(tmp_path, desk, Human(), raters, replicas=2)
        assert standing.status == "done"
        given = campaign.parts.ledger.answers("small")
        assert {(a.query, a.rater) for a in given} == {(a.query, name) for a in given for name in ("anna", "bo")}
        assert {row.kind for row in agreements(desk, "small")} == {"between", "prefill"}


def test_a_campaign_goes_on_after_an_unusable_item_a_skip_and_a_dispute(tmp_path: Path) -> None:
    pool = blobs(raters=2)
    with SqlLabelling(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))
        anna, bo = enrolled(desk, "anna", "bo")
        (judge,) = enrolled(desk, "judge", scopes=(Scope.REVIEW,))
        told: list[str] = []

        def moody(given):  # type: ignore[no-untyped-def]
            told.append(given.task.id)
            if len(told) == 2:
                return work_of(None, Outcome.UNUSABLE, reason="torn")
            return work_of(None, Outcome.SKIPPED) if len(told) == 4 else truthful(pool, "rater0")(given)

        class Judge(ScriptedRater):
            def work(self, campaign: str, most: int = 0) -> int:
                disputed = [task for task in ledger.tasks(campaign) if task.state == "disputed"]
                for task in disputed:
                    truth = pool.truth(task.item, "rater0").crop(task.box)
                    desk.adjudicate(judge, task.id, work_of(truth))
                return len(disputed)

        team = [
            ScriptedRater(desk, anna, moody),
            ScriptedRater(desk, bo, truthful(pool, "rater1")),
            Judge(desk, judge, truthful(pool)),
        ]
        campaign, standing = drive(tmp_path, desk, Human(replicas=2, adjudicate_above=0.02), team)
        assert standing.status == "done"
        given = campaign.parts.ledger.answers("small")
        assert "unusable" in {a.outcome.value for a in given}
        assert {"judge", "anna", "bo", "consensus"} & {a.rater for a in given if a.mask} >= {"judge"}
        retired = [a.item for a in given if a.outcome is Outcome.UNUSABLE]
        first = min(a.round for a in given if a.outcome is Outcome.UNUSABLE)
        assert not [a for a in given if a.item in retired and a.round > first]
        assert verify(ledger, desk.artifacts).problems == ()


def test_an_answer_that_the_campaign_took_stays_taken(tmp_path: Path) -> None:
    """A rater who changes her mind too late is heard and recorded, but the committed round does not open again."""
    pool = blobs()
    with SqlLabelling(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))
        (anna,) = enrolled(desk, "anna")
        told = []

        def first_unusable(given):  # type: ignore[no-untyped-def]
            told.append(given.task)
            return work_of(None, Outcome.UNUSABLE) if len(told) == 1 else truthful(pool)(given)

        drive(tmp_path, desk, Human(), [ScriptedRater(desk, anna, first_unusable)])
        (said,) = [one for one in ledger.submissions("small") if one.outcome is Outcome.UNUSABLE]
        labels = pool.truth(told[0].item).crop(told[0].box)
        late = desk.deliver(anna, said.task, work_of(labels, supersedes=said.id))
        assert (late.created, late.task.state) == (True, "retired")
        assert desk.claim(anna, "small") is None
        assert verify(ledger, desk.artifacts).problems == ()


def test_by_hand_nobody_is_asked(tmp_path: Path) -> None:
    pool = blobs()
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, oracle=Manual().bind(pool))
    assert campaign.run().status == "waiting"
    truth = Simulated().bind(pool)
    while queries := campaign.ask():
        standing = campaign.tell(truth.collect("small", queries))
        assert standing.status in ("running", "done", "waiting")
    assert campaign.run().status == "done"
    assert not Manual().bind(pool).immediate


def test_a_campaign_that_waits_notices_what_came_in(desk: LabellingDesk, tmp_path: Path) -> None:
    pool = blobs()
    oracle = Human(repeat_share=0.0).bind(pool, desk)
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, oracle=oracle)
    rater = ScriptedRater(desk, enrolled(desk, "anna")[0], truthful(pool))
    ended = Event()

    def draw() -> None:
        while not ended.wait(0.01):
            rater.turn(campaign.name)

    thread = Thread(target=draw)
    thread.start()
    try:
        standing = campaign.run(poll=0.01)
    finally:
        ended.set()
        thread.join()
    assert standing.status == "done"
    answers = campaign.parts.ledger.answers(campaign.name)
    assert len(answers) == len(desk.ledger.submissions(campaign.name)) == 10
