"""Several nodes: they leave, they join, workers are packed or spread; whatever happens, each result comes once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from alframe.errors import ClusterUnavailable, InvalidValue
from alframe.runtime import cluster

pytestmark = pytest.mark.ray

PROGRAM = """
import json, sys, time
from pathlib import Path
import ray
from alframe.errors import TaskFailed
from alframe.runtime import RayExecutor
from alframe.runtime.shares import Share
from alframe.testing.clusters import Nodes

def where(context, task):
    time.sleep(context)
    return ray.get_runtime_context().get_node_id()

def until_joined(context, task):
    # the last tasks end when a node that was not there at first has taken part
    first, file = context
    time.sleep(0.2)
    here = ray.get_runtime_context().get_node_id()
    if here not in first:
        file.touch()
    ends = time.monotonic() + 120
    while task >= 40 and not file.exists() and time.monotonic() < ends:
        time.sleep(0.1)
    return here

def all_here(context, task):
    # no task ends before every node that is left has taken part
    folder, count = context
    here = ray.get_runtime_context().get_node_id()
    (folder / here).touch()
    ends = time.monotonic() + 120
    while len(list(folder.iterdir())) < count and time.monotonic() < ends:
        time.sleep(0.05)
    return here

def nodes_of(results, count):
    assert sorted(position for position, _ in results) == list(range(count))
    return set(dict(results).values())

with Nodes(3, cpus=4) as nodes, nodes.environment():
    told = {"nodes": nodes.ids}
    for placement in ("spread", "pack"):
        executor = RayExecutor(2, placement=placement, address=nodes.address)
        told["connected"] = executor._connected
        told[placement] = len(nodes_of(list(executor.run("where", where, 0.05, range(20))), 20))
        executor.close()
    with_room = RayExecutor(4, min_workers=4, score=Share(cpus=4), start_deadline=1, address=nodes.address)
    try:
        list(with_room.run("where", where, 0.0, range(4)))
    except TaskFailed as error:
        told["too few"] = str(error)
    with_room.close()
    # every worker takes a whole node; more are wanted than there are nodes
    executor = RayExecutor(5, min_workers=2, score=Share(cpus=4), attempts=1, address=nodes.address)
    results = []
    context = (nodes.ids, Path(sys.argv[1]) / "joined")
    for step, result in enumerate(executor.run("where", until_joined, context, range(60))):
        results.append(result)
        if step == 20:
            nodes.kill(result[1])
            told["killed"] = result[1]
        if step == 25:
            told["new"] = nodes.add(4)
    told["seen"] = sorted(nodes_of(results, 60))
    told["last"] = sorted({node for _, node in results[-9:]})
    present = Path(sys.argv[1]) / "present"
    present.mkdir()
    told["again"] = sorted(nodes_of(list(executor.run("where", all_here, (present, 3), range(12))), 12))
    # small workers of the other kind take the room of these: where, Ray decides
    told["fit"] = sorted(nodes_of(list(executor.run("where", where, 0.2, range(12), kind="fit")), 12))
    executor.close()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """In a process of its own: this one may be connected to another cluster."""
    folder = str(tmp_path_factory.mktemp("cluster"))
    ran = subprocess.run([sys.executable, "-c", PROGRAM, folder], text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_workers_are_spread_over_nodes_or_packed(told: dict[str, Any]) -> None:
    assert (told["spread"], told["pack"]) == (2, 1)


@pytest.mark.slow
def test_too_few_workers_for_too_long_are_an_error(told: dict[str, Any]) -> None:
    wanted = r"[0-3] of 4 workers with 4 CPU, 0 GPU each started within 1 s, at least 4 must"
    assert re.search(wanted, told["too few"])


@pytest.mark.slow
def test_a_lost_node_costs_no_attempt_and_a_new_one_is_used(told: dict[str, Any]) -> None:
    """With a single attempt a run outlives the kill; the node that joins takes part in it; later runs know who is left."""
    left = sorted({*told["nodes"], told["new"]} - {told["killed"]})
    assert told["seen"] == sorted([*left, told["killed"]])
    assert set(told["last"]) <= set(left)
    assert told["again"] == left
    assert set(told["fit"]) <= set(left)


def test_an_address_where_no_cluster_is_fails_within_seconds() -> None:
    """Ray itself would try for a quarter of an hour."""
    with pytest.raises(ClusterUnavailable, match=r"no Ray cluster at 127.0.0.1:1 .*firewall"):
        cluster._join("127.0.0.1:1")
    with pytest.raises(InvalidValue, match="HOST:PORT"):
        cluster._join("head")
