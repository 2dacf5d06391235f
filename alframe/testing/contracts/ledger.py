"""What every :class:`alframe.ports.Ledger` must do. Subclass and give :meth:`LedgerContract.open_ledger`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from alframe.errors import ConflictError, FencedError, InvalidValue, LeaseHeld, NonFiniteError, NotFound
from alframe.ports import Fence, Ledger, Transition
from alframe.testing.contracts.ledger_samples import (
    HOLDER,
    OTHER,
    OpenLedger,
    contents,
    planned,
    sample_answer,
    sample_queries,
    sample_ref,
    start,
    step,
)
from alframe.types import Bin, Box, Confusion, Metric, Phase

__all__ = ["LedgerContract", "contents", "sample_answer", "sample_queries", "sample_ref"]


class LedgerContract:
    """Behaviour promised by the port. `open_ledger` opens the same (at first empty) ledger again each time it is called."""

    @pytest.fixture
    def open_ledger(self) -> OpenLedger:
        """Opens the ledger under test."""
        raise NotImplementedError("give the contract a function that opens a ledger")

    @pytest.fixture
    def ledger(self, open_ledger: OpenLedger) -> Ledger:
        """The ledger, opened once."""
        return open_ledger()

    # -- campaigns

    def test_create_is_idempotent_and_refuses_other_hashes(self, ledger: Ledger) -> None:
        first = ledger.create("c", config="a: ü\n", config_hash="ch", pool_hash="ph")
        assert (first.name, first.config, first.config_hash, first.pool_hash) == ("c", "a: ü\n", "ch", "ph")
        assert (first.epoch, first.holder) == (0, "")
        assert ledger.create("c", config="a: ü\n", config_hash="ch", pool_hash="ph") == first
        with pytest.raises(ConflictError, match="configuration"):
            ledger.create("c", config="a: 2", config_hash="other", pool_hash="ph")
        with pytest.raises(ConflictError, match="pool"):
            ledger.create("c", config="a: ü\n", config_hash="ch", pool_hash="other")
        assert ledger.campaigns() == (first,)

    def test_campaigns_are_listed_oldest_first(self, ledger: Ledger) -> None:
        names = ["z", "a", "m"]
        for name in names:
            ledger.create(name, config="", config_hash="", pool_hash="")
        assert [record.name for record in ledger.campaigns()] == names

    def test_unknown_campaigns_are_named(self, ledger: Ledger) -> None:
        ledger.create("here", config="", config_hash="", pool_hash="")
        lost = Fence(campaign="gone", epoch=1)
        calls: list[Callable[[], object]] = [
            lambda: ledger.campaign("gone"),
            lambda: ledger.claim("gone", holder=HOLDER, lease_seconds=1),
            lambda: ledger.request_stop("gone", "why"),
            lambda: ledger.stop_requested("gone"),
            lambda: ledger.queries("gone"),
            lambda: ledger.answers("gone"),
            lambda: ledger.renew(lost, lease_seconds=1),
            lambda: ledger.begin_round(lost, planned(0)),
        ]
        for call in calls:
            with pytest.raises(NotFound, match=r"gone.*here"):
                call()

    # -- who drives

    def test_one_driver_at_a_time(self, open_ledger: OpenLedger) -> None:
        ledger, other = open_ledger(), open_ledger()
        start(ledger)
        with pytest.raises(LeaseHeld, match=HOLDER):
            other.claim("c", holder=OTHER, lease_seconds=600)
        assert other.campaign("c").holder == HOLDER

    def test_an_expired_lease_can_be_taken_and_the_old_driver_is_fenced(self, open_ledger: OpenLedger) -> None:
        ledger, other = open_ledger(), open_ledger()
        old = start(ledger)
        ledger.renew(old, lease_seconds=0)
        ledger.record_artifact(old, 0, "still/mine", sample_ref(1))
        new = other.claim("c", holder=OTHER, lease_seconds=600)
        assert new.epoch > old.epoch
        before = contents(other)
        queries = sample_queries(2)
        writes: list[Callable[[], object]] = [
            lambda: ledger.renew(old, lease_seconds=600),
            lambda: ledger.release(old, status="done"),
            lambda: ledger.reconfigure(old, config="b", config_hash="b"),
            lambda: ledger.begin_round(old, planned(1)),
            lambda: ledger.record_artifact(old, 0, "key", sample_ref(2)),
            lambda: ledger.advance(
                old, step(Phase.PLANNED, Phase.SELECTED, queries=queries, artifacts={"k": sample_ref(3)})
            ),
        ]
        for write in writes:
            with pytest.raises(FencedError, match=OTHER):
                write()
        assert contents(other) == before

    def test_the_same_holder_may_claim_again(self, ledger: Ledger) -> None:
        first = start(ledger)
        second = ledger.claim("c", holder=HOLDER, lease_seconds=600)
        assert second.epoch > first.epoch
        with pytest.raises(FencedError):
            ledger.renew(first, lease_seconds=1)
        ledger.renew(second, lease_seconds=0)
        assert ledger.claim("c", holder=HOLDER, lease_seconds=600).epoch > second.epoch

    def test_release_records_the_status_and_ends_the_fence(self, ledger: Ledger) -> None:
        fence = start(ledger)
        assert ledger.campaign("c").status == "running"
        ledger.release(fence, status="waiting", reason="for answers")
        ledger.release(fence, status="waiting", reason="for answers")
        record = ledger.campaign("c")
        assert (record.status, record.reason, record.holder) == ("waiting", "for answers", "")
        with pytest.raises(FencedError):
            ledger.begin_round(fence, planned(1))
        ledger.claim("c", holder=OTHER, lease_seconds=600)
        assert (ledger.campaign("c").status, ledger.campaign("c").reason) == ("running", "")

    def test_claims_need_a_name_and_a_length(self, ledger: Ledger) -> None:
        ledger.create("c", config="", config_hash="", pool_hash="")
        for holder, seconds in (("", 1.0), (HOLDER, -1.0)):
            with pytest.raises(InvalidValue):
                ledger.claim("c", holder=holder, lease_seconds=seconds)
        with pytest.raises(NonFiniteError):
            ledger.claim("c", holder=HOLDER, lease_seconds=float("nan"))

    def test_stop_request_reaches_the_driver_and_is_cleared_by_claim(self, open_ledger: OpenLedger) -> None:
        driver, person = open_ledger(), open_ledger()
        fence = start(driver)
        assert driver.stop_requested("c") is None
        person.request_stop("c", "lunch")
        assert driver.stop_requested("c") == "lunch"
        driver.release(fence, status="stopped", reason="lunch")
        driver.claim("c", holder=HOLDER, lease_seconds=1)
        assert driver.stop_requested("c") is None

    def test_reconfigure(self, ledger: Ledger) -> None:
        fence = start(ledger)
        ledger.reconfigure(fence, config="a: 2", config_hash="new")
        record = ledger.campaign("c")
        assert (record.config, record.config_hash, record.pool_hash) == ("a: 2", "new", "ph")

    def test_exactly_one_of_many_claims_wins(self, open_ledger: OpenLedger) -> None:
        open_ledger().create("c", config="", config_hash="", pool_hash="")
        ledgers = [open_ledger() for _ in range(6)]

        def claim(number: int) -> Fence | None:
            try:
                return ledgers[number].claim("c", holder=f"elsewhere:{number}:x", lease_seconds=600)
            except LeaseHeld:
                return None

        with ThreadPoolExecutor(len(ledgers)) as pool:
            fences = [fence for fence in pool.map(claim, range(len(ledgers))) if fence is not None]
        assert [fence.epoch for fence in fences] == [1]

    # -- rounds

    def test_begin_round_returns_the_existing_row(self, ledger: Ledger) -> None:
        fence = start(ledger, rounds=0)
        last = replace(planned(0), acquire=False, reason="budget spent")
        assert ledger.begin_round(fence, last) == last
        ledger.advance(fence, step(Phase.PLANNED, Phase.TRAINED, version="v"))
        again = ledger.begin_round(fence, planned(0))
        assert again == replace(last, phase=Phase.TRAINED, version="v")
        assert ledger.rounds("c") == (again,)
        with pytest.raises(InvalidValue):
            ledger.begin_round(fence, replace(planned(1), phase=Phase.SCORED))

    def test_the_first_artifact_wins(self, ledger: Ledger) -> None:
        fence = start(ledger)
        assert ledger.record_artifact(fence, 0, "checkpoint/0/1", sample_ref(1)) == sample_ref(1)
        assert ledger.record_artifact(fence, 0, "checkpoint/0/1", sample_ref(2)) == sample_ref(1)
        huge = replace(sample_ref(3), size=2**40)
        ledger.record_artifact(fence, 0, "checkpoint/0/0", huge)
        assert ledger.artifacts("c", 0) == {"checkpoint/0/0": huge, "checkpoint/0/1": sample_ref(1)}
        assert ledger.artifacts("c", 5) == {}
        with pytest.raises(NotFound, match="round 7"):
            ledger.record_artifact(fence, 7, "k", sample_ref(1))

    def test_recomputed_bytes_take_the_place_of_damaged_ones(self, open_ledger: OpenLedger) -> None:
        ledger = open_ledger()
        fence, old, new = start(ledger, rounds=2), sample_ref(1, "checkpoint"), sample_ref(2, "checkpoint")
        for round, key in ((0, "checkpoint/0/0"), (0, "member/0"), (1, "member/0")):
            ledger.record_artifact(fence, round, key, old)
        ledger.record_artifact(fence, 1, "member/1", replace(old, kind="other"))
        assert ledger.rename_artifact(fence, old, new) == 3
        assert ledger.artifacts("c", 0) == {"checkpoint/0/0": new, "member/0": new}
        assert ledger.artifacts("c", 1) == {"member/0": new, "member/1": replace(old, kind="other")}
        with pytest.raises(InvalidValue):
            ledger.rename_artifact(fence, new, sample_ref(3, "scores"))
        shown, better = sample_ref(4, "prefill"), sample_ref(5, "prefill")
        queries = tuple(replace(query, prefill=shown) for query in sample_queries(2))
        ledger.advance(fence, Transition(round=0, source=Phase.PLANNED, target=Phase.ASKED, queries=queries))
        assert ledger.rename_artifact(fence, shown, better) == 2
        assert {query.prefill for query in ledger.queries("c")} == {better}
        ledger.release(fence, status="stopped")
        ledger.claim("c", holder=OTHER, lease_seconds=600)
        with pytest.raises(FencedError):
            ledger.rename_artifact(fence, better, shown)

    def test_all_that_rows_name_is_known_and_labels_are_never_renamed(self, ledger: Ledger) -> None:
        assert (ledger.named(), ledger.clock() > 1e9) == (frozenset(), True)
        fence, other = start(ledger), start(ledger, name="d")
        asked = replace(sample_queries(1)[0], prefill=sample_ref(8, "prefill"))
        answer = sample_answer(asked, sequence=0, round=0)
        ledger.record_artifact(other, 0, "manifest", sample_ref(7, "manifest"))
        step = Transition(round=0, source=Phase.PLANNED, target=Phase.LABELLED, queries=(asked,), answers=(answer,))
        ledger.advance(fence, step)
        assert {sample_ref(number).sha256 for number in (7, 8, answer.sequence)} <= ledger.named()
        for kind in ("mask", "answer"):
            with pytest.raises(InvalidValue, match="no label"):
                ledger.rename_artifact(fence, sample_ref(0, kind), sample_ref(9, kind))
        assert ledger.answers("c") == (answer,)

    def test_advance_writes_all_rows_and_they_come_back_equal(self, ledger: Ledger) -> None:
        fence = start(ledger)
        queries = sample_queries(7) + tuple(
            replace(query, rank=query.rank + 7) for query in sample_queries(4, item="volume", axes=3)
        )
        answers = tuple(sample_answer(q, sequence=n, round=0, labelled=n % 3 > 0) for n, q in enumerate(queries))
        metrics = (
            Metric(name="ece", value=None, convention="15 bins", scope="test"),
            Metric(name="dice", value=1 / 3, convention="pooled", label="gland", statistic="p10", scope="val"),
            Metric(name="dice", value=5e-324, convention="pooled", scope="val"),
        )
        bins = tuple(
            Bin(index=k, lower=k / 3, upper=(k + 1) / 3, count=2.0**60, confidence=1e300, correct=0.5, scope="test")
            for k in (2, 0, 1)
        )
        confusions = tuple(
            Confusion(rater=rater, agreed=agreed, chosen=1, pixels=2**40 + agreed)
            for rater in ("bö", "ann")
            for agreed in (1, 0)
        )
        ledger.advance(
            fence,
            step(
                Phase.PLANNED,
                Phase.LABELLED,
                confusions=confusions,
                seconds=0.1 + 0.2,
                queries=queries[::-1],
                answers=answers[::-1],
                metrics=metrics,
                bins=bins,
                artifacts={"scores/0": sample_ref(9)},
                version="v1",
            ),
        )
        assert ledger.queries("c") == queries
        assert ledger.answers("c") == answers
        assert ledger.metrics("c") == tuple((0, metrics[k]) for k in (0, 2, 1))
        assert ledger.metrics("c", overall=True) == tuple((0, metrics[k]) for k in (0, 2))
        assert ledger.counts("c") == {0: (len(queries), len(answers))}
        assert ledger.bins("c") == tuple((0, bins[k]) for k in (1, 2, 0))
        assert ledger.confusions("c") == tuple((0, confusions[k]) for k in (3, 2, 1, 0))
        assert ledger.seconds("c") == ((0, Phase.LABELLED, 0.1 + 0.2),)
        assert ledger.artifacts("c", 0) == {"scores/0": sample_ref(9)}
        assert ledger.rounds("c") == (replace(planned(0), phase=Phase.LABELLED, version="v1"),)

    def test_numpy_scalars_are_kept_as_numbers(self, ledger: Ledger) -> None:
        fence = start(ledger)
        (query,) = sample_queries(1)
        box = Box(start=(np.int64(0), np.int32(0)), stop=(np.int64(3), np.int64(2)))  # type: ignore[arg-type]
        odd = replace(query, box=box, rank=np.int64(0), score=np.float64(1 / 3), item=np.str_(query.item))  # type: ignore[arg-type]
        metric = Metric(name="m", value=np.float32(0.25), convention="x")  # type: ignore[arg-type]
        ledger.advance(fence, step(Phase.PLANNED, Phase.SELECTED, queries=(odd,), metrics=(metric,)))
        assert ledger.queries("c") == (query,)
        assert ledger.metrics("c") == ((0, Metric(name="m", value=0.25, convention="x")),)

    def test_a_repeated_step_changes_nothing(self, ledger: Ledger) -> None:
        fence = start(ledger)
        queries = sample_queries(3)
        taken = step(Phase.PLANNED, Phase.SELECTED, queries=queries, seconds=1.0, artifacts={"a": sample_ref(1)})
        ledger.advance(fence, taken)
        before = contents(ledger)
        ledger.advance(fence, taken)
        other = replace(taken, queries=sample_queries(5), seconds=9.0, artifacts={"b": sample_ref(2)}, version="x")
        ledger.advance(fence, other)
        assert contents(ledger) == before

    def test_steps_from_another_phase_are_refused(self, ledger: Ledger) -> None:
        fence = start(ledger)
        ledger.advance(fence, step(Phase.PLANNED, Phase.TRAINED))
        before = contents(ledger)
        for source, target in ((Phase.SCORED, Phase.SELECTED), (Phase.SELECTED, Phase.ASKED)):
            with pytest.raises(ConflictError, match="trained"):
                ledger.advance(fence, step(source, target, queries=sample_queries(1)))
        with pytest.raises(InvalidValue):
            ledger.advance(fence, step(Phase.TRAINED, Phase.PLANNED))
        with pytest.raises(NotFound):
            ledger.advance(fence, replace(step(Phase.PLANNED, Phase.TRAINED), round=4))
        assert contents(ledger) == before

    def test_prefills_arrive_when_the_queries_are_asked(self, ledger: Ledger) -> None:
        fence = start(ledger)
        queries = sample_queries(4)
        ledger.advance(fence, step(Phase.PLANNED, Phase.SELECTED, queries=queries))
        filled = tuple(replace(q, prefill=sample_ref(n, "prefill")) for n, q in enumerate(queries))
        ledger.advance(fence, step(Phase.SELECTED, Phase.ASKED, queries=filled[::-1]))
        assert ledger.queries("c") == filled
        assert ledger.queries("c", round=0) == filled
        assert ledger.queries("c", round=1) == ()

    def test_a_query_is_recorded_once_in_a_campaign(self, ledger: Ledger) -> None:
        fence = start(ledger, rounds=2)
        queries = sample_queries(3)
        ledger.advance(fence, step(Phase.PLANNED, Phase.SELECTED, queries=queries))
        before = contents(ledger)
        changed = replace(queries[0], score=0.5)
        with pytest.raises(ConflictError):
            ledger.advance(fence, step(Phase.SELECTED, Phase.ASKED, queries=(changed,)))
        second = Transition(round=1, source=Phase.PLANNED, target=Phase.SELECTED, queries=(queries[1],))
        with pytest.raises(ConflictError):
            ledger.advance(fence, second)
        assert contents(ledger) == before

    def test_a_refused_step_writes_nothing_at_all(self, ledger: Ledger) -> None:
        fence = start(ledger)
        before = contents(ledger)
        (query,) = sample_queries(1)
        stray = sample_answer(replace(query, id="f" * 32), sequence=0, round=0)
        bad: list[tuple[type[Exception], Transition]] = [
            (ConflictError, step(Phase.PLANNED, Phase.LABELLED, queries=(query,), answers=(stray,))),
            (NonFiniteError, step(Phase.PLANNED, Phase.SELECTED, queries=(replace(query, score=float("nan")),))),
            (NonFiniteError, step(Phase.PLANNED, Phase.TRAINED, seconds=float("inf"))),
            (
                NonFiniteError,
                step(
                    Phase.PLANNED,
                    Phase.TRAINED,
                    artifacts={"k": sample_ref(1)},
                    metrics=(Metric(name="m", value=float("nan"), convention=""),),
                ),
            ),
        ]
        for expected, transition in bad:
            with pytest.raises(expected):
                ledger.advance(fence, transition)
            assert contents(ledger) == before

    def test_an_artifact_of_a_step_must_not_contradict_the_recorded_one(self, ledger: Ledger) -> None:
        fence = start(ledger)
        ledger.record_artifact(fence, 0, "k", sample_ref(1))
        with pytest.raises(ConflictError):
            ledger.advance(fence, step(Phase.PLANNED, Phase.TRAINED, artifacts={"k": sample_ref(2)}))
        assert ledger.rounds("c") == (planned(0),)
        ledger.advance(fence, step(Phase.PLANNED, Phase.TRAINED, artifacts={"k": sample_ref(1)}))

    def test_metrics_and_bins_are_replaced_by_a_later_phase(self, ledger: Ledger) -> None:
        fence = start(ledger)
        metric = Metric(name="dice", value=0.5, convention="pooled", scope="test")
        part = Bin(index=0, lower=0.0, upper=1.0, count=1.0, confidence=0.5, correct=1.0, scope="test")
        ledger.advance(fence, step(Phase.PLANNED, Phase.TRAINED, metrics=(metric, metric), bins=(part,)))
        newer, later = replace(metric, value=0.75), replace(part, count=2.0)
        ledger.advance(fence, step(Phase.TRAINED, Phase.SCORED, metrics=(newer,), bins=(later,)))
        assert ledger.metrics("c") == ((0, newer),)
        assert ledger.bins("c") == ((0, later),)
        with pytest.raises(InvalidValue, match="metrics"):
            ledger.advance(fence, step(Phase.SCORED, Phase.SELECTED, metrics=(metric, newer)))

    def test_answers_before_a_round(self, ledger: Ledger) -> None:
        fence = start(ledger, rounds=3)
        queries = sample_queries(6)
        for index in range(3):
            batch = tuple(replace(query, rank=n) for n, query in enumerate(queries[2 * index : 2 * index + 2]))
            answers = tuple(sample_answer(q, sequence=2 * index + n, round=index) for n, q in enumerate(batch))
            step_ = Transition(round=index, source=Phase.PLANNED, target=Phase.LABELLED, queries=batch, answers=answers)
            ledger.advance(fence, step_)
        assert [answer.sequence for answer in ledger.answers("c")] == [0, 1, 2, 3, 4, 5]
        assert [answer.sequence for answer in ledger.answers("c", before_round=2)] == [0, 1, 2, 3]
        assert ledger.answers("c", before_round=0) == ()

    def test_campaigns_do_not_mix(self, ledger: Ledger) -> None:
        for name in ("c", "d"):
            fence = start(ledger, name=name)
            queries = sample_queries(2, campaign=name)
            ledger.advance(
                fence, step(Phase.PLANNED, Phase.SELECTED, queries=queries, artifacts={"k": sample_ref(len(name))})
            )
        assert [query.id for query in ledger.queries("c")] == [query.id for query in sample_queries(2)]
        assert [query.id for query in ledger.queries("d")] == [query.id for query in sample_queries(2, campaign="d")]

    def test_another_opening_sees_what_was_committed(self, open_ledger: OpenLedger) -> None:
        ledger = open_ledger()
        fence = start(ledger)
        ledger.advance(fence, step(Phase.PLANNED, Phase.SELECTED, queries=sample_queries(5)))
        assert contents(open_ledger()) == contents(ledger)
