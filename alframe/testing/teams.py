"""Teams for tests: processes on this machine over gloo and without Ray, and functions that tell who did what."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from alframe.errors import AlframeError, NonFiniteError, PeerLost
from alframe.jobs import FitContext, FitJob, fit_member
from alframe.ports import Checkpoint, FitTask, Learner
from alframe.teams import Rank, here

__all__ = ["Death", "fit_in_team", "fit_telling", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end, by SIGKILL, of process `rank` of a team when the fraction `after` of its training is done."""

    rank: int
    after: float


def fit_in_team(
    learner: Learner, task: FitTask, count: int, *, death: Death | None = None
) -> list[Checkpoint | AlframeError]:
    """Fit a member in `count` processes; what each of them returned or raised (PeerLost for a killed one)."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ends: list[Connection] = []
        processes = []
        for index in range(count):
            receiver, sender = context.Pipe(duplex=False)
            work = (
                learner,
                replace(task, rank=Rank(index=index, count=count)),
                Path(folder, "rendezvous"),
                sender,
                death,
            )
            process = context.Process(target=_member, args=work)
            process.start()
            sender.close()
            processes.append(process)
            ends.append(receiver)
        results = [_received(end) for end in ends]
        for process in processes:
            process.join()
    return results


def _received(end: Connection) -> Checkpoint | AlframeError:
    try:
        result: Checkpoint | AlframeError = end.recv()
    except EOFError:
        return PeerLost("the process ended without a result")
    return result


def _member(learner: Learner, task: FitTask, rendezvous: Path, sender: Connection, death: Death | None) -> None:
    from torch import distributed

    warnings.simplefilter("error")
    distributed.init_process_group(
        "gloo",
        init_method=rendezvous.as_uri(),
        rank=task.rank.index,
        world_size=task.rank.count,
        timeout=timedelta(seconds=120),
    )
    try:
        sender.send(learner.fit(task, _dying(death) if death and death.rank == task.rank.index else None))
    except AlframeError as error:
        sender.send(error)
    finally:
        distributed.destroy_process_group()


def _dying(death: Death) -> Callable[[float], None]:
    def progress(done: float) -> None:
        if done >= death.after:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def report(context: Path, task: str) -> tuple[Rank, dict[str, str | None], float]:
    """Leave a file that says which process is which rank of the team that does `task`, and do what the task's name says.

    Returns the rank, what a worker must find in its environment, and the sum of all ranks, for which a process group must work.
    Raises: NonFiniteError: in rank 1, as told.
    """
    rank = here()
    Path(context, f"{task}-{rank.index}-{os.getpid()}").touch()
    if rank.index == 1 and task == "not finite":
        raise NonFiniteError("the loss became nan")
    if rank.index == 1 and task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ALFRAME_FAILPOINT")
    return rank, {name: os.environ.get(name) for name in names}, _sum_of_ranks()


def _sum_of_ranks() -> float:
    import torch

    from alframe.learners.together import Team

    team = Team(here(), torch.device("cpu"))
    with team.guarded():
        return team.totals([float(here().index)])[0]


def fit_telling(context: tuple[FitContext, Path], job: FitJob) -> Checkpoint:
    """:func:`alframe.jobs.fit_member`, leaving a file with the rank and the number of each process that takes part."""
    Path(context[1], f"fit-{here().index}-{os.getpid()}").touch()
    return fit_member(context[0], job)
