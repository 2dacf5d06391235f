"""The rows of the LIDC table: which learner, from which training, and in whose words.

Every network gets the same number of steps, batch size, learning rate and augmentation, and about the same capacity; the
ensembles train several. Rows that differ only in how they predict share their trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alframe.learners import (
    Augmentation,
    DeepEnsemble,
    DLema,
    Edue,
    EdueUNet,
    Heteroscedastic,
    HeteroscedasticUNet,
    LinkNet,
    MCDropout,
    ProbabilisticUNet,
    ProbUNet,
    StochasticEnsemble,
    Training,
    UNet,
)
from alframe.learners.dlema import Fusion
from alframe.ports import Learner

__all__ = ["FULL", "QUICK", "Row", "rows"]

WIDTHS = (8, 16, 32, 48)
"""Of the networks with three convolutions a level: 142 000 parameters without the nets of the latent code."""
PLAIN_WIDTHS = (12, 24, 40, 56)
"""Of those with two: 159 000 parameters."""
FUSIONS: tuple[Fusion, ...] = ("uniform", "pixel", "image")
MEMBERS = 4
SIZES = (16, 24, 32)
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
    plain = UNet(features=PLAIN_WIDTHS, dropout=0.2, dropout_from=1)
    return {
        "hu": Row(
            title="Hu et al.",
            learner=ProbabilisticUNet(network=ProbUNet(features=WIDTHS), training=shared),
            trained="hu",
            passes="8 weights × 8 codes",
        ),
        "kohl": Row(
            title="Probabilistic U-Net (Kohl et al.)",
            learner=ProbabilisticUNet(
                network=ProbUNet(features=WIDTHS, weights="fixed"),
                training=shared,
                kl_weight=10.0,
                rater_weight=0.0,
                latents=16,
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
        **{
            f"dlema_{fusion}": Row(
                title=f"D-LEMA, {fusion}",
                learner=DLema(network=LinkNet(width=8, stem_stride=1), training=shared, members=MEMBERS, fusion=fusion),
                trained="dlema",
                passes=f"{MEMBERS} × 10 noises",
            )
            for fusion in FUSIONS
        },
        "mc_dropout": Row(
            title="MC dropout",
            learner=MCDropout(network=plain, training=shared, passes=15, annotation="random"),
            trained="unet",
            passes="15",
        ),
        "single": Row(
            title="one member of the ensemble",
            learner=DeepEnsemble(network=plain, training=shared, members=1, annotation="random"),
            trained="unet",
            passes="1",
        ),
        "deep_ensemble": Row(
            title="deep ensemble",
            learner=DeepEnsemble(network=plain, training=shared, members=MEMBERS, annotation="random"),
            trained="unet",
            passes=f"{MEMBERS}",
        ),
        "fused": Row(
            title="one network, majority label",
            learner=DeepEnsemble(network=plain, training=shared, members=1),
            trained="fused",
            passes="1",
        ),
        "edue": Row(
            title="EDUE",
            learner=Edue(network=EdueUNet(features=PLAIN_WIDTHS), training=shared),
            trained="edue",
            passes="1",
        ),
        "stochastic": Row(
            title="stochastic ensemble",
            learner=StochasticEnsemble(
                network=replace(plain, dropout=0.0),
                training=replace(shared, patch=()),
                sizes=SIZES,
                annotation="random",
            ),
            trained="stochastic",
            passes="3 × 10 copies",
        ),
    }
