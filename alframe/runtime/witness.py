"""What became of a lost worker: whether its node is still there, and how much memory it took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import state
from ray._private import worker as ray_worker
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alframe.runtime.peaks import read

__all__ = ["Berth", "Loss", "berth", "inquire", "lost_with_node", "peak_file"]

_PATIENCE = 40.0
"""Seconds to wait for an answer from a node; Ray itself takes up to half a minute to find one gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Berth:
    """Where a worker lives: the node's id and address, and the file that has the worker's peak of memory."""

    node: str
    address: str
    peak: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How a worker was lost: with its whole node, or alone and with this many bytes at most."""

    node_gone: bool
    peak: int | None = None


def peak_file() -> Path:
    """Where the worker of this process keeps its peak: in the folder of the Ray session, which its node keeps for logs."""
    folder = Path(ray_worker._global_node.get_session_dir_path())
    return folder / f"alframe-peak-{ray.get_runtime_context().get_actor_id()}"


def berth() -> Berth:
    """Where the worker of this process lives."""
    return Berth(node=ray.get_runtime_context().get_node_id(), address=ray.util.get_node_ip_address(), peak=peak_file())


def inquire(place: Berth) -> Loss:
    """Ask the node of a lost worker. One that gives no answer, or that Ray has given up, is gone."""
    if not _alive(place.node):
        return Loss(node_gone=True)
    there = NodeAffinitySchedulingStrategy(place.node, soft=False)
    asked = ray.remote(read).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(place.peak)
    try:
        return Loss(node_gone=False, peak=ray.get(asked, timeout=_PATIENCE))
    except RayError:
        return Loss(node_gone=not _alive(place.node))


def lost_with_node(actor: Any) -> bool:
    """Whether a worker that never said where it is was on a node that went. Ray goes on placing there until it has noticed."""
    found = state.actors(actor._actor_id.hex())
    cause = found["DeathCause"].actor_died_error_context if found else None
    return cause is not None and cause.reason == type(cause).NODE_DIED


def _alive(node: str) -> bool:
    return any(row["NodeID"] == node and row["Alive"] for row in ray.nodes())
