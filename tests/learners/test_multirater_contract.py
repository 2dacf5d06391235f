"""The promises of a learner, over the methods for several raters, in two and three dimensions."""

from __future__ import annotations

from dataclasses import replace

from alframe.learners import DLema, LinkNet, MCDropout, Training, UNet
from alframe.ports import Learner
from alframe.testing.contracts.learner import LearnerContract

QUICK = Training(steps=30, batch_size=4, patch=(32, 32), validate_every=10, learning_rate=2e-2, warmup_steps=2)
VOLUMES = Training(steps=20, batch_size=2, patch=(16, 16, 16), validate_every=10, learning_rate=2e-2, warmup_steps=2)
LINKNET = LinkNet(width=8, blocks=1, stem_stride=1)


class TestDLema(LearnerContract):
    def make(self) -> Learner:
        return DLema(network=LINKNET, training=QUICK, members=2, clean_batch=4, burn_in=15)


class TestDLemaFusedByPixel(LearnerContract):
    def make(self) -> Learner:
        network = UNet(features=(8, 16), dropout=0.0)
        return DLema(network=network, training=QUICK, members=2, clean_batch=4, draws=4, fusion="pixel", burn_in=15)


class TestDLemaVolumes(LearnerContract):
    axes = 3

    def make(self) -> Learner:
        network = UNet(features=(8, 16), dropout=0.0)
        return DLema(network=network, training=VOLUMES, members=2, clean_batch=2, fusion="image", burn_in=10)


class TestLinkNetWithDropoutOnRandomRaters(LearnerContract):
    def make(self) -> Learner:
        network = LinkNet(width=8, blocks=1, stem_stride=2, dropout=0.3)
        training = replace(QUICK, steps=40, optimiser="sgd", learning_rate=0.1, momentum=0.9)
        return MCDropout(network=network, training=training, passes=3, annotation="random")
