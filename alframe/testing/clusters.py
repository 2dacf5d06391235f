"""A Ray cluster of several nodes on this machine, whose nodes may be killed and joined while a driver works on it.

Every node is a set of processes, as Ray's own ``Cluster`` starts them. They are held by a process of their own (this module as
a program), so that tests that fork, or that are connected to another cluster, can have one too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Nodes"]

_IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "30",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""So that lost nodes and a lost head are noticed within seconds."""


class Nodes:
    """A head without CPUs, on which drivers run, and worker nodes. Use as a context manager.

    Drivers must run under :meth:`environment`, which has the same notion of time as the cluster.
    """

    def __init__(self, count: int, *, cpus: int = 1, dashboard: bool = False) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_IMPATIENT, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"},
        )
        head = self._ask("head", dashboard=dashboard)
        self.address: str = head["address"]
        """HOST:PORT of the head."""
        self.dashboard: str = head["dashboard"]
        """Where jobs are submitted, or an empty text."""
        self.ids: list[str] = [self.add(cpus) for _ in range(count)]
        """The worker nodes that were started with the cluster."""

    def _ask(self, what: str, **values: Any) -> Any:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(json.dumps([what, values]) + "\n")
        self._holder.stdin.flush()
        for line in self._holder.stdout:
            if line.startswith("reply "):
                return json.loads(line.removeprefix("reply "))
        raise RuntimeError(f"the cluster did not {what}: its process ended with code {self._holder.wait()}")

    def add(self, cpus: int = 1) -> str:
        """Let a node join; its id."""
        return str(self._ask("add", cpus=cpus))

    def kill(self, node: str) -> None:
        """Kill all processes of a worker node at once."""
        self._ask("kill", node=node)

    def kill_head(self) -> None:
        """Kill all processes of the head at once."""
        self._ask("kill_head")

    @contextmanager
    def environment(self) -> Iterator[None]:
        """The environment of drivers, in this process and those that it starts."""
        before = dict(os.environ)
        os.environ.update(_IMPATIENT)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()  # the holder then ends the nodes
        self._holder.wait()
        self._holder.stdout.close()


def _processes(node: Any) -> list[int]:
    """The node's own processes and the workers that its raylet started."""
    own = [entry.process.pid for kind in node.all_processes.values() for entry in kind]
    parents: Mapping[int, int] = {
        int(stat.parent.name): int(stat.read_text().rpartition(")")[2].split()[1])
        for stat in _readable(Path("/proc").glob("[0-9]*/stat"))
    }
    return [*own, *(pid for pid, parent in parents.items() if parent in own)]


def _readable(files: Iterator[Path]) -> Iterator[Path]:
    for file in files:
        with suppress(OSError):
            file.read_text()
            yield file


class _Holder:
    """What the program does when it is told so on its standard input."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        from alframe.runtime.token import authenticate

        authenticate(new=True)
        self._cluster = Cluster()
        self._nodes: dict[str, Any] = {}

    def head(self, dashboard: bool) -> dict[str, str]:
        node = self._cluster.add_node(num_cpus=0, include_dashboard=dashboard, dashboard_port=0)
        return {"address": node.address, "dashboard": node.webui_url or ""}

    def add(self, cpus: int) -> str:
        node = self._cluster.add_node(num_cpus=cpus)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def kill(self, node: str) -> None:
        gone = self._nodes.pop(node)
        self._strike(gone)

    def kill_head(self) -> None:
        self._strike(self._cluster.head_node)

    def _strike(self, node: Any) -> None:
        for pid in _processes(node):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)

    def serve(self) -> None:
        for line in sys.stdin:
            what, values = json.loads(line)
            answer = getattr(self, what)(**values)
            sys.stdout.write(f"reply {json.dumps(answer)}\n")
            sys.stdout.flush()
        self._cluster.shutdown()


if __name__ == "__main__":
    _Holder().serve()
