"""What every :class:`alframe.ports.Executor` must do. Subclass and give :meth:`ExecutorContract.make`.

Executors with worker processes of their own subclass :class:`LostWorkerContract` too.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.errors import AlframeError, DataError, InvalidValue, NonFiniteError, NotFound, Problem, TaskFailed
from alframe.ports import Executor, RunKind

__all__ = ["ExecutorContract", "LostWorkerContract"]

_unpacked: Counter[str] = Counter()


class Big:
    """A context of many megabytes that counts how often this process unpacked it."""

    def __init__(self, name: str, values: NDArray[np.float64]) -> None:
        self.name = name
        self.values = values

    def __getstate__(self) -> tuple[str, NDArray[np.float64]]:
        return (self.name, self.values)

    def __setstate__(self, state: tuple[str, NDArray[np.float64]]) -> None:
        self.name, self.values = state
        _unpacked[self.name] += 1


class Diary:
    """An object for one writer: it would lose entries if two calls ran at once."""

    def __init__(self, first: str) -> None:
        self.entries = [first]

    @property
    def length(self) -> int:
        """How many entries there are."""
        return len(self.entries)

    def write(self, text: str, *, times: int = 1) -> int:
        """Add `text`; the number of entries."""
        before = list(self.entries)
        time.sleep(0.002)
        self.entries = before + [text] * times
        return len(self.entries)

    def read(self) -> list[str]:
        """All entries."""
        return list(self.entries)

    def refuse(self, kind: str) -> None:
        """Raise. Raises: NotFound, KeyError: by `kind`."""
        if kind == "ours":
            raise NotFound("no such page")
        raise KeyError("page")


def affine(context: tuple[int, int], task: int) -> int:
    """``a·task + b``."""
    return context[0] * task + context[1]


def slow_affine(context: tuple[int, int], task: int) -> int:
    """The same; later tasks are quicker, so that they tend to overtake."""
    time.sleep(0.02 / (1 + task))
    return affine(context, task)


def draw(context: int, task: int) -> NDArray[np.float64]:
    """Numbers that depend on the seeds only."""
    return np.random.default_rng([context, task]).normal(size=(7, 5)).cumsum(axis=0)


def look(context: Big, task: int) -> tuple[int, int, float]:
    """Process, times the context was unpacked in it, and one of its numbers."""
    return os.getpid(), _unpacked[context.name], float(context.values[task])


def mark(context: str, task: int) -> int:
    """Leave a file that says that the task started."""
    Path(context, str(task)).touch()
    time.sleep(0.05)
    return task


def fail(context: AlframeError | str, task: int) -> int:
    """Task 2 fails in the way that the context says. Raises: AlframeError, ValueError: as told."""
    if task != 2:
        return task
    if isinstance(context, AlframeError):
        raise context
    if context == "stop":
        raise StopIteration
    if context == "local":

        class OddError(Exception):
            """An error whose class nobody else can import."""

            def __reduce__(self) -> tuple[Any, ...]:
                raise TypeError("cannot be sent")

        raise OddError("peculiar")
    raise ValueError(f"cannot do {context}")


def echo(context: None, task: Any) -> Any:
    """The task."""
    return task


def die(context: tuple[int, str, tuple[int, ...], int], task: int) -> int:
    """The tasks in `doomed` kill their worker the first `times` times; a folder counts."""
    driver, folder, doomed, times = context
    if task in doomed:
        before = len(list(Path(folder).glob(f"{task}-*")))
        Path(folder, f"{task}-{before}").touch()
        if before < times:
            assert os.getpid() != driver, "this test must not run in the driver"
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return task * task


def hang(context: tuple[str, int], task: int) -> int:
    """Task 1 sleeps for minutes the first `times` times."""
    folder, times = context
    if task == 1:
        before = len(list(Path(folder).glob("hang-*")))
        Path(folder, f"hang-{before}").touch()
        if before < times:
            time.sleep(300)
    return task


class ExecutorContract:
    """The promises of the port."""

    @classmethod
    def make(cls) -> Executor:
        """An open executor; the contract closes it."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        """One executor for the class: after a test that makes it fail, the next one must find it in order."""
        executor = cls.make()
        yield executor
        executor.close()

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
    def test_each_position_comes_exactly_once(self, executor: Executor, count: int) -> None:
        """All results, whatever the order."""
        pairs = list(executor.run("affine", slow_affine, (3, 5), range(count)))
        assert sorted(pairs) == [(n, 3 * n + 5) for n in range(count)]

    def test_results_do_not_depend_on_where_they_are_computed(self, executor: Executor) -> None:
        """Bit for bit what a plain loop gives."""
        got = dict(executor.run("draw", draw, 11, list(range(6))))
        assert all(np.array_equal(got[n], draw(11, n)) for n in range(6))

    def test_what_kind_of_run_it_is_changes_no_result(self, executor: Executor) -> None:
        """It only says which share of a node the workers need."""
        kinds: tuple[RunKind, ...] = ("fit", "score", "fit")
        for kind in kinds:
            assert sorted(executor.run("affine", affine, (3, 5), range(5), kind=kind)) == [
                (n, 3 * n + 5) for n in range(5)
            ]

    def test_a_context_is_unpacked_at_most_once_in_each_process(self, executor: Executor) -> None:
        """A large context goes to a worker once, not with each task."""
        values = np.arange(4_000_000, dtype=np.float64)
        context = Big(f"big-{time.time_ns()}", values)
        seen = [row for _, row in executor.run("look", look, context, list(range(12)))]
        assert sorted(number for _, _, number in seen) == list(values[:12])
        assert len({pid for pid, _, _ in seen}) <= executor.workers
        assert max(times for _, times, _ in seen) <= 1

    def test_tasks_and_results_may_be_large(self, executor: Executor) -> None:
        """Checkpoints travel both ways."""
        tasks = [np.full(400_000, n, np.float64) for n in range(4)]
        for position, result in executor.run("echo", echo, None, tasks):
            assert np.array_equal(result, tasks[position])

    def test_closing_early_starts_nothing_more(self, executor: Executor, tmp_path: Path) -> None:
        """The rest is cancelled; the executor stays usable."""
        run = executor.run("mark", mark, str(tmp_path), list(range(200)))
        next(iter(run))
        run.close()  # type: ignore[attr-defined]
        started = len(list(tmp_path.iterdir()))
        assert 1 <= started < 60
        time.sleep(0.3)
        assert len(list(tmp_path.iterdir())) <= started + executor.workers
        assert dict(executor.run("affine", affine, (1, 0), range(5))) == {n: n for n in range(5)}

    def test_a_run_that_nobody_reads_does_nothing(self, executor: Executor, tmp_path: Path) -> None:
        """Work begins with the first result asked for."""
        executor.run("mark", mark, str(tmp_path), [0])
        time.sleep(0.1)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "error",
        [
            NonFiniteError("loss is nan in epoch 3"),
            NotFound("no item 'a'"),
            DataError([Problem(where="item 7", expected="2 channels", found="3")]),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_our_errors_arrive_as_they_are(self, executor: Executor, error: AlframeError) -> None:
        """Type and content."""
        with pytest.raises(type(error)) as caught:
            list(executor.run("fit", fail, error, range(6)))
        assert str(caught.value) == str(error)
        assert type(caught.value) is type(error)
        if isinstance(error, DataError):
            assert isinstance(caught.value, DataError)
            assert caught.value.problems == error.problems
        assert len(dict(executor.run("affine", affine, (1, 0), range(5)))) == 5

    @pytest.mark.parametrize(("how", "said"), [("sums", "ValueError: cannot do sums"), ("stop", "StopIteration")])
    def test_other_errors_name_the_task(self, executor: Executor, how: str, said: str) -> None:
        """Run, task, attempts and cause; no second attempt, for the function is at fault."""
        with pytest.raises(TaskFailed, match="fit: task 2 of 6") as caught:
            list(executor.run("fit", fail, how, range(6)))
        assert said in str(caught.value)
        assert "after 1 attempt:" in str(caught.value)
        assert caught.value.__cause__ is not None

    def test_an_error_that_cannot_travel_still_names_the_task(self, executor: Executor) -> None:
        """Its class exists on the worker only."""
        with pytest.raises(TaskFailed, match="fit: task 2 of 6"):
            list(executor.run("fit", fail, "local", range(6)))

    def test_two_runs_may_be_open_at_once(self, executor: Executor) -> None:
        """Each gets its own context."""
        one = executor.run("one", affine, (2, 0), range(9))
        two = executor.run("two", affine, (3, 1), range(9))
        pairs = list(zip(one, two, strict=True))
        assert dict(first for first, _ in pairs) == {n: 2 * n for n in range(9)}
        assert dict(second for _, second in pairs) == {n: 3 * n + 1 for n in range(9)}

    def test_an_owned_object_keeps_the_order_of_calls(self, executor: Executor) -> None:
        """Methods, keyword arguments and attributes."""
        diary = executor.own(lambda: Diary("first"))
        assert [diary.write(str(n), times=1) for n in range(5)] == [2, 3, 4, 5, 6]
        assert diary.write("twice", times=2) == diary.length == 8
        assert diary.read() == ["first", "0", "1", "2", "3", "4", "twice", "twice"]

    def test_an_owned_object_raises_its_own_errors(self, executor: Executor) -> None:
        """Ours, other people's, and those of the factory."""
        diary = executor.own(lambda: Diary("first"))
        with pytest.raises(NotFound, match="no such page"):
            diary.refuse("ours")
        with pytest.raises(KeyError, match="page"):
            diary.refuse("theirs")
        with pytest.raises(AttributeError):
            diary.burn()
        assert diary.length == 1
        with pytest.raises(ZeroDivisionError):
            executor.own(lambda: 1 // 0)

    def test_closing_twice_is_harmless_and_final(self) -> None:
        """Nothing runs afterwards, and an open run ends with an error instead of waiting."""
        executor = self.make()
        run = iter(executor.run("affine", affine, (1, 0), range(50)))
        next(run)
        executor.close()
        executor.close()
        with pytest.raises(InvalidValue, match="closed"):
            list(run)
        with pytest.raises(InvalidValue, match="closed"):
            executor.run("affine", affine, (1, 0), [1])
        with pytest.raises(InvalidValue, match="closed"):
            executor.own(lambda: Diary("late"))


class LostWorkerContract:
    """What executors with worker processes add: a lost worker costs time, never a result."""

    def make_lossy(self, *, attempts: int, task_deadline: float | None) -> Executor:
        """An open executor that tries a task `attempts` times and stops it after `task_deadline` seconds."""
        raise NotImplementedError

    @pytest.fixture
    def lossy(self) -> Iterator[Callable[..., Executor]]:
        """Makes executors and closes them."""
        made: list[Executor] = []

        def make(attempts: int = 3, task_deadline: float | None = None) -> Executor:
            made.append(self.make_lossy(attempts=attempts, task_deadline=task_deadline))
            return made[-1]

        yield make
        for executor in made:
            executor.close()

    def test_a_killed_workers_tasks_run_again(self, lossy: Callable[..., Executor], tmp_path: Path) -> None:
        """Each result exactly once; the killing tasks ran twice; the next run has its workers."""
        executor = lossy()
        context = (os.getpid(), str(tmp_path), (0, 4, 11), 1)
        pairs = list(executor.run("die", die, context, range(20)))
        assert sorted(pairs) == [(n, n * n) for n in range(20)]
        assert {path.name for path in tmp_path.iterdir()} == {f"{n}-{k}" for n in (0, 4, 11) for k in (0, 1)}
        assert len(list(executor.run("affine", affine, (1, 0), range(7)))) == 7

    def test_a_task_that_always_kills_is_given_up(self, lossy: Callable[..., Executor], tmp_path: Path) -> None:
        """After the attempts allowed, and by name. Its neighbours in the queue are not given up for it."""
        executor = lossy(attempts=2)
        context = (os.getpid(), str(tmp_path), (5,), 99)
        with pytest.raises(TaskFailed, match=r"die: task 5 of 12 \(5\) failed after 2 attempts"):
            list(executor.run("die", die, context, range(12)))
        assert {path.name for path in tmp_path.iterdir()} <= {"5-0", "5-1"}

    def test_a_task_past_its_deadline_is_stopped(self, lossy: Callable[..., Executor], tmp_path: Path) -> None:
        """And tried again like one whose worker was lost."""
        executor = lossy(attempts=2, task_deadline=1.5)
        assert dict(executor.run("hang", hang, (str(tmp_path), 1), range(5))) == {n: n for n in range(5)}
        (tmp_path / "again").mkdir()
        with pytest.raises(TaskFailed, match=r"hang: task 1 of 3 .* after 2 attempts: it ran for more than 1.5 s"):
            list(executor.run("hang", hang, (str(tmp_path / "again"), 99), range(3)))
