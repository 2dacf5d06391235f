"""A team of processes on this machine, over gloo and without Ray: to test learners that train one member together."""

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

from alframe.errors import AlframeError, PeerLost
from alframe.ports import Checkpoint, FitTask, Learner
from alframe.teams import Rank

__all__ = ["Death", "fit_in_team"]


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
