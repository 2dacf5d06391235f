"""Tasks that a team of Ray Train workers does together: gloo between CPUs, NCCL between GPUs.

Ray Train starts the processes, gives each its rank and its place in torch's process group, and ends all of them when one is
lost. Nothing else is asked of it: results come back as the return value of rank 0, attempts are counted here, and what a
task saves of its progress lies in the campaign's own store. Train's checkpoints are no durable commit, so none is made.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alframe.errors import AlframeError, ClusterUnavailable, InvalidValue, PeerLost
from alframe.runtime.actors import Crew, Terms
from alframe.runtime.cluster import Head
from alframe.runtime.failures import TaskNames, describe
from alframe.runtime.ray_run import Limits
from alframe.runtime.threads import limited_threads
from alframe.teams import Rank, placed

__all__ = ["Outcome", "TeamRun", "failed"]

_TICK = 1.0
"""Seconds after which the loop looks at its clocks although nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: with `value`, with an `error` that its function raised on purpose, or (`why`) otherwise.

    `lost`: because a process of the team is gone, so that it may be tried again.
    """

    value: Any = None
    error: AlframeError | None = None
    why: str = ""
    lost: bool = False


class Coach:
    """An actor that takes one task to a team of Ray Train workers. When it ends, so do they."""

    def train(self, parcel: list[Any], task: Any, size: int, terms: Terms, start_seconds: float) -> Outcome:
        """The outcome of the task whose function and context are in `parcel` (a reference, kept from being resolved)."""
        # these are read when a trainer begins
        os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(start_seconds)
        os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.5"
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        share = terms.share
        with tempfile.TemporaryDirectory(prefix="alframe-train-") as folder:
            trainer = TorchTrainer(
                play,
                train_loop_config={"parcel": parcel, "task": task, "threads": terms.threads},
                torch_config=TorchConfig(backend="nccl" if share.gpus else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=size,
                    use_gpu=share.gpus > 0,
                    resources_per_worker=share.wanted(),
                    placement_strategy="PACK",  # gradients travel at every step
                ),
                run_config=RunConfig(
                    name="team",
                    storage_path=folder,
                    failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
                    worker_runtime_env={"env_vars": terms.variables()},
                ),
            )
            try:
                return Outcome(value=trainer.fit().return_value)
            except TrainingFailedError as error:
                return failed(error)


def play(config: dict[str, Any]) -> Any:
    """What each process of a team runs; only what rank 0 returns is kept."""
    from ray.train import get_context

    context = get_context()
    rank = Rank(index=context.get_world_rank(), count=context.get_world_size())
    function, shared = ray.get(config["parcel"][0])
    with limited_threads(config["threads"]), placed(rank):
        result = function(shared, config["task"])
    return result if rank.index == 0 else None


def failed(error: Exception) -> Outcome:
    """An error of Ray Train told apart: raised on purpose, a bug, or a process that is gone."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for _, failure in sorted(failures.items()):
        cause = _cause(failure)
        if isinstance(cause, AlframeError) and not isinstance(cause, PeerLost):
            return Outcome(error=cause)
    for rank, failure in sorted(failures.items()):
        cause = _cause(failure)
        if not isinstance(cause, PeerLost) and not _is_loss(failure):
            return Outcome(why=f"rank {rank}: {describe(cause)}")
    first = {rank: failure for rank, failure in failures.items() if not isinstance(_cause(failure), PeerLost)}
    told = "; ".join(
        f"rank {rank}: {describe(_cause(failure))}" for rank, failure in sorted((first or failures).items())
    )
    return Outcome(why=told or describe(error), lost=True)


def _cause(failure: Exception) -> Exception:
    cause = failure.cause if isinstance(failure, RayTaskError) else failure
    return cause if isinstance(cause, Exception) else failure


def _is_loss(failure: Exception) -> bool:
    from ray.train.v2._internal.exceptions import RayTrainError

    return isinstance(failure, RayTrainError) or (
        isinstance(failure, RayError) and not isinstance(failure, RayTaskError)
    )


