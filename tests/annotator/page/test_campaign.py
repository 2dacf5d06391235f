"""A whole campaign of three rounds by two raters in browsers: the pool holds what they painted, rounds follow by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from alframe import compose, config, demo
from alframe.composition import CommittedLabels
from alframe.labelling import LeaseState, Task
from alframe.types import UNANNOTATED, Outcome, Phase

from .serving import PATIENCE, Campaign, Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RATERS = ("anna", "bo")
INITIAL, BATCH, LAST = 2, 3, 2
Painted = dict[tuple[str, str], NDArray[np.uint8]]


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Campaign]:
    """The demo's campaign with people for its oracle, a shorter training and rounds 0, 1 and 2; served."""
    (path, _) = demo.prepare(tmp_path)
    said = yaml.safe_load(path.read_text())
    said |= {
        "name": "people",
        "oracle": {"type": "human", "blind_share": 0.2, "repeat_share": 0.0},
        "replicas": 2,
        "batch": BATCH,
        "budget": {"rounds": LAST},
    }
    said["evaluate"] = {"pool": False}
    said["learner"] |= {"restarts": 1, "passes": 4}
    said["learner"]["training"] |= {"steps": 30, "validate_every": 15}
    del said["ray"]
    path = tmp_path / "people.yaml"
    path.write_text(yaml.safe_dump(said))
    compose.ingest(config.load(path))
    campaign = Campaign(path)
    campaign.serve()
    yield campaign
    campaign.stop()


def start_of(campaign: Campaign, task: Task) -> NDArray[np.uint8]:
    """What the page shows of a task before anybody draws."""
    shown = campaign.desk.prefill(task)
    return np.zeros(task.box.shape, np.uint8) if shown is None else shown["classes"].copy()


def paint(desk: Desk, labels: NDArray[np.uint8], shift: float, draw: np.random.Generator) -> None:
    """Two strokes of gland and one of background; who has another `shift` draws the same a little beside."""
    for value in (1, 1, 0):
        path = draw.uniform(0.15, 0.85, (3, 2)) * (labels.shape[1], labels.shape[0]) + shift
        desk.page.keyboard.press(str(value))
        desk.paint(labels, value, *[(float(x), float(y)) for x, y in path])


def label(campaign: Campaign, desk: Desk, rater: str, painted: Painted) -> None:
    """Whatever task is open: paint it, hand it in, wait until it is gone."""
    ledger = campaign.desk.ledger
    (task,) = [
        one
        for one in ledger.tasks(campaign.name)
        if any(lease.state is LeaseState.ACTIVE for lease in ledger.leases(one.id, rater))
    ]
    desk.opened(task.item)
    labels = start_of(campaign, task)
    paint(desk, labels, 2.0 * RATERS.index(rater), np.random.default_rng(len(painted) // len(RATERS)))
    painted[task.id, rater] = labels
    bench = desk.page.locator(".bench").element_handle()
    desk.submit()
    desk.page.wait_for_function("(one) => !one.isConnected", arg=bench)


def test_three_rounds_by_pointer(people: Campaign, visit: Callable[..., Desk], browser: Browser) -> None:
    desks = {rater: visit(people.link(rater)) for rater in RATERS}
    driver = people.spawn("run", str(people.yaml), "--wait")
    painted: Painted = {}
    try:
        for _ in range(INITIAL + LAST * BATCH):
            for rater, desk in desks.items():
                desk.stage.wait_for(timeout=3000 * PATIENCE)  # a new round opens by itself in the page that waits
                label(people, desk, rater, painted)
        assert driver.wait(timeout=3 * PATIENCE) == 0, (people.yaml.parent / "output.txt").read_text()
    finally:
        driver.kill()
        driver.wait()
    for desk in desks.values():
        desk.page.locator(".card", has_text="The campaign has ended").wait_for(timeout=1000 * PATIENCE)
    the_pool_holds(people, painted)
    the_report_names(people, painted, browser)


def the_pool_holds(people: Campaign, painted: Painted) -> None:
    """Every answer, and every rater's map of every item, is what the pointer painted."""
    submitted = people.desk.ledger.submissions(people.name)
    assert {(one.task, one.rater) for one in submitted} == painted.keys()
    tasks = {one.id: one for one in people.desk.ledger.tasks(people.name)}
    for one in submitted:
        assert one.outcome is Outcome.LABELED
        started = start_of(people, tasks[one.task])
        shown = people.desk.prefill(tasks[one.task]) is not None
        assert one.prefill_shown is shown
        assert one.pixels_changed == (int((painted[one.task, one.rater] != started).sum()) if shown else None)
    with compose.open_ledger(people.settings) as ledger:
        rounds, answers = ledger.rounds(people.name), ledger.answers(people.name)
        asked = [len(ledger.queries(people.name, one.index)) for one in rounds]
    assert asked == [INITIAL, *[BATCH] * LAST, 0]  # what was learnt from the last round is measured in one more
    assert {one.phase for one in rounds} == {Phase.DONE}
    assert len(answers) == len(painted)
    assert any(people.desk.prefill(one) is not None for one in tasks.values())
    known = CommittedLabels(pool=people.pool, artifacts=people.desk.artifacts, answers=answers)
    expected: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for answer in answers:
        labels = painted[answer.query, answer.rater]
        assert answer.mask is not None
        stored = people.desk.artifacts.get_arrays(answer.mask)["classes"]
        np.testing.assert_array_equal(stored, labels)
        blank = np.full(people.pool.info(answer.item).shape, UNANNOTATED, np.uint8)
        expected.setdefault((answer.item, answer.rater), blank)[answer.box.slices] = labels
    found = {(item, rater): one.classes for item in known.items() for rater, one in known.by_rater(item).items()}
    assert found.keys() == expected.keys()
    for key, canvas in expected.items():
        np.testing.assert_array_equal(found[key], canvas)


def the_report_names(people: Campaign, painted: Painted, browser: Browser) -> None:
    """The report's tables of people hold the raters, their time and their agreement, worked out here from the masks."""
    reporting = people.spawn("report", str(people.yaml))
    assert reporting.wait(timeout=PATIENCE) == 0
    page = browser.new_page()
    page.goto((people.settings.workdir_path / "report.html").as_uri())
    rows = """(table) => [...table.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.innerText))"""
    work = page.locator("table", has_text="People at work").evaluate(rows)
    agreed = page.locator("table", has_text="Dice, mean").evaluate(rows)
    page.close()
    tasks = sorted({task for task, _ in painted})
    for row, rater in zip(work, RATERS, strict=True):
        own = [one for one in people.desk.ledger.submissions(people.name) if one.rater == rater]
        minutes = sum(one.active_ms or 0 for one in own) / 60_000
        assert minutes > 0
        assert (row[0], int(row[1])) == (rater, len(tasks))
        assert float(row[-1]) == pytest.approx(minutes, rel=0.01)
    dice = []
    for task in tasks:
        first, second = (painted[task, rater] == 1 for rater in RATERS)
        dice.append(2 * (first & second).sum() / (first.sum() + second.sum()))
    (between,) = [row for row in agreed if row[:2] == list(RATERS)]
    assert (int(between[2]), float(between[3])) == (len(tasks), pytest.approx(np.mean(dice), abs=0.001))
    assert {row[1] for row in agreed if row[0] == "anna"} >= {"bo", "the model's suggestion"}, json.dumps(agreed)
