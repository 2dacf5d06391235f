"""The promises of a learner, over the configurations for several raters, in two and three dimensions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alframe.learners import (
    Heteroscedastic,
    HeteroscedasticUNet,
    Inference,
    ProbabilisticUNet,
    ProbUNet,
    Training,
)
from alframe.ports import Learner
from alframe.testing.contracts.learner import LearnerContract

QUICK = Training(steps=60, batch_size=4, patch=(24, 24), validate_every=20, learning_rate=1e-2, warmup_steps=5)
SMALL = ProbUNet(features=(8, 16), latent=3)


class TestHu(LearnerContract):
    def make(self) -> Learner:
        return ProbabilisticUNet(network=SMALL, training=QUICK, draws=3, latents=2, prior_draws=3)


class TestKohl(LearnerContract):
    def make(self) -> Learner:
        network = replace(SMALL, weights="fixed")
        return ProbabilisticUNet(network=network, training=QUICK, rater_weight=0.0, latents=4, members=2)


class TestKendallGal(LearnerContract):
    def make(self) -> Learner:
        network = HeteroscedasticUNet(features=(8, 16))
        return Heteroscedastic(network=network, training=QUICK, draws=3, latents=2, loss_draws=4)


@pytest.mark.slow
class TestVolumesByWindows(LearnerContract):
    axes = 3

    def make(self) -> Learner:
        training = replace(QUICK, batch_size=2, patch=(12, 12, 12), validate_every=30, foreground=0.7)
        inference = Inference(window=(32, 32, 32), overlap=0.25)
        return ProbabilisticUNet(network=SMALL, training=training, inference=inference, draws=2, latents=2)
