"""Values validate at birth and round-trip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe import seeding
from alframe.errors import DataError, InvalidValue, Problem
from alframe.types import (
    Answer,
    Box,
    Candidates,
    Intensities,
    ItemInfo,
    LabelMap,
    Outcome,
    Phase,
    Split,
    display_window,
    query_id,
)

corner = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6))


def as_box(values: tuple[int, int, int, int]) -> Box:
    y, x, h, w = values
    return Box(start=(y, x), stop=(y + h, x + w))


@given(corner, corner)
def test_overlap_counts_the_common_pixels(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> None:
    first, second = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    first[as_box(a).slices] = True
    second[as_box(b).slices] = True
    assert as_box(a).overlap(as_box(b)) == np.count_nonzero(first & second)
    assert as_box(a).size == np.count_nonzero(first)


@pytest.mark.parametrize(
    ("start", "stop"), [((0,), (0,)), ((2, 2), (1, 3)), ((-1, 0), (1, 1)), ((0, 0), (1,)), ((), ())]
)
def test_a_box_that_encloses_nothing_is_refused(start: tuple[int, ...], stop: tuple[int, ...]) -> None:
    with pytest.raises(InvalidValue):
        Box(start=start, stop=stop)


def test_an_answer_carries_a_map_exactly_when_its_outcome_does() -> None:
    labels = LabelMap.blank((2, 2))
    Answer(query="q", rater="a", outcome=Outcome.LABELED, labels=labels)
    with pytest.raises(InvalidValue):
        Answer(query="q", rater="a", outcome=Outcome.LABELED)
    with pytest.raises(InvalidValue):
        Answer(query="q", rater="a", outcome=Outcome.SKIPPED, labels=labels)


@given(st.integers(0, 5), st.integers(2, 3))
def test_candidates_round_trip_through_columns(rows: int, axes: int) -> None:
    rng = np.random.default_rng(rows)
    start = rng.integers(0, 9, (rows, axes)).astype(np.int32)
    table = Candidates(
        item=np.array([f"i{n}" for n in range(rows)], np.str_),
        start=start,
        stop=start + 3,
        score=rng.normal(size=rows),
        stratum=np.zeros(rows, np.int8),
    )
    again = Candidates.from_columns(table.columns())
    for name in Candidates.__slots__:
        assert np.array_equal(getattr(again, name), getattr(table, name))


def test_identities_do_not_run_into_each_other() -> None:
    assert seeding.derive("ab", "c") != seeding.derive("a", "bc")
    assert seeding.derive("1") != seeding.derive(1)
    assert 0 <= seeding.derive("x") < 2**63
    box = Box.whole((2, 2))
    assert query_id("a", "b/c", box) != query_id("a/b", "c", box)


def test_phases_are_in_the_order_of_the_loop() -> None:
    assert [phase.order for phase in Phase] == list(range(9))
    assert Phase.PLANNED.order < Phase.TRAINED.order < Phase.DONE.order


def test_problems_are_all_told_at_once() -> None:
    error = DataError(
        [Problem(where="a", expected="x", found="y", hint="Do z"), Problem(where="b", expected="u", found="v")]
    )
    assert str(error) == "a: expected x, found y. Do z\nb: expected u, found v"
    assert isinstance(error, ValueError)


def _item(channels: int, dtype: str) -> ItemInfo:
    return ItemInfo(id="one", group="one", split=Split.TRAIN, shape=(4, 4), channels=channels, dtype=dtype)


def test_colours_keep_their_light_and_what_is_grey_is_stretched_over_the_channels_that_are_shown() -> None:
    ranges = tuple(Intensities(minimum=n, low=n + 1, high=n + 10, maximum=n + 20) for n in (7.0, 5.0, 9.0, 0.0))
    assert display_window(_item(3, "uint8"), ranges[:3]) == (0.0, 255.0)
    assert display_window(_item(3, "uint16"), ranges[:3]) == (6.0, 19.0)
    assert display_window(_item(1, "uint8"), ranges[:1]) == (8.0, 17.0)
    assert display_window(_item(4, "float32"), ranges) == (8.0, 17.0)
