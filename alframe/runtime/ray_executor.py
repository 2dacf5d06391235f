"""The executor on Ray: warm actors on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import ray

from alframe.errors import ClusterUnavailable, InvalidValue
from alframe.ports import RunKind
from alframe.runtime.actors import Crew, Terms, own
from alframe.runtime.cluster import LOCAL, Head, connect, require
from alframe.runtime.ray_run import Limits, Run
from alframe.runtime.shares import Share
from alframe.runtime.train import TeamRun

__all__ = ["RayExecutor"]

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")

_ONE_CPU = Share()


class RayExecutor:
    """Runs tasks on up to `workers` actors that stay warm between runs, each with its threads and its share of a node.

    ``address="local"`` starts a cluster of its own on this machine; another address joins a cluster. A connection to Ray
    that this process has already is used, and left open by :meth:`close`. Runs of kind ``fit`` and ``score`` have workers of
    their own where their shares differ; those of one kind make room for the other's. A run works with the workers that have
    started, and fails when fewer than `min_workers` did for `start_deadline` seconds. A task whose worker is lost, or that
    runs past its share's deadline, is tried `attempts` times in all; an error that its function raises is final.
    `placement` is ``spread`` or ``pack``; `environment` holds variables for the workers. Functions, contexts, tasks and
    results are pickled; a context is sent once and unpacked once by each worker. Use from one thread.

    With `member_workers` above 1 a task of kind ``fit`` is done by as many processes together, each with a fit worker's share,
    which Ray Train starts for it: see :mod:`alframe.teams`. The result is that of the first; when one is lost all start again.
    """

    def __init__(
        self,
        workers: int,
        *,
        min_workers: int = 1,
        member_workers: int = 1,
        threads: int = 1,
        fit: Share = _ONE_CPU,
        score: Share = _ONE_CPU,
        placement: Literal["spread", "pack"] = "spread",
        environment: Mapping[str, str] | None = None,
        address: str = LOCAL,
        attempts: int = 3,
        start_deadline: float = 600.0,
    ) -> None:
        """Raises: InvalidValue: when a number makes no sense, or this machine can never hold the workers."""
        numbers = {"workers": workers, "min_workers": min_workers, "member_workers": member_workers}
        _at_least_one(**numbers, threads=threads, attempts=attempts)
        if min_workers > workers:
            raise InvalidValue(f"min_workers must be at most workers, {workers}, got {min_workers}")
        if not start_deadline > 0:
            raise InvalidValue(f"start_deadline must be above 0 seconds, got {start_deadline:g}")
        if member_workers > 1 and fit.gpus != int(fit.gpus):
            raise InvalidValue(
                f"each of {member_workers} workers that train a member together needs a whole GPU, got {fit.gpus:g} of one"
            )
        made = {
            kind: Crew(
                workers, Terms(share=share, threads=threads, placement=placement, environment=dict(environment or {}))
            )
            for kind, share in (("fit", fit), ("score", score))
        }
        alike = fit.wanted() == score.wanted()
        self._crews = {"fit": made["score" if alike else "fit"], "score": made["score"]}
        self._limits = {
            kind: Limits(
                attempts=attempts, task_seconds=share.deadline, start_seconds=start_deadline, workers=min_workers
            )
            for kind, share in (("fit", fit), ("score", score))
        }
        self._workers, self._team = workers, member_workers
        self._closed = False
        self._owners: list[Any] = []
        self._connected = connect(address, workers=max(workers, member_workers), shares=(fit, score))
        if address == LOCAL:
            self._check_room(fit, score)

    def _check_room(self, fit: Share, score: Share) -> None:
        try:
            require(workers=self._workers, share=score)
            require(workers=self._workers if self._team == 1 else self._team, share=fit)
        except InvalidValue:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self._workers

    def run(
        self,
        name: str,
        function: Callable[[Context, Task], Result],
        context: Context,
        tasks: Sequence[Task],
        *,
        kind: RunKind = "score",
    ) -> Iterator[tuple[int, Result]]:
        """Yield ``(position, result)`` as tasks finish. Work starts with the first result that is asked for.

        Closing the iterator early cancels what has not started and stops what runs. Stopping a task of one run makes
        another run, should one be open on this executor at the same time, repeat what its share of that worker was.

        Raises:
            InvalidValue: when the executor is closed, or function and context cannot be pickled.
            ClusterUnavailable: when the head of the cluster is gone.
            TaskFailed: naming the task, when its worker was lost too often or `function` raised no AlframeError.
            AlframeError: as `function` raised it.
        """
        self._check_open(name)
        return self._results(name, function, context, tuple(tasks), kind)

    def _results(
        self,
        name: str,
        function: Callable[[Context, Task], Result],
        context: Context,
        tasks: tuple[Task, ...],
        kind: RunKind,
    ) -> Iterator[tuple[int, Result]]:
        if not tasks:
            return
        crew, head = self._crews[kind], Head()
        try:
            head.wait()
        except ClusterUnavailable:
            crew.closed = True
            raise
        try:
            parcel = ray.put((function, context))
        except TypeError as error:
            raise InvalidValue(
                f"{name}: function and context must be picklable to travel to workers: {error}"
            ) from error
        if kind == "fit" and self._team > 1:
            for warm in self._crews.values():
                warm.rest()
            limits = self._limits[kind]
            yield from TeamRun(name, parcel, tasks, size=self._team, crew=crew, limits=limits, head=head).results()
            return
        for other in self._crews.values():
            if other is not crew:
                other.rest()
        yield from Run(name, parcel, tasks, crew=crew, limits=self._limits[kind], head=head).results()

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
        if self._closed:
            return
        self._closed = True
        lost = any(crew.closed for crew in self._crews.values())  # a run found the head gone
        for crew in self._crews.values():
            crew.closed = True
        if lost or not ray.is_initialized():
            return
        for crew in self._crews.values():
            crew.close()
        for actor in self._owners:
            ray.kill(actor)
        if self._connected:
            ray.shutdown()

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise InvalidValue(f"{name}: the executor is closed")


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise InvalidValue(f"{name} must be 1 or more, got {number}")
