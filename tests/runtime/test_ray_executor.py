"""The Ray executor keeps the executor's contract, survives lost workers, and gives each worker what was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from alframe.errors import InvalidValue, TaskFailed
from alframe.ports import Executor, RunKind
from alframe.runtime import RayExecutor
from alframe.runtime.shares import Share
from alframe.testing.contracts.executor import Diary, ExecutorContract, LostWorkerContract, affine, echo

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


class TestOneWorker(ExecutorContract):
    @classmethod
    def make(cls) -> Executor:
        return RayExecutor(1)


class TestTwoWorkers(ExecutorContract, LostWorkerContract):
    @classmethod
    def make(cls) -> Executor:
        return RayExecutor(2)

    def make_lossy(self, *, attempts: int, task_deadline: float | None) -> Executor:
        return RayExecutor(2, attempts=attempts, score=Share(deadline=task_deadline))


def surroundings(context: None, task: int) -> tuple[int, str | None, str | None, str | None]:
    import torch

    return (
        torch.get_num_threads(),
        os.environ.get("OMP_NUM_THREADS"),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        os.environ.get("ALFRAME_FAILPOINT"),
    )


def append(context: Diary, task: int) -> int:
    return context.write(str(task))


class Unpackable:
    """Can be packed, and fails where it is unpacked."""

    def __reduce__(self) -> tuple[object, ...]:
        return (int, ("not a number",))


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_have_threads_no_gpu_and_no_failpoints(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    executor = RayExecutor(1, threads=threads)
    seen = dict(executor.run("look", surroundings, None, [0]))
    executor.close()
    assert seen == {0: (threads, str(threads), "", "")}


def test_many_workers_write_to_one_owned_object() -> None:
    """The object's own read, wait and write would lose entries if two calls ran at once."""
    executor = RayExecutor(2)
    diary = executor.own(lambda: Diary("first"))
    lengths = dict(executor.run("append", append, diary, range(30)))
    assert sorted(lengths.values()) == list(range(2, 32))
    assert sorted(diary.read()) == sorted(["first", *map(str, range(30))])
    executor.close()


def test_a_lost_owner_is_an_error_not_an_empty_object() -> None:
    executor = RayExecutor(1)
    diary = executor.own(lambda: Diary("first"))
    owner = executor.own(Killer)
    assert owner.pid() != os.getpid()
    with pytest.raises(TaskFailed, match="single-writer object was lost during now"):
        owner.now()
    with pytest.raises(TaskFailed, match="lost"):
        owner.now()
    assert diary.length == 1
    executor.close()


class Killer:
    def pid(self) -> int:
        return os.getpid()

    def now(self) -> None:
        os.kill(os.getpid(), 9)


def test_a_context_that_cannot_be_packed_or_unpacked_is_named() -> None:
    executor = RayExecutor(1)
    with pytest.raises(InvalidValue, match="echo: function and context must be picklable"):
        list(executor.run("echo", echo, threading.Lock(), [1]))
    with pytest.raises(TaskFailed, match=r"echo: a worker cannot unpack function and context.*not a number"):
        list(executor.run("echo", echo, Unpackable(), [1]))
    with pytest.raises(TaskFailed, match=r"echo: task 1 of 2 \(lock\) .*cannot be pickled"):
        list(executor.run("echo", echo, None, [1, threading.Lock()]))
    assert dict(executor.run("affine", affine, (1, 1), [1])) == {0: 2}
    executor.close()


def test_workers_that_cannot_start_are_an_error() -> None:
    """Two executors want more than the cluster has; the second says so instead of waiting for ever."""
    first = RayExecutor(1)
    assert dict(first.run("affine", affine, (1, 0), [1])) == {0: 1}
    second = RayExecutor(1, score=Share(cpus=4), start_deadline=1.0)
    with pytest.raises(TaskFailed, match="0 of 1 workers with 4 CPU, 0 GPU each started within 1 s, at least 1 must"):
        list(second.run("affine", affine, (1, 0), [1]))
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"workers": 5}, "5 Ray workers with 1 CPU each need 5 CPU, the cluster has 4"),
        ({"workers": 1, "score": Share(gpus=0.5)}, "need 0.5 GPU, the cluster has 0"),
        ({"workers": 2, "fit": Share(resources={"fast": 1})}, "need 2 fast, the cluster has 0"),
        ({"workers": 0}, "workers must be 1 or more"),
        ({"workers": 1, "min_workers": 2}, "min_workers must be at most workers, 1, got 2"),
        ({"workers": 1, "threads": 0}, "threads must be 1 or more"),
        ({"workers": 1, "attempts": 0}, "attempts must be 1 or more"),
        ({"workers": 1, "start_deadline": 0}, "start_deadline must be above 0 seconds"),
    ],
)
def test_what_cannot_be_had_is_refused_at_once(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        RayExecutor(**wanted)


def process(context: None, task: int) -> tuple[int, float, str | None]:
    return os.getpid(), ray.get_runtime_context().get_assigned_resources().get("CPU", 0.0), os.environ.get("GREETING")


def test_fit_and_score_have_workers_of_their_own_that_make_room_for_each_other() -> None:
    """Four CPUs: the two kinds of workers cannot be there at once. Equal shares use the same warm workers."""
    seen: dict[str, list[tuple[int, float, str | None]]] = {}
    kinds: tuple[RunKind, ...] = ("fit", "score")
    for name, fit in (("apart", Share(cpus=2)), ("shared", Share(cpus=1.5, deadline=99))):
        executor = RayExecutor(2, fit=fit, score=Share(cpus=1.5), environment={"GREETING": "moin"}, start_deadline=60)
        for kind in kinds:
            seen[f"{name} {kind}"] = [row for _, row in executor.run("process", process, None, range(8), kind=kind)]
        executor.close()
    assert {cpus for _, cpus, _ in seen["apart fit"]} == {2.0}
    assert {cpus for _, cpus, _ in seen["apart score"]} == {1.5}
    assert not {pid for pid, _, _ in seen["apart fit"]} & {pid for pid, _, _ in seen["apart score"]}
    assert {pid for pid, _, _ in seen["shared fit"]} & {pid for pid, _, _ in seen["shared score"]}
    assert {greeting for rows in seen.values() for _, _, greeting in rows} == {"moin"}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_cluster_of_its_own_ends_with_its_driver(end: str) -> None:
    """In a process of its own, as a campaign runs: after close() a second one may start; after kill -9 nothing is left."""
    program = f"""
import os, signal
import ray
from alframe.runtime import RayExecutor
from alframe.runtime.shares import Share
from alframe.testing.contracts.executor import affine
for _ in range(2):
    executor = RayExecutor(2)
    assert dict(executor.run("affine", affine, (2, 1), range(5))) == {{n: 2 * n + 1 for n in range(5)}}
    assert ray.cluster_resources()["CPU"] == 2
    print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
    if {end!r} == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    executor.close()
    assert not ray.is_initialized()
"""
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, text=True, capture_output=True, check=False)
    assert ran.returncode == (-9 if end == "kill" else 0), ran.stderr
    sessions = [Path(line).name for line in ran.stdout.split()]
    assert len(set(sessions)) == (1 if end == "kill" else 2)
    for _ in range(600):
        left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if any(name in _read(path) for name in sessions)]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the process ended meanwhile
        return ""
