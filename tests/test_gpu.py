"""On a GPU: what is learnt, predicted and chosen there. The learners' contract runs there with ``ALFRAME_TEST_DEVICE=cuda``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alframe.campaign import Budget
from alframe.learners import DeepEnsemble, MCDropout, Training, UNet
from alframe.ports import Checkpoint, Learner
from alframe.runtime import InlineExecutor
from alframe.testing.campaigns import small_campaign
from alframe.testing.contracts.learner import blob_pool, fit_task
from alframe.types import Compute

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

GPU = Compute(device="cuda")
TRAINING = Training(steps=30, batch_size=4, patch=(32, 32), validate_every=10, learning_rate=5e-3, warmup_steps=2)
DROPOUT = MCDropout(network=UNet(features=(8, 16), dropout=0.2, dropout_from=1), training=TRAINING, passes=4)
PLAIN = DeepEnsemble(network=UNet(features=(8, 16), dropout=0.0), training=TRAINING, members=1)


def probability(learner: Learner, weights: bytes, compute: Compute) -> np.ndarray:
    predictor = learner.predictor([weights] * learner.members, compute)
    moments = predictor.predict(blob_pool().image("blob8"), seed=1).moments
    return np.asarray(moments.probability) / moments.count


def dice(p: np.ndarray) -> float:
    guess, truth = p.argmax(0) == 1, blob_pool().truth("blob8").classes == 1
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_it_learns_in_every_precision(precision: str) -> None:
    compute = replace(GPU, precision=precision)
    checkpoint = DROPOUT.fit(replace(fit_task(blob_pool()), compute=compute))
    assert np.isfinite([row["train_loss"] for row in checkpoint.history]).all()
    assert dice(probability(DROPOUT, checkpoint.weights, compute)) > 0.8


def test_weights_of_one_device_predict_the_same_on_the_other() -> None:
    for trained in (Compute(), GPU):
        weights = PLAIN.fit(replace(fit_task(blob_pool()), compute=trained)).weights
        there, here = (probability(PLAIN, weights, compute) for compute in (GPU, Compute()))
        np.testing.assert_allclose(there, here, atol=5e-3)  # convolutions in TF32


def test_dropout_on_the_gpu_spreads_as_on_the_cpu() -> None:
    """Each device draws its own masks; means over many passes agree within their standard errors."""
    many = replace(DROPOUT, passes=400)
    weights = many.fit(fit_task(blob_pool())).weights
    image = blob_pool().image("blob8")
    found = [
        many.predictor([weights], compute).predict(image, seed=1, spread=True).moments for compute in (GPU, Compute())
    ]
    means = [np.asarray(m.probability[1]) / m.count for m in found]
    assert found[0].squares is not None
    variance = np.asarray(found[0].squares[1]) / found[0].count - means[0] ** 2
    error = np.sqrt(2 * np.clip(variance, 1e-6, None) / many.passes)
    assert np.mean(np.abs(means[0] - means[1]) < 4 * error + 5e-3) > 0.99


class Notebook:
    """A snapshot in memory."""

    data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data

    def clear(self) -> None:
        self.data = None


class Stop(Exception):
    """The end of a process."""


def until(done: float) -> Callable[[float], None]:
    def progress(fraction: float) -> None:
        if fraction > done:
            raise Stop

    return progress


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_that_was_cut_off_goes_on_from_its_snapshot(precision: str) -> None:
    """With the masks and the loss scale that it would have had."""
    compute = replace(GPU, precision=precision)

    def fit(notebook: Notebook | None, progress: Callable[[float], None] | None = None) -> Checkpoint:
        task = replace(fit_task(blob_pool()), compute=compute, snapshot=notebook, snapshot_seconds=0.0)
        return DROPOUT.fit(task, progress)

    notebook, seen = Notebook(), list[float]()
    with pytest.raises(Stop):
        fit(notebook, until(0.7))
    resumed, whole = fit(notebook, seen.append), fit(None)
    assert seen[0] > 0.5
    curves = [[(row["train_loss"], row["val_loss"]) for row in one.history] for one in (resumed, whole)]
    assert curves[0] == curves[1]
    assert resumed.weights == whole.weights


def test_a_campaign(tmp_path: Path) -> None:
    learner = MCDropout(
        network=UNet(features=(8, 16), dropout_from=1), training=replace(TRAINING, patch=(16, 16)), passes=4
    )
    campaign = small_campaign(tmp_path, InlineExecutor(), learner=learner, budget=Budget(rounds=2), compute=GPU)
    assert campaign.run().status == "done"
    assert len(campaign.parts.ledger.queries(campaign.name)) == 2 + 4 * 2
    scores = {
        m.name: m.value for _, m in campaign.parts.ledger.metrics(campaign.name, overall=True) if m.scope == "test"
    }
    assert scores["dice"] is not None
    assert scores["dice"] > 0.5
