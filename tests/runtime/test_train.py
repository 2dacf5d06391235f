"""Teams of Ray Train workers: ranks, errors, lost processes, and a member whose checkpoint is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alframe.errors import InvalidValue, NonFiniteError, TaskFailed
from alframe.jobs import FitContext, FitJob
from alframe.learners import MCDropout, Training, UNet
from alframe.runtime import RayExecutor
from alframe.runtime.shares import Share
from alframe.storage import FileSnapshots
from alframe.teams import Rank
from alframe.testing.contracts.executor import affine
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.testing.teams import fit_in_team, fit_telling, report, sum_of_ranks
from alframe.types import Compute, Split

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def team(ray_cluster: None) -> Iterator[RayExecutor]:
    executor = RayExecutor(2, member_workers=2, attempts=2)
    yield executor
    executor.close()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"member_workers": 0}, "member_workers must be 1 or more"),
        ({"member_workers": 5}, "5 Ray workers with 1 CPU each need 5 CPU, the cluster has 4"),
        (
            {"member_workers": 2, "fit": Share(gpus=0.5)},
            "each of 2 workers that train a member together needs a whole GPU",
        ),
    ],
)
def test_a_team_that_cannot_be_had_is_refused_at_once(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        RayExecutor(1, **wanted)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_team_does_a_task_together(team: RayExecutor, tmp_path: Path) -> None:
    """Two processes with their own ranks, the executor's threads, no GPU and no failpoint; the result is rank 0's."""
    found = dict(team.run("report", report, tmp_path, ["one", "two"], kind="fit"))
    surroundings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ALFRAME_FAILPOINT": ""}
    assert found == dict.fromkeys(range(2), (Rank(index=0, count=2), surroundings))
    left = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert left == ["one-0", "one-1", "two-0", "two-1"]
    assert len({path.name.rpartition("-")[2] for path in tmp_path.glob("one-*")}) == 2


@pytest.mark.slow
def test_the_process_group_works_and_scoring_stays_with_single_workers(team: RayExecutor) -> None:
    assert dict(team.run("sum", sum_of_ranks, None, [10], kind="fit")) == {0: 11.0}
    assert dict(team.run("affine", affine, (2, 1), [0, 1, 2])) == {0: 1, 1: 3, 2: 5}


@pytest.mark.slow
def test_what_one_process_raises_on_purpose_passes(team: RayExecutor, tmp_path: Path) -> None:
    """Although the other one says that it lost its peer."""
    with pytest.raises(NonFiniteError, match="the loss became nan"):
        list(team.run("report", report, tmp_path, ["not finite"], kind="fit"))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_a_bug_in_one_process_is_named_and_not_tried_again(team: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(
        TaskFailed, match=r"task 0 of 1 \('bug'\) failed after 1 attempt: rank 1: ValueError: cannot do it"
    ):
        list(team.run("report", report, tmp_path, ["bug"], kind="fit"))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_a_team_that_is_always_lost_is_given_up(team: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match=r"task 0 of 1 \('die'\) failed after 2 attempts: rank 1: .*died"):
        list(team.run("report", report, tmp_path, ["die"], kind="fit"))
    assert len(list(tmp_path.glob("die-1-*"))) == 2


LEARNER = MCDropout(
    network=UNet(features=(8, 16), dropout_from=0),
    training=Training(steps=300, batch_size=4, patch=(24, 24), validate_every=10, warmup_steps=1),
    passes=2,
)

PROGRAM = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError("ray is not here")
sys.meta_path.insert(0, Ban())
from pathlib import Path
from alframe.learners import MCDropout, UNet
from alframe.testing.contracts.learner import blob_pool
from alframe.types import Compute
learner = MCDropout(network=UNet(features=(8, 16), dropout_from=0), passes=2)
predictor = learner.predictor([Path(sys.argv[1]).read_bytes()], Compute())
p = predictor.predict(blob_pool().image("blob8"), seed=1).moments.probability
truth = blob_pool().truth("blob8").classes
assert "ray" not in sys.modules
sys.stdout.write(str(float((p.argmax(0) == truth).mean())))
"""


@pytest.mark.slow
def test_a_member_survives_a_killed_worker_and_its_checkpoint_needs_no_ray(team: RayExecutor, tmp_path: Path) -> None:
    """A worker is killed in the middle; the second team goes on from the snapshot, and ends with the bits of a quiet team."""
    pool = blob_pool()
    labels = MemoryLabels(maps={info.id: pool.truth(info.id) for info in pool.items(Split.TRAIN)})
    snapshots = FileSnapshots(tmp_path / "store")
    told = tmp_path / "told"
    told.mkdir()
    context = FitContext(
        learner=LEARNER,
        pool=pool,
        labels=labels,
        validation=tuple(info.id for info in pool.items(Split.VALIDATION)),
        compute=Compute(),
        snapshots=snapshots,
        snapshot_seconds=0.0,
    )
    killed: list[int] = []

    def kill() -> None:
        """As soon as there is something to go on from."""
        while snapshots.at("run.1.0.0").load() is None:
            time.sleep(0.02)
        (victim,) = told.glob("fit-1-*")
        killed.append(int(victim.name.rpartition("-")[2]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    job = FitJob(member=0, restart=0, seed=5, snapshot="run.1.0.0")
    ((position, checkpoint),) = team.run("fit", fit_telling, (context, told), [job], kind="fit")
    killer.join()
    assert position == 0
    assert len(list(told.glob("fit-1-*"))) == 2
    assert len({row["step"] for row in checkpoint.history}) == len(checkpoint.history) == 30
    quiet = fit_in_team(LEARNER, fit_task(pool, labels), 2)[0]
    assert getattr(quiet, "weights", quiet) == checkpoint.weights
    path = tmp_path / "member.safetensors"
    path.write_bytes(checkpoint.weights)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=300, check=True
    )
    assert float(run.stdout) > 0.9
