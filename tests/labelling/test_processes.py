"""Raters in processes of their own: they race, they are killed, and nothing is taken twice or lost."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from alframe import failpoints
from alframe.labelling import LabellingDesk, Roster, TaskState, verify
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.contracts.labelling import CAMPAIGN, drawing, sample_tasks
from alframe.testing.desks import enrolled, work_of

IDS = [f"00000000-0000-4000-8000-{k:012d}" for k in range(40)]


def at(folder: Path) -> LabellingDesk:
    """A desk of its own, as another process would open it."""
    return LabellingDesk(SqlLabelling(f"sqlite:///{folder}/ledger.db"), FileArtifacts(folder / "store"))


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def prepared(folder: Path, count: int, replicas: int, *names: str) -> list[str]:
    """Tasks, raters and their tokens."""
    desk = at(folder)
    with desk.ledger:
        desk.ask(sample_tasks(count, replicas=replicas))
        enrolled(desk, *names)
        return [Roster(desk.ledger).token(name) for name in names]


def test_racing_processes_never_share_a_place(tmp_path: Path) -> None:
    tokens = prepared(tmp_path, 10, 2, "anna", "bo", "cy", "dee")
    start_reader, start_writer = os.pipe()

    def work(token: str) -> Callable[[], None]:
        def run() -> None:
            os.close(start_writer)
            os.read(start_reader, 1)  # all begin when the parent closes its end
            desk = at(tmp_path)
            who = Roster(desk.ledger).authenticate(token)
            while (given := desk.claim(who, CAMPAIGN)) is not None:
                desk.submit(who, given.lease.id, work_of(drawing()))

        return run

    children = [forked(work(token)) for token in tokens]
    os.close(start_reader)
    os.close(start_writer)
    assert [ended(child) for child in children] == [0] * 4
    desk = at(tmp_path)
    with desk.ledger:
        found = desk.ledger.submissions(CAMPAIGN)
        assert Counter(one.task for one in found) == dict.fromkeys((task.id for task in sample_tasks(10)), 2)
        assert max(Counter((one.task, one.rater) for one in found).values()) == 1
        assert {one.standing.value for one in found} == {"on_time"}
        assert {task.state for task in desk.ledger.tasks(CAMPAIGN)} == {TaskState.DONE}
        assert verify(desk.ledger, desk.artifacts).problems == ()


FAILPOINTS = [
    *(f"ledger.labelling.{method}.{side}_commit" for method in ("claim", "submit") for side in ("before", "after")),
    *(
        f"artifact.mask.{step}"
        for step in ("before_write", "after_write", "after_fsync", "after_rename", "after_folder")
    ),
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_front_end_killed_anywhere_loses_and_doubles_nothing(tmp_path: Path, name: str, count: int) -> None:
    """The rater's page sends again what was not acknowledged: the same id, the same content."""
    (token,) = prepared(tmp_path, 4, 1, "anna")

    def session() -> None:
        desk = at(tmp_path)
        who = Roster(desk.ledger).authenticate(token)
        while (given := desk.claim(who, CAMPAIGN)) is not None:
            number = given.task.place
            value = 1 + number % 2
            desk.submit(who, given.lease.id, work_of(drawing(value, 1 + number), id=IDS[number]))

    def killed() -> None:
        with failpoints.installed(failpoints.kill_at(name, count)):
            session()

    assert ended(forked(killed)) == -9
    assert ended(forked(session)) == 0
    desk = at(tmp_path)
    with desk.ledger:
        assert [one.id for one in desk.ledger.submissions(CAMPAIGN)] == IDS[:4]
        for task in desk.ledger.tasks(CAMPAIGN):
            assert (task.state, task.taken, task.counted) == (TaskState.DONE, 1, 1)
        found = verify(desk.ledger, desk.artifacts)
        assert (found.problems, found.masks) == ((), 4)
