"""The rows of the LIDC table: which learner, from which training, and in whose words.

Every network gets the same number of steps, batch size, learning rate and augmentation, and about the same capacity; the
ensembles train several. Rows that differ only in how they predict share their trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alframe.learners import (
    Augmentation,
    DeepEnsemble,
    Heteroscedastic,
    HeteroscedasticUNet,
    MCDropout,
    ProbabilisticUNet,
    ProbUNet,
    Training,
    UNet,
)
from alframe.ports import Learner

__all__ = ["FULL", "QUICK", "Row", "rows"]

WIDTHS = (8, 16, 32, 48)
"""Of the networks with three convolutions a level: 142 000 parameters without the nets of the latent code."""
PLAIN_WIDTHS = (12, 24, 40, 56)
"""Of those with two: 159 000 parameters."""
MEMBERS = 5
FULL, QUICK = 300, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: `trained` names the trainings it shares with others, `passes` says what one prediction takes."""

    title: str
    learner: Learner
    trained: str
    passes: str


def training(steps: int) -> Training:
    """The protocol that all rows share."""
    return Training(
        steps=steps,
        batch_size=8,
        patch=(32, 32),
        learning_rate=2e-3,
        schedule="one_cycle",
        validate_every=max(20, steps // 3),
        augmentation=Augmentation(),
    )


def rows(steps: int) -> Mapping[str, Row]:
    """All rows in the order of the table, for networks trained for so many steps."""
    shared = training(steps)
    plain = UNet(features=PLAIN_WIDTHS, dropout=0.2, dropout_from=1, norm="instance")
    return {
        "single": Row(
            title="one network",
            learner=DeepEnsemble(network=plain, training=shared, members=1),
            trained="unet",
            passes="1",
        ),
        "mc_dropout": Row(
            title="MC dropout",
            learner=MCDropout(network=plain, training=shared, passes=15),
            trained="unet",
            passes="15",
        ),
        "deep_ensemble": Row(
            title="deep ensemble",
            learner=DeepEnsemble(network=plain, training=shared, members=MEMBERS),
            trained="unet",
            passes=f"{MEMBERS}",
        ),
        "hu": Row(
            title="Hu et al.",
            learner=ProbabilisticUNet(network=ProbUNet(features=WIDTHS), training=shared),
            trained="hu",
            passes="8 weights × 8 codes",
        ),
        "kohl": Row(
            title="Probabilistic U-Net (Kohl et al.)",
            learner=ProbabilisticUNet(
                network=ProbUNet(features=WIDTHS, weights="fixed"), training=shared, rater_weight=0.0, latents=16
            ),
            trained="kohl",
            passes="1 × 16 codes",
        ),
        "kendall_gal": Row(
            title="Kendall & Gal",
            learner=Heteroscedastic(network=HeteroscedasticUNet(features=WIDTHS), training=shared),
            trained="kendall_gal",
            passes="8 weights × 8 noises",
        ),
    }
