"""What a person sees: bars on a terminal, plain lines in a log, tables within eighty columns."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from alframe.overview import Overview, RoundRow
from alframe.ports import Observer
from alframe.terminal import RichObserver, duration, key_values, status_view
from alframe.types import Phase


def console(*, terminal: bool, width: int = 80) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=width, highlight=False, _environ={}), stream


def run_two_rounds(observer: Observer) -> None:
    for number in range(2):
        for phase, seconds in ((Phase.TRAINED, 61.0), (Phase.SCORED, 12.0), (Phase.SELECTED, 0.1), (Phase.DONE, 0.0)):
            observer.phase_started(number, phase, 4)
            for done in range(5):
                observer.advanced(done)
            observer.phase_finished(number, phase, seconds)


def test_a_log_gets_one_plain_line_a_round_and_one_for_long_phases() -> None:
    place, stream = console(terminal=False)
    with RichObserver(place) as observer:
        observer.heading("glands")
        run_two_rounds(observer)
    assert stream.getvalue().splitlines() == [
        "glands",
        "round 0 training, 4 parts",
        "● round 0  1:13 min  training 1:01 min · scoring 12 s",
        "round 1 training, 4 parts",
        "● round 1  1:13 min  training 1:01 min · scoring 12 s",
    ]


def test_a_log_hears_from_a_long_phase_every_half_minute_with_pace_and_rest() -> None:
    now = [0.0]
    place, stream = console(terminal=False)
    with RichObserver(place, clock=lambda: now[0]) as observer:
        observer.phase_started(3, Phase.SCORED, 100)
        for done in range(1, 101):
            now[0] += 1.0
            observer.advanced(done)
    assert stream.getvalue().splitlines() == [
        "round 3 scoring: 30/100, 1/s, 1:10 min left",
        "round 3 scoring: 60/100, 1/s, 40 s left",
        "round 3 scoring: 90/100, 1/s, 10 s left",
    ]


def test_a_terminal_gets_a_bar_that_leaves_one_line_a_round() -> None:
    place, stream = console(terminal=True)
    with RichObserver(place) as observer:
        run_two_rounds(observer)
    text = stream.getvalue()
    assert "━" in text
    assert "\x1b[2K" in text  # the bar is wiped
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert sum("● round" in line for line in re.split(r"[\r\n]+", plain)) == 2


def test_a_count_that_changes_its_total_starts_again() -> None:
    place, stream = console(terminal=False)
    now = [0.0]
    with RichObserver(place, clock=lambda: now[0]) as observer:
        count = observer.counter("writing the pool")
        count(1, 0)
        count(1, 10)
        now[0] = 31.0
        count(5, 10)
    assert stream.getvalue() == "writing the pool: 5/10, 0.161/s, 31 s left\n"


def test_a_round_that_was_interrupted_still_leaves_its_line() -> None:
    place, stream = console(terminal=False)
    with RichObserver(place) as observer:
        observer.phase_finished(7, Phase.TRAINED, 3.0)
    assert stream.getvalue() == "● round 7  3.0 s  training 3.0 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (60, "1:00 min"),
        (3599, "59:59 min"),
        (7262, "2:01 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


ROW = RoundRow(
    index=1,
    phase=Phase.DONE,
    queries=200,
    answers=200,
    fraction=0.98765,
    seconds=3599.0,
    scope="test",
    metrics={"dice": 0.5, "object_f1": 0.5, "nll": 0.5, "ece": 0.5, "brier": 0.5},
)
STANDING = Overview(name="glands", status="waiting", reason="", holder="", created="", rounds=(ROW,))


def rendered(found: Overview, *, terminal: bool = False) -> str:
    place, stream = console(terminal=terminal)
    place.print(status_view(found))
    return stream.getvalue()


def test_the_status_table_fits_eighty_columns() -> None:
    unfinished = replace(ROW, index=12, phase=Phase.CALIBRATED, metrics={}, fraction=None, scope="")
    lines = rendered(replace(STANDING, rounds=(ROW, unfinished))).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 5  # nothing was wrapped
    assert lines[-1].split() == ["12", "calibrated", "200/200", "–", "59:59", "min", "–", "–", "–", "–", "–"]


def test_the_best_value_of_each_metric_stands_out() -> None:
    better = replace(ROW, index=2, metrics={"dice": 0.6, "ece": 0.7})
    text = rendered(replace(STANDING, rounds=(ROW, better)), terminal=True)
    assert "\x1b[1;32m0.600" in text
    assert "\x1b[1;32m0.700" not in text  # a higher calibration error is worse
    assert text.count("\x1b[1;32m0.500") == 1


def test_a_campaign_without_rounds_says_so() -> None:
    assert "no round yet" in rendered(replace(STANDING, rounds=()))


def test_names_and_values() -> None:
    place, stream = console(terminal=False)
    place.print(
        key_values({"training_pixels": 1234567, "pool": {"train": 3}, "annotated_fraction": 0.12345, "name": "[x]"})
    )
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert lines == ["training pixels 1 234 567", "pool 3 train", "annotated fraction 0.1235", "name [x]"]
