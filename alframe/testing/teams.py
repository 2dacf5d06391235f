"""Teams for tests: processes on this machine over gloo and without Ray, and functions that tell who did what."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import AlframeError, NonFiniteError, PeerLost
from alframe.jobs import FitContext, FitJob, fit_member
from alframe.ports import Checkpoint, FitTask, Learner
from alframe.teams import Rank, here

__all__ = ["Death", "fit_in_team", "fit_telling", "kill_once", "report", "without_ray"]


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


def kill_once(folder: Path, rank: int, when: Callable[[], bool]) -> threading.Thread:
    """Kill process `rank` of the team that :func:`fit_telling` names in `folder`, by SIGKILL, as soon as `when` holds.

    Returns the thread that waits for it: join it when the training is over.
    """

    def kill() -> None:
        while not when():
            time.sleep(0.02)
        (victim,) = folder.glob(f"fit-{rank}-*")
        os.kill(int(victim.name.rpartition("-")[2]), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


_WITHOUT_RAY = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError("ray is not here")
sys.meta_path.insert(0, Ban())
from pathlib import Path
import numpy as np
from alframe.learners import DeepEnsemble
from alframe.learners.checkpoints import read_card
from alframe.types import Compute
folder = Path(sys.argv[1])
weights = (folder / "member.safetensors").read_bytes()
learner = DeepEnsemble(members=1, network=read_card(weights).network)
prediction = learner.predictor([weights], Compute()).predict(np.load(folder / "image.npy"), seed=1)
np.save(folder / "probability.npy", prediction.moments.probability)
assert "ray" not in sys.modules
"""


def without_ray(weights: bytes, image: NDArray[Any]) -> NDArray[np.float32]:
    """What a checkpoint predicts (C, S) for an image (C, S) in a process where ``import ray`` fails.

    Raises: CalledProcessError: when anything of it does.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "member.safetensors").write_bytes(weights)
        np.save(folder / "image.npy", image)
        subprocess.run([sys.executable, "-c", _WITHOUT_RAY, name], check=True, timeout=300)
        probability: NDArray[np.float32] = np.load(folder / "probability.npy")
    return probability
