"""When another rater is asked, and which one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import InvalidValue
from alframe.ports import Moments
from alframe.strategies.opinions import (
    Opinions,
    RaterRecord,
    closeness,
    contested,
    next_raters,
    opinion_rows,
    predicted_disagreement,
)
from alframe.types import Box, LabelMap


def maps(*rows: list[int]) -> np.ndarray:
    return np.array([[row] for row in rows], np.uint8)


def sure(p1: list[float]) -> np.ndarray:
    p = np.array([p1])
    return np.stack([1 - p, p])


def test_a_vote_is_close_where_raters_are_split_or_contradict_a_sure_model():
    one = closeness(sure([1.0, 0.0, 0.5]), maps([1, 1, 1]))
    assert one[0] == pytest.approx([0.0, 1.0, 0.75])
    two = closeness(sure([0.5, 0.5, 1.0]), maps([1, 1, 1], [0, 1, 0]))
    assert two[0] == pytest.approx([1.0, 1 - 4 / 9, 1 - 1 / 9])
    assert closeness(sure([0.5]), maps([255], [255]))[0] == pytest.approx([0.0])
    assert closeness(sure([0.5]), maps([255], [1]))[0] == pytest.approx([0.75])


@given(st.integers(1, 6), st.floats(0.01, 0.99), st.integers(0, 9))
def test_more_raters_of_one_mind_close_the_question(count, p, seed):
    kept = np.random.default_rng(seed).integers(0, 2)
    levels = [closeness(sure([p]), maps(*[[int(kept)]] * n))[0, 0] for n in (count, count + 1)]
    assert levels[1] < levels[0]


def test_worth_is_counted_where_raters_are_expected_to_differ():
    mean, votes = sure([0.5, 0.5, 0.5]), maps([1, 1, 255])
    worth, level = contested(mean, np.array([[0.0, 0.8, 0.9]]), votes)
    assert worth == pytest.approx(0.8 * 0.75)
    assert level == pytest.approx(0.75)
    assert contested(mean, np.zeros((1, 3)), votes) == (0.0, 0.0)


def moments(p1: np.ndarray, v: np.ndarray) -> Moments:
    p = np.stack([1 - p1, p1])
    return Moments(count=1, probability=p, entropy=np.zeros(p1.shape), disagreement=v)


def test_rows_leave_out_decided_boxes_and_those_with_enough_raters():
    shape = (4, 8)
    left, right = Box(start=(0, 0), stop=(4, 4)), Box(start=(0, 4), stop=(4, 8))
    p = np.full(shape, 0.5)
    p[:, 4:] = 1.0
    first, second = LabelMap.blank(shape), LabelMap.blank(shape)
    first.classes[:] = 1
    second.classes[:, :4] = 0
    found = moments(p, np.full(shape, 0.5))
    rows = opinion_rows("a", found, {"x": first, "y": second}, [left, right, left], most=3, close=0.5)
    assert [rows.box(row) for row in range(len(rows))] == [left]  # on the right the rater and a sure model agree
    assert rows.score[0] == pytest.approx(16 * 0.5 * 1.0)
    assert len(opinion_rows("a", found, {"x": first, "y": second}, [left], most=2, close=0.5)) == 0
    assert len(opinion_rows("a", found, {}, [left], most=3, close=0.0)) == 0
    assert opinion_rows("a", found, {}, [], most=3, close=0.0).start.shape == (0, 2)


def test_disagreement_is_what_the_learner_says_else_the_aleatoric_part_else_all_variance():
    p1 = np.full((2, 2), 0.5)
    p = np.stack([1 - p1, p1])
    said = Moments(count=2, probability=2 * p, entropy=p1, disagreement=np.full((2, 2), 0.6))
    assert predicted_disagreement(said) == pytest.approx(np.full((2, 2), 0.3))
    parts = Moments(count=2, probability=2 * p, entropy=p1, squares=2 * p**2, noise=np.zeros_like(p))
    assert predicted_disagreement(parts) == pytest.approx(np.ones((2, 2)))  # the passes agree: all of it is the raters'
    plain = Moments(count=1, probability=p, entropy=p1, squares=p**2, noise=np.zeros_like(p))
    assert predicted_disagreement(plain) == pytest.approx(np.ones((2, 2)))


RECORDS = {
    "ann": RaterRecord(answers=9, boxes=9, agreement=0.9),
    "bob": RaterRecord(answers=4, boxes=9, agreement=0.7),
    "cy": RaterRecord(answers=7, boxes=1, agreement=0.99),
}


def test_need_takes_whoever_answered_least_and_quality_whoever_agrees_best_after_a_trial():
    able = ("ann", "bob", "cy", "new")
    assert next_raters(able, RECORDS, count=3, how="need", trial=0, seed=1) == ("new", "bob", "cy")
    assert next_raters(able, RECORDS, count=4, how="quality", trial=5, seed=1) == ("new", "cy", "ann", "bob")
    assert next_raters(able, RECORDS, count=2, how="quality", trial=1, seed=1) == ("new", "cy")
    assert next_raters(("bob",), RECORDS, count=2, how="quality", trial=0, seed=1) == ("bob",)
    assert next_raters((), RECORDS, count=1, how="need", trial=0, seed=1) == ()


def test_equals_and_random_are_drawn_from_the_seed_alone():
    able = ("a", "b", "c", "d")
    for how in ("need", "random", "quality"):
        picked = {next_raters(order, {}, count=1, how=how, trial=3, seed=4) for order in (able, able[::-1])}
        assert len(picked) == 1
        assert len({next_raters(able, {}, count=1, how=how, trial=3, seed=n) for n in range(40)}) == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"again": -1}, "again"),
        ({"most": 1}, "most"),
        ({"closeness": 1.5}, "closeness"),
        ({"names": ("a", "a")}, "names"),
        ({"names": ("",)}, "names"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(InvalidValue, match=said):
        Opinions(**fields)
