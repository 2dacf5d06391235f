"""What `doctor --cluster` makes of the nodes' answers, and what a node answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import pytest

from alframe import compose, config, nodes
from alframe.config import to_yaml
from alframe.runtime.survey import Seen
from alframe.testing.data import write_histology

pytestmark = pytest.mark.ray
YAML = """\
name: tiny
workdir: work
data: {root: data, manifest: manifest.csv, classes: [background, gland], instances: true}
learner: {type: mc_dropout}
strategy: {type: random}
initial: {queries: 1}
batch: 1
oracle: {type: simulated}
budget: {rounds: 1}
runtime: {device: cpu}
ledger: postgresql://nobody@127.0.0.1:1/none
ray: {workers: 6, score: {cpus: 2}}
"""
HERE = {"python": python_version()} | {name: version(name) for name in ("alframe", "torch", "ray")}


def seen(address: str = "10.0.0.1", head: bool = False, **changes: Any) -> Seen:
    """A node of four CPUs that is as it should be."""
    facts = {"host": "node", **HERE, **changes.pop("facts", {})}
    usual = {"resources": {"CPU": 4.0, "memory": 2.0**33}, "shared_memory": 2**31}
    return Seen(address=address, head=head, facts=facts, **{**usual, **changes})


def answers(**changes: str) -> dict[str, Any]:
    return {"store": "", "pool": "", "ledger": "", "ref": None, **changes}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> config.Config:
    """An ingested campaign on a cluster."""
    folder = tmp_path_factory.mktemp("nodes")
    write_histology(folder / "data", count=24, size=48, seed=3)
    (folder / "c.yaml").write_text(YAML)
    found = config.load(folder / "c.yaml")
    compose.ingest(found)
    return found


def test_equal_nodes_are_well() -> None:
    checks = nodes._general([seen(head=True), seen("10.0.0.2")])
    assert {check.state for check in checks} == {"ok"}
    assert checks[0].found == "2 nodes, 8 CPU, 0 GPU, 16.0 GiB"


@pytest.mark.parametrize(
    ("odd", "name", "state", "said", "advice"),
    [
        ({"problem": "ActorDiedError: gone"}, "cluster", "failed", "no answer from node 10.0.0.2: Actor", "ray stop"),
        ({"facts": {"alframe": "0.0.1"}}, "versions", "failed", "node 10.0.0.2 has alframe 0.0.1", "constraints.txt"),
        ({"facts": {"alframe": ""}}, "versions", "failed", "node 10.0.0.2 has alframe missing", "constraints.txt"),
        ({"facts": {"torch": "1.0"}}, "versions", "warning", "node 10.0.0.2 has torch 1.0", "results depend"),
        ({"shared_memory": 2**26}, "nodes' memory", "warning", "node 10.0.0.2: 0.06 GiB", "shm-size"),
        ({"skew": -90.0}, "nodes' clocks", "warning", "node 10.0.0.2: -90 s", "NTP"),
    ],
)
def test_an_odd_node_is_named_with_what_to_do(odd: Any, name: str, state: str, said: str, advice: str) -> None:
    checks = {check.name: check for check in nodes._general([seen(head=True), seen("10.0.0.2", **odd)])}
    assert (checks[name].state, said in checks[name].found, advice in checks[name].advice) == (state, True, True)
    assert all(check.state == "ok" for check in checks.values() if check.name != name)


@pytest.mark.parametrize(("count", "state"), [(3, "ok"), (2, "warning"), (0, "failed")])
def test_room_for_workers_is_counted_by_node(settings: config.Config, count: int, state: str) -> None:
    """Six workers with two CPUs each: two on each node of four."""
    check = nodes._room(settings, [seen() for _ in range(count)])
    assert (check.state, f"room for {4 * count} to train" in check.found) == (state, True)
    assert f"{2 * count} to score with 2 CPU" in check.found


def test_what_a_node_cannot_reach_is_named(settings: config.Config) -> None:
    both = [
        seen(head=True, answer=answers()),
        seen("10.0.0.2", answer=answers(store="no such folder", ledger="refused")),
    ]
    store = nodes._store(both, "", {})
    assert (store.state, store.found) == ("failed", "node 10.0.0.2: no such folder")
    assert nodes._database(both, settings).state == "warning", "only the head's driver speaks to it"
    on_head = [seen(head=True, answer=answers(ledger="refused"))]
    assert nodes._database(on_head, settings).state == "failed"
    lost = nodes._store(both[:1], "", {"node 10.0.0.3": "what it wrote is not there for others"})
    assert (lost.state, "object store" in lost.advice) == ("failed", True)
    silent = nodes._pools([seen(refused="ModuleNotFoundError: No module named 'alframe'")], "f" * 64)
    assert (silent.state, "No module named" in silent.found) == ("failed", True)


def test_a_node_with_another_disk(settings: config.Config, tmp_path: Path) -> None:
    """There the folders of store and pool are other ones: what was written here is missing, and what it writes is not here."""
    ref = compose.open_artifacts(settings).put("probe", b"hello")
    asked = {"yaml": to_yaml(settings), "folder": str(settings.folder), "pool": nodes._pool(settings), "ref": ref}
    same = nodes.probe(asked)
    assert (same["store"], same["pool"]) == ("", "")
    assert "127.0.0.1" in same["ledger"]
    written = [ref]
    assert nodes._came_back(compose.open_artifacts(settings), [seen(answer=same)], written) == {}
    nodes._clean(compose.open_artifacts(settings), written)
    assert [path for path in (settings.workdir_path / "artifacts").rglob("*") if path.is_file()] == []
    shutil.copytree(settings.folder / "data", tmp_path / "data")
    other = nodes.probe({**asked, "folder": str(tmp_path)})
    assert all(other[what] for what in ("store", "pool", "ledger"))


def test_no_cluster_says_how_to_get_one(settings: config.Config) -> None:
    """In a process of its own: this one may be connected to a cluster."""
    code = (
        "import sys; from alframe import config, nodes; settings = config.load(sys.argv[1]); "
        "ray = settings.ray.model_copy(update={'address': '127.0.0.1:1'}); "
        "print(nodes.examine(settings.model_copy(update={'ray': ray})))"
    )
    command = [sys.executable, "-c", code, str(settings.folder / "c.yaml")]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "RAY_AUTH_TOKEN": "a" * 64}
    )
    assert "no Ray cluster at 127.0.0.1:1" in ran.stdout
    assert "state='failed'" in ran.stdout
    assert "ray start" in ran.stdout
