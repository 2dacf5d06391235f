"""The intake of bridges, killed anywhere and run twice at once: each piece of work is a submission exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.errors import InvalidValue, StoreUnavailable
from alframe.labelling import Intake, LabellingDesk, NewTask, Roster, Said, refusals, verify
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.desks import work_of
from alframe.types import Box, LabelMap, Outcome

CAMPAIGN = "c"
SIZE = (6, 5)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabellingDesk]:
    with SqlLabelling(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))
        box = Box.whole(SIZE)
        tasks = [
            NewTask(id=f"q{n}", campaign=CAMPAIGN, item=f"i{n}", box=box, classes=("ground", "gland"), replicas=2)
            for n in range(4)
        ]
        desk.ask(tasks)
        yield desk


def mask(version: int) -> NDArray[np.uint8]:
    classes = np.zeros(SIZE, np.uint8)
    classes[version % SIZE[0], : 1 + version // SIZE[0]] = 1
    return classes


def take(desk: LabellingDesk, versions: dict[tuple[str, str], int]) -> Intake:
    """A pass over a tool that holds one drawing by (task, rater), in some version."""
    intake = Intake(desk, CAMPAIGN, "tool")
    for (task, rater), version in versions.items():
        intake.offer(
            task=intake.tasks[task],
            rater=rater,
            source=f"{rater}'s {task}",
            version=f"v{version}",
            read=lambda version=version: Said.drawn(LabelMap(classes=mask(version))),  # type: ignore[misc]
        )
    intake.finish()
    return intake


def standing(desk: LabellingDesk) -> dict[tuple[str, str], bytes]:
    found = {}
    for task in desk.ledger.tasks(CAMPAIGN):
        for one in desk.current(task):
            labels = desk.labels(one)
            assert labels is not None
            found[task.id, one.rater] = labels.classes.tobytes()
    return found


class Dies(SqlLabelling):
    """A ledger whose process dies at the n-th write: before it, or after it was committed but before anybody knows."""

    left = 10**6
    after = False

    def _write(self, method: str, work):  # type: ignore[no-untyped-def]
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StoreUnavailable("killed")
        done = super()._write(method, work)
        if self.left == 0:
            raise StoreUnavailable("killed")
        return done


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_the_next_pass_ends_the_same(tmp_path: Path, desk: LabellingDesk, after: bool) -> None:
    """Two states of the tool, each taken in by a pass that dies again and again, a write further each time."""
    first = {(f"q{n}", rater): n for n in range(4) for rater in ("anna", "bo")}
    second = {key: version + 1 for key, version in first.items() if key != ("q3", "bo")}
    for versions in (first, second):
        for left in range(1, 30):
            with Dies(f"sqlite:///{tmp_path}/ledger.db") as ledger:
                ledger.left, ledger.after = left, after
                try:
                    take(LabellingDesk(ledger, desk.artifacts), versions)
                except StoreUnavailable:
                    continue
            break
        take(desk, versions)
        wanted = {key: mask(version).tobytes() for key, version in {**first, **versions}.items()}
        assert standing(desk) == wanted
    assert len(desk.ledger.submissions(CAMPAIGN)) == len(first) + len(second)
    events = [event.action for event in desk.ledger.events() if event.action.startswith("bridge.")]
    assert events == ["bridge.deleted"]
    assert verify(desk.ledger, desk.artifacts).problems == ()


def test_two_passes_at_once_take_nothing_twice(desk: LabellingDesk) -> None:
    versions = {(f"q{n}", rater): n for n in range(4) for rater in ("anna", "bo")}
    with ThreadPoolExecutor(4) as pool:
        passes = [pool.submit(take, desk, versions) for _ in range(4)]
        assert [one.result().problems for one in passes] == [{}] * 4
    assert len(desk.ledger.submissions(CAMPAIGN)) == len(versions)
    assert refusals(desk.ledger, CAMPAIGN) == ()


def test_work_that_the_tool_never_saw_is_not_undone(desk: LabellingDesk) -> None:
    """A rater draws in the tool, then corrects it elsewhere: the old drawing, still in the tool, stays superseded."""
    take(desk, {("q0", "anna"): 0})
    (drawn,) = desk.ledger.submissions(CAMPAIGN)
    desk.deliver(Roster(desk.ledger).asserted("anna"), "q0", work_of(LabelMap(classes=mask(3)), supersedes=drawn.id))
    take(desk, {("q0", "anna"): 0})
    assert standing(desk) == {("q0", "anna"): mask(3).tobytes()}
    take(desk, {("q0", "anna"): 1})  # but a new edit there counts
    assert standing(desk) == {("q0", "anna"): mask(1).tobytes()}


def test_what_is_refused_is_heard_once_and_cleared(desk: LabellingDesk) -> None:
    for version in (0, 0, 1):
        intake = Intake(desk, CAMPAIGN, "tool")

        def read() -> Said:
            raise InvalidValue("torn")

        assert not intake.offer(task=intake.tasks["q0"], rater="anna", source="a", version=str(version), read=read)
        intake.finish()
        assert intake.problems == {"a": "torn"}
    other = Intake(desk, CAMPAIGN, "another tool")
    other.finish()  # leaves what is not its own
    (found,) = refusals(desk.ledger, CAMPAIGN)
    assert (found.tool, found.source, found.version, found.problem) == ("tool", "a", "1", "torn")
    unread = Intake(desk, CAMPAIGN, "tool")
    unread.seen("a")
    unread.finish()
    assert refusals(desk.ledger, CAMPAIGN)
    take(desk, {})
    assert refusals(desk.ledger, CAMPAIGN) == ()
    actions = [event.action for event in desk.ledger.events() if event.action.startswith("bridge.")]
    assert actions == ["bridge.refused", "bridge.refused", "bridge.cleared"]


def test_a_label_cannot_become_a_skip(desk: LabellingDesk) -> None:
    take(desk, {("q0", "anna"): 0})
    intake = Intake(desk, CAMPAIGN, "tool")
    skip = Said(outcome=Outcome.SKIPPED)
    assert not intake.offer(task=intake.tasks["q0"], rater="anna", source="anna's q0", version="x", read=lambda: skip)
    assert "cannot be corrected to a skip" in intake.problems["anna's q0"]


def test_a_revoked_rater_is_refused_and_nobody_else(desk: LabellingDesk) -> None:
    roster = Roster(desk.ledger)
    roster.asserted("anna")
    roster.revoke("anna")
    intake = take(desk, {("q0", "anna"): 0, ("q0", "bo"): 1})
    assert list(intake.problems) == ["anna's q0"]
    assert list(standing(desk)) == [("q0", "bo")]


def test_a_pass_leaves_its_mark_for_the_next(desk: LabellingDesk) -> None:
    marks = []
    for mark in ("", "monday", "monday", "tuesday"):
        intake = Intake(desk, CAMPAIGN, "tool")
        marks.append(intake.mark)
        intake.finish(mark=mark)
        assert Intake(desk, CAMPAIGN, "another tool").mark == ""
    assert marks == ["", "", "monday", "monday"]
    assert [event.object for event in desk.ledger.events(actions=["bridge.read"])] == ["monday", "tuesday"]


def test_what_was_taken_of_a_task_is_known_while_it_is_there(desk: LabellingDesk) -> None:
    take(desk, {("q0", "anna"): 0, ("q0", "bo"): 1, ("q1", "bo"): 1})
    assert Intake(desk, CAMPAIGN, "tool").known("q0") == ("anna's q0", "bo's q0")
    assert Intake(desk, CAMPAIGN, "another tool").known("q0") == ()
    take(desk, {("q0", "bo"): 1, ("q1", "bo"): 1})
    assert Intake(desk, CAMPAIGN, "tool").known("q0") == ("bo's q0",)
