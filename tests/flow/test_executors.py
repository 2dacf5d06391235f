"""One campaign, one digest: inline, on Ray with one worker, on Ray with two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alframe.campaign import Budget
from alframe.learners import MCDropout, Training, UNet
from alframe.ports import Executor, Learner
from alframe.runtime import InlineExecutor, RayExecutor
from alframe.testing.campaigns import small_campaign
from alframe.testing.pixel_learner import PixelLearner

NETWORK = MCDropout(
    network=UNet(features=(8, 16), dropout_from=1),
    training=Training(steps=12, patch=(16, 16), batch_size=4, validate_every=6),
    passes=4,
    restarts=2,
)


def digest(folder: Path, executor: Executor, learner: Learner, rounds: int) -> tuple[str, int]:
    folder.mkdir()
    try:
        campaign = small_campaign(folder, executor, learner=learner, budget=Budget(rounds=rounds))
        assert campaign.run().status == "done"
        return campaign.digest(), len(campaign.parts.ledger.queries(campaign.name))
    finally:
        executor.close()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("learner", "rounds"), [(PixelLearner(members=2, restarts=2), 2), (NETWORK, 1)], ids=["pixels", "network"]
)
def test_the_same_queries_labels_and_metrics_wherever_it_runs(tmp_path: Path, learner: Learner, rounds: int) -> None:
    executors: dict[str, Callable[[], Executor]] = {
        "inline": InlineExecutor,
        "one": lambda: RayExecutor(1),
        "two": lambda: RayExecutor(2),
    }
    found = {name: digest(tmp_path / name, make(), learner, rounds) for name, make in executors.items()}
    assert len(set(found.values())) == 1, found
    assert found["inline"][1] == 2 + 4 * rounds
