"""The progress of a training run as bytes: enough to go on and end with the very weights of a run that never stopped.

Safetensors with the network's weights, those of its moving average, the optimiser's moments, the state of every process's
random generator and the best weights so far; behind their own SHA-256, because a damaged or foreign snapshot is no error:
the run starts from the beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from alframe.errors import StoreUnavailable
from alframe.learners.optimisation import MovingAverage
from alframe.learners.together import Team
from alframe.ports import FitTask

__all__ = ["Record", "Trainable", "decode", "fingerprint", "resume", "store"]

_FORMAT = 1
_DIGEST = 32
_KEY = "alframe-snapshot"


@dataclass(slots=True, kw_only=True)
class Record:
    """What a run knows besides its weights: `step` optimiser steps are done, and `behind` measurements since the best one."""

    step: int = 0
    behind: int = 0
    best: bytes = b""
    best_loss: float = float("inf")
    seconds: float = 0.0
    history: list[Mapping[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainable:
    """What a training run changes."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    device: torch.device


def fingerprint(task: FitTask, recipe: object) -> str:
    """What a run's result depends on, as a hash: a snapshot is of use only where it is equal."""
    digest = hashlib.sha256()
    initial = None if task.initial is None else hashlib.sha256(task.initial).hexdigest()
    identity = (_FORMAT, recipe, task.compute, task.seed, task.member, task.restart, task.rank.count, task.validation)
    digest.update(f"{identity!r} {initial} {task.pool.manifest_hash}".encode())
    for item in task.labels.items():
        for rater, labels in {"": task.labels.labels(item), **task.labels.by_rater(item)}.items():
            digest.update(f"{item!r} {rater!r}".encode() + hashlib.sha256(labels.classes.tobytes()).digest())
            if labels.instances is not None:
                digest.update(hashlib.sha256(labels.instances.tobytes()).digest())
    return digest.hexdigest()


def store(task: FitTask, identity: str, team: Team, run: Trainable, record: Record) -> None:
    """Leave the progress in the task's snapshot; every process of the team calls this.

    A store that cannot be written now is no reason to stop: all that is lost is the time that a restart would save.
    """
    random = team.gathered(_random_state(run.device))
    if team.leads and task.snapshot is not None:
        with suppress(StoreUnavailable):
            task.snapshot.save(_encode(identity, run, record, random))


def resume(task: FitTask, identity: str, team: Team, run: Trainable) -> Record:
    """Go on from the task's snapshot when there is one of this very run; otherwise a record of nothing done."""
    data = None
    if team.leads and task.snapshot is not None:
        with suppress(StoreUnavailable):
            data = task.snapshot.load()
    content = decode(identity, team.told(data))
    if content is None:
        return Record()
    meta, tensors = content
    _restore(run, meta, tensors, team.rank.index)
    best = tensors["best"].numpy().tobytes()
    return Record(best=best, history=meta["history"], **meta["record"])


def _encode(identity: str, run: Trainable, record: Record, random: torch.Tensor) -> bytes:
    tensors = _named("module", run.module.state_dict())
    if run.average is not None:
        tensors |= _named("average", run.average.module.state_dict())
    for number, values in run.optimiser.state_dict()["state"].items():
        kept = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
        tensors |= _named(f"optimiser.{number}", kept)
    tensors["random"] = random
    tensors["best"] = torch.frombuffer(bytearray(record.best or b"\0"), dtype=torch.uint8)
    known = asdict(record)
    history = known.pop("history")
    del known["best"]
    meta = {
        "identity": identity,
        "record": known,
        "history": history,
        "scaler": run.scaler.state_dict(),
        "averaged": 0 if run.average is None else run.average.step,
    }
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    data: bytes = save(copies, metadata={_KEY: json.dumps(meta)})
    return hashlib.sha256(data).digest() + data


def decode(identity: str, data: bytes | None) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """The content of a snapshot that is whole and of this run; otherwise None."""
    if data is None or hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    length = int.from_bytes(data[_DIGEST : _DIGEST + 8], "little")
    try:
        header = json.loads(data[_DIGEST + 8 : _DIGEST + 8 + length])
        meta: dict[str, Any] = json.loads(header["__metadata__"][_KEY])
        return (meta, load(data[_DIGEST:])) if meta["identity"] == identity else None
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        SafetensorError,
    ):  # somebody else's, who computed the digest
        return None


def _restore(run: Trainable, meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], rank: int) -> None:
    run.module.load_state_dict(_below("module", tensors))
    if run.average is not None:
        run.average.module.load_state_dict(_below("average", tensors))
        run.average.step = meta["averaged"]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _below("optimiser", tensors).items():
        number, _, what = name.partition(".")
        moments.setdefault(int(number), {})[what] = tensor
    groups = run.optimiser.state_dict()["param_groups"]
    run.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    run.scaler.load_state_dict(meta["scaler"])
    cpu = torch.get_rng_state().numel()
    state = tensors["random"][rank]
    torch.set_rng_state(state[:cpu].clone())  # copies, because torch crashes on a state that is not aligned
    if run.device.type == "cuda":
        torch.cuda.set_rng_state(state[cpu:].clone(), run.device)


def _random_state(device: torch.device) -> torch.Tensor:
    """The state of the generators that dropout draws from (uint8)."""
    state = torch.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


def _named(prefix: str, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
