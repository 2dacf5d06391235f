"""Faults 7 and 8: a node of the cluster is removed while it trains or scores; the head of the cluster is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alframe.ports import Checkpoint, FitTask, Prediction, Predictor
from alframe.testing.clusters import Nodes
from alframe.testing.faults.lab import Lab, ledger_rows
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Compute

__all__ = ["NODES"]

STANDS = "SELECT status, reason FROM campaigns"
NAMED = "SELECT round, key FROM artifacts ORDER BY round, key"
_LONG = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(PixelLearner):
    """The first that fits, and the first that predicts, says in `folder` on which node, and waits for that node's end."""

    folder: str

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Fit as ever, or wait."""
        _wait(Path(self.folder) / "fit")
        return PixelLearner.fit(self, task, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:  # type: ignore[override]
        """As ever, or one that waits."""
        return _Waiting(PixelLearner.predictor(self, checkpoints, compute), Path(self.folder) / "score")


class _Waiting:
    def __init__(self, inner: Predictor, file: Path) -> None:
        self._inner, self._file = inner, file

    def predict(self, image: np.ndarray, **how: Any) -> Prediction:
        """Predict as ever, or wait."""
        _wait(self._file)
        return self._inner.predict(image, **how)

    def samples(self, image: np.ndarray, **how: Any) -> np.ndarray:
        """As ever."""
        return self._inner.samples(image, **how)


def _wait(file: Path) -> None:
    import ray

    try:
        with file.open("x") as stream:
            stream.write(ray.get_runtime_context().get_node_id())
    except FileExistsError:
        return
    time.sleep(_LONG)


def _node(file: Path) -> str:
    """The node that a waiting process wrote down."""
    ends = time.monotonic() + _LONG
    while not (file.exists() and (node := file.read_text())):
        if time.monotonic() > ends:
            raise TimeoutError(f"no process has come to {file.name} within {_LONG:g} s")
        time.sleep(0.1)
    return node


def _learner(folder: Path) -> Waiting:
    return Waiting(members=2, steps=6, passes=2, folder=str(folder))


def nodes_removed(lab: Lab, number: int) -> Outcome:
    """A head and three nodes: one is killed while it trains, another while it scores."""
    from alframe.runtime import RayExecutor

    outcome = Outcome()
    with lab.folder() as folder, lab.folder() as quiet, Nodes(3) as nodes, nodes.environment():
        child = lab.drive(
            folder, learner=_learner(folder), executor_of=lambda: RayExecutor(3, address=nodes.address, attempts=1)
        )
        for what in ("fit", "score"):
            nodes.kill(_node(folder / what))
            outcome.kills += 1
        ended = child.wait()
        outcome.expect(ended.last("digest") == lab.digest("oracle"), f"another digest after two lost nodes: {ended}")
        lab.finish(quiet, outcome)
        outcome.expect(ledger_rows(folder, NAMED) == ledger_rows(quiet, NAMED), "rows are missing or were added")
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def head_killed(lab: Lab, number: int) -> Outcome:
    """The head is killed while nodes train; a new cluster takes over."""
    from alframe.runtime import RayExecutor

    outcome = Outcome()
    with lab.folder() as folder:
        with Nodes(2) as nodes, nodes.environment():
            child = lab.drive(
                folder, learner=_learner(folder), executor_of=lambda: RayExecutor(2, address=nodes.address)
            )
            _node(folder / "fit")
            nodes.kill_head()
            outcome.kills += 1
            ended = child.wait()
        outcome.expect(ended.code == 1, f"the driver does not end with an error: {ended}")
        told = ended.last("text")
        outcome.expect("the head of the Ray cluster" in told, f"the reason is not told: {ended}")
        outcome.expect(ledger_rows(folder, STANDS) == [("failed", told)], "the ledger does not say why it failed")
        lab.audit(folder, outcome, [], "after the head was killed")
        with Nodes(2) as nodes, nodes.environment():
            lab.finish(folder, outcome, executor_of=lambda: RayExecutor(2, address=nodes.address))
    return outcome


NODES = (
    Fault(
        number=7,
        title="a node removed while training, one while scoring",
        expected="their work is done elsewhere, no row twice; same final digest",
        cases=lambda lab: [0],
        trial=nodes_removed,
        quick=0,
        needs="ray",
    ),
    Fault(
        number=8,
        title="the head of the cluster killed",
        expected="the driver exits with an error; resumed on a new cluster, same final digest",
        cases=lambda lab: [0],
        trial=head_killed,
        quick=0,
        needs="ray",
    ),
)
