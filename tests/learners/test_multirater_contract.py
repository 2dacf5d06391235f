"""The promises of a learner, over the methods for several raters, in two and three dimensions."""

from __future__ import annotations

from dataclasses import replace

from alframe.learners import (
    Augmentation,
    DLema,
    Edue,
    EdueUNet,
    LinkNet,
    MCDropout,
    StochasticEnsemble,
    TestTimeAugmentation,
    Training,
    UNet,
)
from alframe.ports import Learner
from alframe.testing.contracts.learner import LearnerContract, blob_pool
from alframe.testing.memory_pool import MemoryPool

QUICK = Training(steps=30, batch_size=4, patch=(32, 32), validate_every=10, learning_rate=2e-2, warmup_steps=2)
VOLUMES = replace(
    QUICK,
    steps=20,
    batch_size=2,
    patch=(16, 16, 16),
    contour_weight=0.0,
    augmentation=Augmentation(affine_probability=0.0),
)
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

    def pool(self) -> MemoryPool:
        return blob_pool(3, side=20)

    def make(self) -> Learner:
        network = UNet(features=(8, 16), dropout=0.0)
        return DLema(network=network, training=VOLUMES, members=2, clean_batch=2, fusion="image", burn_in=10)


class TestLinkNetWithDropoutOnRandomRaters(LearnerContract):
    def make(self) -> Learner:
        network = LinkNet(width=8, blocks=1, stem_stride=2, dropout=0.3)
        training = replace(QUICK, steps=40, optimiser="sgd", learning_rate=0.1, momentum=0.9)
        return MCDropout(network=network, training=training, passes=3, annotation="random")


class TestEdue(LearnerContract):
    def make(self) -> Learner:
        return Edue(network=EdueUNet(features=(8, 16, 16), heads=2), training=replace(QUICK, dice_weight=1.0))


class TestEdueVolumes(LearnerContract):
    axes = 3

    def pool(self) -> MemoryPool:
        return blob_pool(3, side=20)

    def make(self) -> Learner:
        training = replace(VOLUMES, steps=30, foreground=0.5)
        return Edue(network=EdueUNet(features=(8, 8, 16), heads=2), training=training)


class TestStochasticEnsemble(LearnerContract):
    def make(self) -> Learner:
        network = UNet(features=(8, 16), dropout=0.0)
        return StochasticEnsemble(network=network, training=replace(QUICK, patch=()), sizes=(32, 16), copies=3)


class TestStochasticEnsembleVolumes(LearnerContract):
    """Windows smaller than the volume along some axes and larger along others."""

    axes = 3

    def pool(self) -> MemoryPool:
        return blob_pool(3, side=20)

    def make(self) -> Learner:
        network = UNet(features=(8, 16), dropout=0.0)
        training = replace(VOLUMES, patch=(), steps=30, foreground=0.5)
        return StochasticEnsemble(network=network, training=training, sizes=(16, 12), depth=16, copies=2)


class TestTestTimeAugmentation(LearnerContract):
    def make(self) -> Learner:
        inner = MCDropout(network=UNet(features=(8, 16), dropout=0.2), training=QUICK, passes=2)
        return TestTimeAugmentation(learner=inner, quarter_turns=True, noise=0.02)