@dataclass(slots=True, eq=False)
class _Game:
    """A task that a team is busy with."""

    position: int
    coach: Any
    since: float


class TeamRun:
    """Brings each of `tasks` to a team of `size` processes: as many teams at once as the cluster has room for."""

    def __init__(
        self, name: str, parcel: Any, tasks: Sequence[Any], *, size: int, crew: Crew, limits: Limits, head: Head
    ) -> None:
        self._name, self._parcel, self._tasks, self._size = name, parcel, tasks, size
        self._crew, self._limits, self._head = crew, limits, head
        self._names = TaskNames(name, tuple(tasks))
        self._waiting = deque(range(len(tasks)))
        self._spent = [0] * len(tasks)
        self._games: dict[Any, _Game] = {}

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield ``(position, result)`` as they come. Ends the teams when closed early or failed.

        Raises:
            TaskFailed: a team was lost too often, or the function raised what is no AlframeError.
            InvalidValue: the executor was closed meanwhile.
            ClusterUnavailable: the head of the cluster is gone.
            AlframeError: the function raised it.
        """
        try:
            while self._waiting or self._games:
                if self._crew.closed:
                    raise InvalidValue(f"{self._name}: the executor was closed during the run")
                self._head.watch()
                while self._waiting and len(self._games) < self._room():
                    self._begin(self._waiting.popleft())
                ready, _ = ray.wait(list(self._games), num_returns=1, timeout=_TICK)
                for ref in ready:
                    yield from self._settle(ref)
                self._stop_overdue()
        except ClusterUnavailable:
            self._crew.closed = True  # nobody is left to end the teams
            raise
        finally:
            if not self._crew.closed:
                for game in self._games.values():
                    ray.kill(game.coach)

    def _room(self) -> int:
        """Teams that the cluster, as it is now, can hold at once; at least one, which then waits for nodes."""
        total = ray.cluster_resources()
        wanted = self._crew.terms.share.wanted()
        return max(1, int(min(total.get(name, 0.0) / (self._size * amount) for name, amount in wanted.items()) + 1e-6))

    def _begin(self, position: int) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": here}
        coach = ray.remote(Coach).options(runtime_env={"env_vars": {"ALFRAME_FAILPOINT": ""}}, **options).remote()
        arguments = ([self._parcel], self._tasks[position], self._size, self._crew.terms, self._limits.start_seconds)
        try:
            ref = coach.train.remote(*arguments)
        except TypeError as error:
            raise self._names.failed(position, 1, f"the task cannot be pickled: {error}") from error
        self._games[ref] = _Game(position=position, coach=coach, since=time.monotonic())

    def _settle(self, ref: Any) -> Iterator[tuple[int, Any]]:
        game = self._games.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except RayTaskError as error:
            raise self._names.failed(game.position, self._spent[game.position] + 1, describe(_cause(error))) from error
        except RayError as error:
            outcome = Outcome(why=describe(error), lost=True)
        ray.kill(game.coach)
        if outcome.error is not None:
            raise outcome.error
        if not outcome.why:
            yield game.position, outcome.value
        elif outcome.lost:
            self._again(game.position, outcome.why)
        else:
            raise self._names.failed(game.position, self._spent[game.position] + 1, outcome.why)

    def _again(self, position: int, why: str) -> None:
        """Queue a task whose team was lost. Raises TaskFailed when its attempts are used up."""
        self._spent[position] += 1
        if self._spent[position] >= self._limits.attempts:
            raise self._names.failed(position, self._spent[position], why)
        self._waiting.appendleft(position)

    def _stop_overdue(self) -> None:
        longest = self._limits.task_seconds
        if longest is None:
            return
        for ref, game in list(self._games.items()):
            if time.monotonic() - game.since > longest and not ray.wait([ref], timeout=0)[0]:
                ray.kill(game.coach)
                del self._games[ref]
                self._again(game.position, f"it ran for more than {longest:g} s and was stopped")
