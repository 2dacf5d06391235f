"""The promises of a learner, over MC dropout and ensembles, in two and three dimensions."""

from __future__ import annotations

from alframe.learners import Augmentation, DcanResNet, DeepEnsemble, Inference, MCDropout, Training, UNet
from alframe.ports import Learner
from alframe.testing.contracts.learner import LearnerContract

QUICK = Training(steps=30, batch_size=4, patch=(32, 32), validate_every=10, learning_rate=5e-3, warmup_steps=2)
SMALL = UNet(features=(8, 16), dropout=0.2, dropout_from=1)


class TestMCDropout(LearnerContract):
    def make(self) -> Learner:
        return MCDropout(network=SMALL, training=QUICK, passes=4)


class TestMCDropoutWithAverageAndDice(LearnerContract):
    def make(self) -> Learner:
        training = Training(
            steps=40,
            batch_size=4,
            patch=(24, 24),
            validate_every=20,
            learning_rate=1e-2,
            ema=0.9,
            dice_weight=1.0,
            foreground=0.3,
            patience=5,
            schedule="one_cycle",
            optimiser="adam",
            cache_mib=0,
            augmentation=Augmentation(elastic=1.0, blur=0.5),
        )
        return MCDropout(network=SMALL, training=training, normalise="zscore", passes=3, restarts=2)


class TestDeepEnsemble(LearnerContract):
    def make(self) -> Learner:
        return DeepEnsemble(network=SMALL, training=QUICK, members=2)


class TestDcanResNet(LearnerContract):
    def make(self) -> Learner:
        network = DcanResNet(width=0.125, stem_stride=1, dropout=0.1)
        return MCDropout(network=network, training=QUICK, passes=2)


class TestVolumesByWindows(LearnerContract):
    axes = 3

    def make(self) -> Learner:
        training = Training(
            steps=20, batch_size=2, patch=(16, 16, 16), validate_every=10, learning_rate=1e-2, warmup_steps=2
        )
        return MCDropout(
            network=SMALL, training=training, inference=Inference(window=(24, 24, 24), overlap=0.25), passes=2
        )
