"""Simulated raters keep the oracle's contract; exact ones equal the truth, noisy ones err as much as they are told."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from alframe.errors import InvalidValue, NotFound
from alframe.oracles import RANDOM, Simulated, SimulatedOracle
from alframe.ports import Oracle, Pool
from alframe.testing.contracts.oracle import CAMPAIGN, OracleContract, a_query, same_answer, three_raters
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import Answer, Box, LabelMap, Outcome, Query


class TestExact(OracleContract):
    def make(self, pool: Pool) -> Oracle:
        return SimulatedOracle(pool)


class TestRandomRater(OracleContract):
    def make(self, pool: Pool) -> Oracle:
        return Simulated(rater=RANDOM, seed=3).bind(pool)


class TestNoisyAndUnwilling(OracleContract):
    def make(self, pool: Pool) -> Oracle:
        return Simulated(boundary_shift=1.5, miss=0.3, refuse=0.4, unusable=0.2, seed=5).bind(pool)


def pool_of(shape: tuple[int, ...], truth: dict[str, LabelMap], name: str = "a") -> MemoryPool:
    return MemoryPool(
        [pool_item(name, np.zeros((1, *shape), np.float32), truth)], classes=("background", "gland", "tumour")
    )


def ask_one(pool: Pool, parameters: Simulated, query: Query) -> Answer:
    (answer,) = parameters.bind(pool).collect(CAMPAIGN, [query])
    return answer


def disks(count: int, side: int = 200) -> LabelMap:
    """`count` well separated disks of radius 12, each an object of class 1, on a square of `side`."""
    objects = np.zeros((side, side), np.int32)
    rows, columns = np.mgrid[:side, :side]
    for n, (i, j) in enumerate(itertools.islice(itertools.product(range(20, side, 40), repeat=2), count)):
        objects[(rows - i) ** 2 + (columns - j) ** 2 <= 144] = n + 1
    return LabelMap(classes=(objects > 0).astype(np.uint8), instances=objects)


WHOLE = a_query("a", (0, 0), (200, 200))


@given(st.data())
def test_an_exact_answer_is_the_truth_inside_the_box(data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from([2, 3]))
    pool = MemoryPool(three_raters(axes), classes=("background", "gland", "tumour"))
    item = data.draw(st.sampled_from(["left", "right"]))
    info = pool.info(item)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in info.shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, info.shape, strict=True))
    rater = data.draw(st.sampled_from([None, *info.raters]))
    answer = ask_one(pool, Simulated(rater=rater), a_query(item, start, stop))
    truth = pool.truth(item, rater)
    index = tuple(map(slice, start, stop))
    assert answer.rater == (rater or "anna")
    assert answer.labels is not None
    assert np.array_equal(answer.labels.classes, truth.classes[index])
    assert answer.labels.instances is not None
    assert truth.instances is not None
    assert np.array_equal(answer.labels.instances, truth.instances[index])
    assert (answer.outcome is Outcome.EMPTY_CONFIRMED) == (not truth.classes[index].any())


def test_replicas_come_from_different_raters_in_order() -> None:
    pool = MemoryPool(three_raters(2), classes=("background", "gland", "tumour"))
    query = a_query("left", (0, 0), (5, 5), replicas=3)
    answers = Simulated().bind(pool).collect(CAMPAIGN, [query])
    assert [answer.rater for answer in answers] == ["anna", "bo", "cy"]
    addressed = replace(query, raters=("cy", "bo"), replicas=2)
    assert [answer.rater for answer in Simulated().bind(pool).collect(CAMPAIGN, [addressed])] == ["bo", "cy"]


def test_random_raters_are_drawn_evenly_and_by_the_query_alone() -> None:
    pool = MemoryPool(three_raters(2), classes=("background", "gland", "tumour"))
    queries = [a_query("left", (i, j), (i + 1, j + 1)) for i in range(24) for j in range(24)]
    oracle = Simulated(rater=RANDOM, seed=1).bind(pool)
    raters = {answer.query: answer.rater for answer in oracle.collect(CAMPAIGN, queries)}
    assert all(150 < count < 234 for count in Counter(raters.values()).values())  # 192 ± 42: 3.7 standard deviations
    backwards = {answer.query: answer.rater for answer in oracle.collect(CAMPAIGN, queries[::-1])}
    assert raters == backwards
    other = {
        answer.query: answer.rater for answer in Simulated(rater=RANDOM, seed=2).bind(pool).collect(CAMPAIGN, queries)
    }
    assert raters != other


def test_answers_follow_the_queries_and_count_each_once() -> None:
    pool = MemoryPool(three_raters(2), classes=("background", "gland", "tumour"))
    one, two = a_query("left", (0, 0), (5, 5)), a_query("right", (0, 0), (5, 5), replicas=2)
    oracle = SimulatedOracle(pool)
    assert [answer.query for answer in oracle.collect(CAMPAIGN, [two, one, two])] == [two.id, two.id, one.id]


@pytest.mark.parametrize(("shift", "axes"), [(1.0, 2), (3.0, 2), (2.0, 3)])
def test_boundaries_are_off_by_what_was_asked(shift: float, axes: int) -> None:
    """A straight edge: the height of the drawn edge over the true one has the root mean square `shift`."""
    shape = (64,) * axes if axes == 3 else (240,) * axes
    classes = np.zeros(shape, np.uint8)
    classes[: shape[0] // 2] = 1
    pool = pool_of(shape, {"anna": LabelMap(classes=classes)})
    heights = []
    for seed in range(12):
        answer = ask_one(pool, Simulated(boundary_shift=shift, seed=seed), a_query("a", (0,) * axes, shape))
        assert answer.labels is not None
        assert answer.labels.instances is None
        heights.append(answer.labels.classes.sum(axis=0, dtype=np.int64) - shape[0] // 2)
    measured = float(np.sqrt(np.mean(np.square(heights))))
    assert 0.6 * shift < measured < 1.5 * shift


def test_a_bent_boundary_stays_one_boundary() -> None:
    """Smooth: disks stay connected, keep their numbers and about their size, and no class appears from nowhere."""
    truth = disks(25)
    pool = pool_of((200, 200), {"anna": truth})
    answer = ask_one(pool, Simulated(boundary_shift=2.0, seed=1), WHOLE)
    assert answer.labels is not None
    drawn = answer.labels.instances
    assert drawn is not None
    assert not np.array_equal(drawn, truth.instances)
    assert set(np.unique(drawn)) == set(range(26))
    for number in range(1, 26):
        _, pieces = ndimage.label(drawn == number, np.ones((3, 3)))
        assert pieces == 1
        assert 0.5 < np.count_nonzero(drawn == number) / np.count_nonzero(truth.instances == number) < 1.7
    assert np.array_equal(drawn > 0, answer.labels.classes == 1)


def test_what_is_not_annotated_stays_so_under_noise() -> None:
    classes = np.full((40, 40), 255, np.uint8)
    pool = pool_of((40, 40), {"anna": LabelMap(classes=classes)})
    answer = ask_one(pool, Simulated(boundary_shift=2.0, miss=0.5), a_query("a", (0, 0), (40, 40)))
    assert answer.outcome is Outcome.AMBIGUOUS
    assert answer.labels is None
    half = classes.copy()
    half[:, :20] = 1
    missed = ask_one(
        pool_of((40, 40), {"anna": LabelMap(classes=half)}), Simulated(miss=1.0), a_query("a", (0, 0), (40, 40))
    )
    assert missed.outcome is Outcome.EMPTY_CONFIRMED
    assert missed.labels is not None
    assert np.array_equal(missed.labels.classes, np.where(half == 1, 0, 255))


@pytest.mark.parametrize("numbered", [True, False])
def test_whole_objects_are_missed_at_the_rate_asked_for(numbered: bool) -> None:
    """Against a count: 25 disks, 40 seeds, and none is missed in part."""
    truth = disks(25)
    given_truth = truth if numbered else LabelMap(classes=truth.classes)
    pool = pool_of((200, 200), {"anna": given_truth})
    missed = 0
    assert truth.instances is not None
    for seed in range(40):
        answer = ask_one(pool, Simulated(miss=0.3, seed=seed), WHOLE)
        assert answer.labels is not None
        kept = set(np.unique(truth.instances[answer.labels.classes == 1]))
        expected = np.isin(truth.instances, list(kept))
        assert np.array_equal(answer.labels.classes == 1, expected)
        if numbered:
            assert np.array_equal(answer.labels.instances, np.where(expected, truth.instances, 0))
        missed += 25 - len(kept)
    assert abs(missed / 1000 - 0.3) < 0.06  # 4 standard deviations


def test_touching_objects_of_two_classes_are_missed_apart() -> None:
    classes = np.zeros((10, 10), np.uint8)
    classes[:, :5], classes[:, 5:] = 1, 2
    pool = pool_of((10, 10), {"anna": LabelMap(classes=classes)})
    seen = set()
    for seed in range(60):
        answer = ask_one(pool, Simulated(miss=0.5, seed=seed), a_query("a", (0, 0), (10, 10)))
        assert answer.labels is not None
        seen.add(tuple(int(value) for value in np.unique(answer.labels.classes)))
    assert seen == {(0,), (0, 1), (0, 2), (1, 2)}


def test_some_queries_are_refused_and_some_items_unusable() -> None:
    items = [
        pool_item(f"i{n}", np.zeros((1, 8, 8), np.float32), {"anna": LabelMap(classes=np.ones((8, 8), np.uint8))})
        for n in range(200)
    ]
    pool = MemoryPool(items)
    queries = [a_query(f"i{n}", start, (8, 8)) for n in range(200) for start in ((0, 0), (4, 4))]
    answers = Simulated(refuse=0.2, unusable=0.1, seed=4).bind(pool).collect(CAMPAIGN, queries)
    outcomes = [answer.outcome for answer in answers]
    # of an item, both queries are unusable or none is
    pairs = [(outcomes[k] is Outcome.UNUSABLE, outcomes[k + 1] is Outcome.UNUSABLE) for k in range(0, 400, 2)]
    assert {first == second for first, second in pairs} == {True}
    assert abs(sum(first for first, _ in pairs) / 200 - 0.1) < 0.085
    usable = [outcome for outcome in outcomes if outcome is not Outcome.UNUSABLE]
    assert abs(usable.count(Outcome.SKIPPED) / len(usable) - 0.2) < 0.085
    assert set(usable) == {Outcome.SKIPPED, Outcome.LABELED}
    assert all(answer.reason for answer in answers if answer.labels is None)


def test_noise_depends_on_seed_query_and_rater_only() -> None:
    pool = MemoryPool(three_raters(2), classes=("background", "gland", "tumour"))
    query = a_query("left", (0, 0), (20, 20), replicas=3)
    said = Simulated(boundary_shift=2.0, miss=0.2, seed=8)
    first = said.bind(pool).collect(CAMPAIGN, [query])
    again = said.bind(pool).collect("another word", [a_query("right", (0, 0), (9, 9)), query])[1:]
    assert all(map(same_answer, first, again))
    other = replace(said, seed=9).bind(pool).collect(CAMPAIGN, [query])
    assert not any(map(same_answer, first, other))


@pytest.mark.parametrize(
    ("query", "parameters", "error", "message"),
    [
        (a_query("gone", (0, 0), (1, 1)), Simulated(), NotFound, "gone"),
        (a_query("left", (20, 20), (25, 24)), Simulated(), InvalidValue, "leaves item left"),
        (a_query("left", (0, 0, 0), (1, 1, 1)), Simulated(), InvalidValue, "leaves item left"),
        (a_query("left", (0, 0), (1, 1), replicas=4), Simulated(), InvalidValue, "wants 4 answers"),
        (a_query("left", (0, 0), (1, 1), replicas=2), Simulated(rater="bo"), InvalidValue, r"only \['bo'\]"),
        (a_query("left", (0, 0), (1, 1)), Simulated(rater="dora"), NotFound, "rater 'dora' is not among"),
        (replace(a_query("left", (0, 0), (1, 1)), raters=("dora",)), Simulated(), NotFound, "no truth by dora"),
        (a_query("mute", (0, 0), (1, 1)), Simulated(), NotFound, "item mute has no truth by anybody"),
    ],
)
def test_what_cannot_be_answered_is_refused_when_asked(
    query: Query, parameters: Simulated, error: type[Exception], message: str
) -> None:
    mute = pool_item("mute", np.zeros((1, 4, 4), np.float32))
    pool = MemoryPool([*three_raters(2), mute], classes=("background", "gland", "tumour"))
    with pytest.raises(error, match=message):
        parameters.bind(pool).ask(CAMPAIGN, [query])


@pytest.mark.parametrize(
    "wrong",
    [
        {"miss": 1.1},
        {"refuse": -0.1},
        {"unusable": float("nan")},
        {"boundary_shift": float("inf")},
        {"boundary_shift": -1},
    ],
)
def test_parameters_are_checked_at_birth(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(wrong))):
        Simulated(**wrong)  # type: ignore[arg-type]


def test_a_box_at_the_edge_is_noisy_too() -> None:
    """The field may point outside the box, never outside the item."""
    truth = disks(25)
    pool = pool_of((200, 200), {"anna": truth})
    box = Box(start=(180, 150), stop=(200, 200))
    answer = ask_one(pool, Simulated(boundary_shift=3.0), a_query("a", box.start, box.stop))
    assert answer.labels is not None
    assert answer.labels.shape == (20, 50)
