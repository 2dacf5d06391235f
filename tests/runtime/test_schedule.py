"""The schedule, driven by hypothesis as workers finish and die in any order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import TaskFailed
from alframe.runtime.failures import TaskNames
from alframe.runtime.schedule import NODES, Schedule


def make(count: int, workers: int, attempts: int) -> Schedule:
    return Schedule(TaskNames("job", tuple(range(count))), count, workers=workers, attempts=attempts)


@given(
    count=st.integers(0, 25),
    workers=st.integers(1, 4),
    attempts=st.integers(1, 3),
    moves=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["finish"] * 3 + ["lose", "strand"])), max_size=80),
)
def test_every_task_is_finished_once_or_the_run_fails_by_name(
    count: int, workers: int, attempts: int, moves: list[tuple[int, str]]
) -> None:
    schedule = make(count, workers, attempts)
    finished: list[int] = []
    killed: Counter[int] = Counter()
    stranded: Counter[int] = Counter()
    names = dict(enumerate(range(workers)))  # seat -> worker; a lost worker gets a new number
    fresh = workers
    for seat, move in [*moves, *((n % workers, "finish") for n in range(4 * (count + 1) * workers))]:
        for worker in names.values():
            while (position := schedule.take(worker)) is not None:
                assert position not in finished
            assert len(schedule.held(worker)) <= 2
        held = [position for worker in names.values() for position in schedule.held(worker)]
        assert len(held) == len(set(held))
        worker = names[seat % workers]
        mine = schedule.held(worker)
        if move == "finish" and mine:
            schedule.finish(worker, mine[0])
            finished.append(mine[0])
        elif move == "lose":
            names[seat % workers], fresh = fresh, fresh + 1
            killed.update(mine)
            worn = [position for position in mine if killed[position] == attempts]
            if worn:
                with pytest.raises(TaskFailed, match=f"job: task {worn[0]} of {count} .* after {attempts} attempt"):
                    schedule.lose(worker, "gone")
                return
            schedule.lose(worker, "gone")
        elif move == "strand":
            names[seat % workers], fresh = fresh, fresh + 1
            stranded.update(mine)
            worn = [position for position in mine if stranded[position] == NODES]
            if worn:
                with pytest.raises(TaskFailed, match=f"job: task {worn[0]} of {count} .*{NODES} nodes were lost"):
                    schedule.strand(worker)
                return
            schedule.strand(worker)
    assert schedule.done
    assert sorted(finished) == list(range(count))
    assert max(killed.values(), default=0) < attempts


@given(count=st.integers(1, 25), workers=st.integers(1, 4), attempts=st.integers(1, 4), data=st.data())
def test_a_task_that_always_kills_is_found(count: int, workers: int, attempts: int, data: st.DataObject) -> None:
    """Whichever worker moves next: no innocent task is given up, and the guilty one is after `attempts` runs at most."""
    schedule = make(count, workers, attempts)
    guilty = data.draw(st.integers(0, count - 1))
    names = dict(enumerate(range(workers)))
    runs = 0
    for step in range(count * (workers + attempts) * 4):
        for worker in names.values():
            while schedule.take(worker) is not None:
                pass
        seat = data.draw(st.integers(0, workers - 1)) if step < 40 else step % workers
        mine = schedule.held(names[seat])
        if mine and mine[0] != guilty:
            schedule.finish(names[seat], mine[0])
        elif mine:
            runs += 1
            if runs == attempts:
                break
            schedule.lose(names[seat], "gone")
            names[seat] = workers + step
    with pytest.raises(TaskFailed, match=f"task {guilty} of"):
        schedule.lose(names[seat], "gone")


def test_a_lost_reply_costs_an_innocent_task_one_attempt_only() -> None:
    """The worker had finished 0 when 1 killed it, but the driver never heard of it."""
    schedule = make(9, workers=1, attempts=2)
    assert [schedule.take(0), schedule.take(0)] == [0, 1]
    schedule.lose(0, "gone")
    assert [schedule.take(1), schedule.take(1)] == [0, None]
    schedule.finish(1, 0)
    assert [schedule.take(1), schedule.take(1)] == [1, None]
    with pytest.raises(TaskFailed, match="task 1 of 9"):
        schedule.lose(1, "gone")


def test_only_the_blamed_task_is_charged() -> None:
    schedule = make(9, workers=1, attempts=2)
    assert [schedule.take(0), schedule.take(0)] == [0, 1]
    schedule.lose(0, "late", blamed=0)
    assert schedule.take(1) == 0
    schedule.lose(1, "gone", blamed=1)  # it had finished in the last moment: nothing of what is held was to blame
    assert schedule.take(2) == 0


def test_a_task_that_outlives_no_node_is_given_up() -> None:
    """Lost nodes are nobody's fault, up to a number; the attempts are untouched by them."""
    schedule = make(2, workers=1, attempts=1)
    for worker in range(NODES - 1):
        assert schedule.take(worker) == 0
        schedule.strand(worker)
    assert schedule.take(99) == 0
    with pytest.raises(TaskFailed, match=f"task 0 of 2 .*{NODES} nodes were lost"):
        schedule.strand(99)


def test_near_the_end_no_task_waits_behind_another() -> None:
    schedule = make(4, workers=2, attempts=1)
    assert [schedule.take(w) for w in (0, 1, 0, 1)] == [0, 1, None, None]
    schedule.finish(1, 1)
    assert [schedule.take(w) for w in (0, 1)] == [None, 2]


def test_while_plenty_are_left_one_task_waits_at_each_worker() -> None:
    schedule = make(9, workers=2, attempts=2)
    assert [schedule.take(0), schedule.take(0), schedule.take(0)] == [0, 1, None]


def test_with_a_single_attempt_no_task_waits_behind_another() -> None:
    """It would be given up for its neighbour's fault."""
    schedule = make(9, workers=2, attempts=1)
    assert [schedule.take(0), schedule.take(0)] == [0, None]


def test_large_tasks_are_named_by_their_type_only() -> None:
    names = TaskNames("fit", (b"x" * 10_000_000, ("a", 3), "y" * 500))
    assert "task 0 of 3 (bytes) failed after 1 attempt: boom" in str(names.failed(0, 1, "boom"))
    assert "task 1 of 3 (('a', 3)) failed after 2 attempts" in str(names.failed(1, 2, "boom"))
    assert len(str(names.failed(2, 1, "boom"))) < 150
