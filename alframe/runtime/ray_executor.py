"""The executor on Ray: warm actors on this machine or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray

from alframe.errors import InvalidValue
from alframe.runtime.actors import Crew, Share, own
from alframe.runtime.cluster import LOCAL, connect, require
from alframe.runtime.ray_run import Limits, Run

__all__ = ["RayExecutor"]

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")


class RayExecutor:
    """Runs tasks on `workers` actors that stay warm between runs, each with its CPUs, threads and share of a GPU.

    ``address="local"`` starts a cluster of its own on this machine; another address joins a cluster. A connection to Ray
    that this process has already is used, and left open by :meth:`close`. A task whose worker is lost, or that runs for
    more than `task_deadline` seconds, is tried `attempts` times in all; an error that its function raises is final.
    Functions, contexts, tasks and results are pickled; a context is sent once and unpacked once by each worker. Use from
    one thread.
    """

    def __init__(
        self,
        workers: int,
        *,
        threads: int = 1,
        gpus_per_worker: float = 0.0,
        cpus_per_worker: int = 1,
        address: str = LOCAL,
        attempts: int = 3,
        task_deadline: float | None = None,
        start_deadline: float = 600.0,
    ) -> None:
        """Raises: InvalidValue: when a number makes no sense, or this machine can never hold the workers."""
        _at_least_one(workers=workers, threads=threads, cpus_per_worker=cpus_per_worker, attempts=attempts)
        _positive(task_deadline=math.inf if task_deadline is None else task_deadline, start_deadline=start_deadline)
        if gpus_per_worker < 0 or (gpus_per_worker > 1 and gpus_per_worker != int(gpus_per_worker)):
            raise InvalidValue(f"gpus_per_worker is a share from 0 to 1 or a whole number, got {gpus_per_worker:g}")
        self._crew = Crew(workers, Share(cpus=cpus_per_worker, gpus=gpus_per_worker, threads=threads))
        self._limits = Limits(attempts=attempts, task_seconds=task_deadline, start_seconds=start_deadline)
        self._owners: list[Any] = []
        self._connected = connect(address, cpus=workers * cpus_per_worker, gpus=workers * gpus_per_worker)
        if address == LOCAL:
            self._check_room()

    def _check_room(self) -> None:
        try:
            require(workers=self.workers, cpus=self._crew.share.cpus, gpus=self._crew.share.gpus)
        except InvalidValue:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return len(self._crew)

    def run(
        self, name: str, function: Callable[[Context, Task], Result], context: Context, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Yield ``(position, result)`` as tasks finish. Work starts with the first result that is asked for.

        Closing the iterator early cancels what has not started and stops what runs. Stopping a task of one run makes
        another run, should one be open on this executor at the same time, repeat what its share of that worker was.

        Raises:
            InvalidValue: when the executor is closed, or function and context cannot be pickled.
            TaskFailed: naming the task, when its worker was lost too often or `function` raised no AlframeError.
            AlframeError: as `function` raised it.
        """
        self._check_open(name)
        return self._results(name, function, context, tuple(tasks))

    def _results(
        self, name: str, function: Callable[[Context, Task], Result], context: Context, tasks: tuple[Task, ...]
    ) -> Iterator[tuple[int, Result]]:
        if not tasks:
            return
        try:
            parcel = ray.put((function, context))
        except TypeError as error:
            raise InvalidValue(
                f"{name}: function and context must be picklable to travel to workers: {error}"
            ) from error
        yield from Run(name, parcel, tasks, self._crew, self._limits).results()

    def own(self, factory: Callable[[], Any]) -> Any:
        """A stand-in for an object in a process of its own, whose methods run one at a time, in order.

        Raises:
            InvalidValue: when the executor is closed.
            TaskFailed: when the process is lost; otherwise whatever `factory` raises.
        """
        self._check_open("own")
        actor, owned = own(factory)
        self._owners.append(actor)
        return owned

    def close(self) -> None:
        """End the workers and owners, and the connection to Ray if this executor made it. Idempotent."""
        if self._crew.closed:
            return
        if not ray.is_initialized():
            self._crew.closed = True
            return
        self._crew.close()
        for actor in self._owners:
            ray.kill(actor)
        if self._connected:
            ray.shutdown()

    def _check_open(self, name: str) -> None:
        if self._crew.closed:
            raise InvalidValue(f"{name}: the executor is closed")


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise InvalidValue(f"{name} must be 1 or more, got {number}")


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise InvalidValue(f"{name} must be above 0 seconds, got {number:g}")
