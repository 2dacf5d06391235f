"""Every node of a cluster asked the same things."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alframe.runtime import facts as by_value
from alframe.runtime.cluster import connect
from alframe.runtime.failures import describe

__all__ = ["Seen", "survey"]

_PATIENCE = 120.0
"""Seconds that a node may take to answer: it starts a process and may load much into it."""
_HEAD = "node:__internal_head__"
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A node as it answered. `skew`: seconds that its clock is ahead of ours. `problem`: why it did not answer, or not all.

    `answer` is what the caller's own question came to there, `refused` why it came to nothing.
    """

    address: str
    head: bool
    resources: Mapping[str, float]
    facts: Mapping[str, str] = field(default_factory=dict)
    shared_memory: int | None = None
    skew: float = 0.0
    problem: str = ""
    answer: Any = None
    refused: str = ""

    @property
    def name(self) -> str:
        """Its host and address."""
        role = " (head)" if self.head else ""
        return f"{self.facts.get('host', 'node')} {self.address}{role}"


def survey(
    address: str,
    packages: Sequence[str],
    *,
    question: tuple[Callable[[Any], Any], Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Seen, ...]:
    """Ask every node that is alive in the cluster at `address`: for versions of `packages`, memory, clock, and the `question`.

    The question is a function of an importable module and its argument; it is called on the node, with `environment`. Nodes
    answer side by side.

    Raises:
        ClusterUnavailable: when there is no cluster, or no token for it.
    """
    connected = connect(address, workers=1, shares=())
    try:
        # a node without alframe could not import the class by its name
        cloudpickle.register_pickle_by_value(by_value)
        try:
            return _asked(packages, question, dict(environment or {}))
        finally:
            cloudpickle.unregister_pickle_by_value(by_value)
    finally:
        if connected:
            ray.shutdown()


def _asked(
    packages: Sequence[str], question: tuple[Callable[[Any], Any], Any] | None, environment: dict[str, str]
) -> tuple[Seen, ...]:
    alive = sorted(
        (row for row in ray.nodes() if row["Alive"]), key=lambda row: (_HEAD not in row["Resources"], row["NodeID"])
    )
    begun = []
    for row in alive:
        here = NodeAffinitySchedulingStrategy(row["NodeID"], soft=False)
        witness = ray.remote(by_value.Witness).options(num_cpus=0, scheduling_strategy=here).remote()
        first = witness.facts.remote(list(packages))
        task = None
        if question is not None:
            how: dict[str, Any] = {"runtime_env": {"env_vars": environment}, "scheduling_strategy": here}
            task = ray.remote(question[0]).options(num_cpus=0, max_retries=0, **how).remote(question[1])
        begun.append((row, witness, first, task))
    ends = time.monotonic() + _PATIENCE
    return tuple(_heard(*one, ends=ends) for one in begun)


def _heard(row: Mapping[str, Any], witness: Any, first: Any, task: Any, *, ends: float) -> Seen:
    said: dict[str, Any] = {
        "address": row["NodeManagerAddress"],
        "head": _HEAD in row["Resources"],
        "resources": {name: amount for name, amount in row["Resources"].items() if not name.startswith("node:")},
    }
    try:
        said["facts"] = ray.get(first, timeout=_left(ends))
        said["shared_memory"] = ray.get(witness.shared_memory.remote(), timeout=_left(ends))
        said["skew"] = _skew(witness, ends)
    except RayError as error:
        return Seen(problem=describe(error), **said)
    if task is not None:
        try:
            said["answer"] = ray.get(task, timeout=_left(ends))
        except RayError as error:
            said["refused"] = describe(getattr(error, "cause", None) or error)
    return Seen(**said)


def _skew(witness: Any, ends: float) -> float:
    """Of several askings the quickest tells most."""
    best = (float("inf"), 0.0)
    for _ in range(_ROUNDS):
        sent = time.time()
        there = ray.get(witness.clock.remote(), timeout=_left(ends))
        received = time.time()
        best = min(best, (received - sent, there - (sent + received) / 2))
    return best[1]


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), 1.0)
