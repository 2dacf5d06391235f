"""Where a campaign's work is done: device, the shares of its workers, and the executor that a configuration asks for."""

from __future__ import annotations

import math
import os

from alframe.config import Config
from alframe.config.cluster import Ray, Worker
from alframe.errors import ConfigurationError, Problem
from alframe.ports import Executor
from alframe.runtime.shares import Share
from alframe.types import Compute

__all__ = ["check_hosts", "compute", "environment", "open_executor", "share"]


def compute(config: Config) -> Compute:
    """Device, threads and precision. ``auto`` takes a GPU where torch sees one; on Ray, where workers are given GPUs."""
    runtime = config.runtime
    device = runtime.device
    if device == "auto":
        gpus = _gpus_here() if config.ray is None else _gpus(config, config.ray)
        device = "cuda" if gpus else "cpu"
    return Compute(device=device, threads=runtime.threads, precision="fp32" if device == "cpu" else runtime.precision)


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _gpus(config: Config, ray: Ray) -> float:
    """GPUs of a worker that was given no number: on this machine an equal part of what is there, on a cluster one for `cuda`."""
    if ray.gpus is not None:
        return ray.gpus
    device = config.runtime.device
    if device == "cpu":
        return 0.0
    if ray.address != "local":
        return 1.0 if device == "cuda" else 0.0
    return min(1.0, math.floor(10_000 * _gpus_here() / ray.workers) / 10_000)  # Ray counts in ten-thousandths


def share(config: Config, ray: Ray, worker: Worker) -> Share:
    """What a worker gets of its node, for ``ray.fit`` or ``ray.score``."""
    gpus = _gpus(config, ray) if worker.gpus is None else worker.gpus
    together = worker is ray.fit and ray.member_workers > 1  # NCCL refuses two processes on one GPU
    return Share(
        cpus=float(config.runtime.threads) if worker.cpus is None else worker.cpus,
        gpus=float(math.ceil(gpus)) if together else gpus,
        memory=None if worker.memory is None else int(worker.memory * 2**30),
        resources=worker.resources,
        deadline=worker.deadline,
    )


def environment(ray: Ray) -> dict[str, str]:
    """The variables of workers. Raises: ConfigurationError: when one to be forwarded is not set."""
    missing = [name for name in ray.forward if name not in os.environ]
    if missing:
        raise ConfigurationError(
            [
                Problem(
                    where="ray.forward",
                    expected=f"{name} in the environment of this process",
                    found="no such variable",
                    hint="Set it, or take it out of `ray.forward`",
                )
                for name in missing
            ]
        )
    return {**ray.variables, **{name: os.environ[name] for name in ray.forward}}


def open_executor(config: Config) -> Executor:
    """Where the work of a configuration runs."""
    ray, threads = config.ray, config.runtime.threads
    if ray is None:
        from alframe.runtime import InlineExecutor

        return InlineExecutor(threads=threads)
    from alframe.runtime import RayExecutor

    return RayExecutor(
        ray.workers,
        min_workers=ray.min_workers,
        member_workers=ray.member_workers,
        threads=threads,
        fit=share(config, ray, ray.fit),
        score=share(config, ray, ray.score),
        placement=ray.placement,
        environment=environment(ray),
        address=ray.address,
        attempts=ray.attempts,
        start_deadline=ray.start_deadline,
    )


def check_hosts(config: Config) -> None:
    """An SQLite file is on one host, and so must be everything that may come to drive its campaign.

    Raises:
        ConfigurationError: when it is not.
    """
    ray = config.ray
    if ray is not None and ray.address != "local" and config.ledger_url.startswith("sqlite:"):
        problem = Problem(
            where=f"campaign {config.name}: ledger",
            expected=f"postgresql://USER@HOST/DATABASE, because ray.address is {ray.address!r}",
            found=f"the SQLite file {config.ledger_url.removeprefix('sqlite:///')}, which one machine alone can use safely",
            hint="See docs/how-to/postgres.md; or stay on this machine with ray.address: local",
        )
        raise ConfigurationError([problem])
