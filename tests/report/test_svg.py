"""The SVG writer: round ticks, labels apart, text escaped."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.report import charts, svg
from alframe.report.charts import Series
from alframe.types import Bin

finite = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(finite, st.floats(1e-6, 1e9), st.integers(2, 9))
def test_ticks_are_evenly_spaced_round_and_inside(low: float, extent: float, count: int) -> None:
    high = low + extent
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return
    found = svg.ticks(low, high, count)
    slack = 1e-6 * (high - low) + 1e-9
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert 1 <= len(found) <= 2 * count + 2
    if len(found) > 1:
        step = (found[-1] - found[0]) / (len(found) - 1)
        leading = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(leading - nice) for nice in (1, 2, 2.5, 5, 10)) < 1e-3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.87342, "0.873"),
        (12.37, "12.4"),
        (1250, "1,250"),
        (3.2e6, "3.20 M"),
        (0.00012, "0.00012"),
        (-4.5, "-4.50"),
    ],
)
def test_numbers_read_as_people_write_them(value: float, words: str) -> None:
    assert svg.compact(value) == words


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_are_moved_apart_in_their_order(levels: list[float]) -> None:
    placed = charts._spread(levels, 13, 0, 300)
    assert all(-1e-9 <= level <= 300 + 1e-9 for level in placed)
    ordered = [placed[index] for index in sorted(range(len(levels)), key=lambda index: levels[index])]
    assert all(b - a >= 13 - 1e-9 for a, b in itertools.pairwise(ordered))


def test_a_hostile_name_stays_text() -> None:
    name = "</svg><script>alert('x')</script>\" onload=\"y"
    one = Series(name=name, style="s0", shape=0, points=((0, 1), (1, 2)), tips=(name, name))
    drawn = charts.line_chart([one], title=name, description=name, x_label=name, y_label=name, end_labels=True)
    root = ET.fromstring(drawn)
    assert {element.tag for element in root.iter()} == {"svg", "path", "text"}
    assert name in root.attrib["aria-label"]
    assert {key for element in root.iter() for key in element.attrib} <= {
        "viewBox", "role", "class", "aria-label", "d", "x", "y", "text-anchor", "data-tip", "data-x", "data-y",
    }  # fmt: skip


def test_points_lie_where_the_scale_says() -> None:
    one = Series(name="a", style="s0", shape=0, points=((0.0, 10.0), (4.0, 20.0)), tips=("first", "second"))
    root = ET.fromstring(charts.line_chart([one], title="t", description="d", x_label="x", y_label="y"))
    points = [element for element in root.iter() if "pt" in element.attrib.get("class", "").split()]
    first, second = points
    assert first.attrib["data-tip"] == "first"
    assert float(first.attrib["data-x"]) < float(second.attrib["data-x"])
    assert float(first.attrib["data-y"]) > float(second.attrib["data-y"])  # more is higher up


def test_an_empty_bin_is_no_column_and_a_gap_is_its_distance() -> None:
    bins = [
        Bin(index=0, lower=0.0, upper=0.5, count=0.0, confidence=0.0, correct=0.0),
        Bin(index=1, lower=0.5, upper=1.0, count=10.0, confidence=8.0, correct=6.0),
    ]
    root = ET.fromstring(charts.reliability_diagram(bins, title="t", description="d", style="q0"))
    drawn = [element.attrib for element in root.iter() if element.attrib.get("class") in ("column q0", "gap")]
    assert [one["class"] for one in drawn] == ["column q0", "gap"]
    tip = next(element.attrib["data-tip"] for element in root.iter() if "data-tip" in element.attrib)
    assert tip == "confidence 0.800 · accuracy 0.600 · 100 % of pixels (10)"
