"""Teams of Ray Train workers: ranks, errors, lost processes, and a member whose checkpoint is ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train import WorkerGroupError

from alframe.errors import InvalidValue, NonFiniteError, PeerLost, TaskFailed
from alframe.jobs import FitContext, FitJob
from alframe.learners import MCDropout, Training, UNet
from alframe.runtime import RayExecutor
from alframe.runtime.shares import Share
from alframe.runtime.train import Outcome, failed
from alframe.storage import FileSnapshots
from alframe.teams import Rank
from alframe.testing.contracts.executor import affine
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.testing.teams import fit_in_team, fit_telling, kill_once, report, without_ray
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
    found = dict(team.run("report", report, tmp_path, ["sum"], kind="fit"))
    surroundings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ALFRAME_FAILPOINT": ""}
    assert found == {0: (Rank(index=0, count=2), surroundings, 1.0)}
    left = sorted(path.name.rpartition("-") for path in tmp_path.iterdir())
    assert [name for name, _, _ in left] == ["sum-0", "sum-1"]
    assert len({process for _, _, process in left}) == 2
    assert dict(team.run("affine", affine, (2, 1), [0, 1, 2])) == {0: 1, 1: 3, 2: 5}, (
        "scoring stays with single workers"
    )


@pytest.mark.slow
def test_what_one_process_raises_on_purpose_passes(team: RayExecutor, tmp_path: Path) -> None:
    """Although the other one says that it lost its peer."""
    with pytest.raises(NonFiniteError, match="the loss became nan"):
        list(team.run("report", report, tmp_path, ["not finite"], kind="fit"))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_a_team_that_is_always_lost_is_given_up(ray_cluster: None, tmp_path: Path) -> None:
    executor = RayExecutor(2, member_workers=2, attempts=1)
    with pytest.raises(TaskFailed, match=r"task 0 of 1 \('die'\) failed after 1 attempt: rank 1: .*died"):
        list(executor.run("report", report, tmp_path, ["die"], kind="fit"))
    executor.close()
    assert len(list(tmp_path.glob("die-1-*"))) == 1


def _raised(cause: Exception) -> RayTaskError:
    return RayTaskError("play", "Traceback", cause)


GONE = PeerLost("rank 0 of 2 lost another process of its team")


@pytest.mark.parametrize(
    ("failures", "outcome"),
    [
        ({0: _raised(GONE), 1: _raised(ValueError("no"))}, Outcome(why="rank 1: ValueError: no")),
        (
            {0: _raised(GONE), 1: _raised(GONE)},
            Outcome(why=f"rank 0: PeerLost: {GONE}; rank 1: PeerLost: {GONE}", lost=True),
        ),
        (
            {0: _raised(GONE), 1: ActorDiedError()},
            Outcome(why=f"rank 1: ActorDiedError: {ActorDiedError()}", lost=True),
        ),
        ({}, Outcome(why="WorkerGroupError: Training failed due to worker errors: the group failed", lost=True)),
    ],
)
def test_failures_of_a_team_are_told_apart(failures: dict[int, Exception], outcome: Outcome) -> None:
    """A bug is final, a lost process is not; and the one that was lost is named, not those that noticed."""
    assert failed(WorkerGroupError("the group failed", failures)) == outcome


LEARNER = MCDropout(
    network=UNet(features=(8, 16), dropout_from=0),
    training=Training(steps=120, batch_size=4, patch=(24, 24), validate_every=10, warmup_steps=1),
    passes=2,
)


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
    killer = kill_once(told, 1, lambda: snapshots.at("run.1.0.0").load() is not None)
    job = FitJob(member=0, restart=0, seed=5, snapshot="run.1.0.0")
    ((position, checkpoint),) = team.run("fit", fit_telling, (context, told), [job], kind="fit")
    killer.join()
    assert position == 0
    assert len(list(told.glob("fit-1-*"))) == 2
    assert len({row["step"] for row in checkpoint.history}) == len(checkpoint.history) == 12
    quiet = fit_in_team(LEARNER, fit_task(pool, labels), 2)[0]
    assert getattr(quiet, "weights", quiet) == checkpoint.weights
    classes = without_ray(checkpoint.weights, pool.image("blob8")).argmax(0)
    assert (classes == pool.truth("blob8").classes).mean() > 0.9
