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

__all__ = ["FULL", "QUICK", "RATES", "SIZES", "Row", "rows"]

WIDTHS = (8, 16, 32, 48)
"""Of the networks with three convolutions a level: 142 000 parameters without the nets of the latent code."""
PLAIN_WIDTHS = (12, 24, 40, 56)
"""Of those with two: 159 000 parameters."""
FUSIONS: tuple[Fusion, ...] = ("uniform", "pixel", "image")
MEMBERS = 4
SIZES = (16, 24, 32)
FULL, QUICK = 300, 40
RATES = (2e-3, 6e-3, 2e-2)
CHOSEN = 6e-3
"""Of :data:`RATES` the best on the validation images for every training (``--rates``; LinkNet: within 4 % of the best)."""
CROSS_ENTROPY = "cross-entropy with a rater drawn for each image and step"
PLAIN = UNet(features=PLAIN_WIDTHS, dropout=0.2, dropout_from=1)
LINK = LinkNet(width=12, blocks=1, stem_stride=1)
"""D-LEMA's base: 182 000 parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: `trained` names the trainings it shares with others, `loss` what they minimise, `passes` what a prediction takes."""

    title: str
    learner: Learner
    trained: str
    network: str
    loss: str
    passes: str


def training(steps: int, rate: float) -> Training:
    """The protocol that all rows share."""
    return Training(
        steps=steps,
        batch_size=8,
        patch=(32, 32),
        learning_rate=rate,
        schedule="one_cycle",
        validate_every=max(20, steps // 3),
        augmentation=Augmentation(),
    )


def rows(steps: int, rate: float = CHOSEN) -> Mapping[str, Row]:
    """All rows in the order of the table, for networks trained for so many steps at a learning rate."""
    shared = training(steps, rate)
    return {**_latent(shared), **_dlema(shared), **_plain(shared), **_one_pass(shared)}


def _latent(shared: Training) -> dict[str, Row]:
    """Those that draw weights, codes or logits; β and γ are those of :mod:`benchmarks.lidc_codes` with the least GED²."""
    return {
        "hu": Row(
            title="Hu et al.",
            learner=ProbabilisticUNet(
                network=ProbUNet(features=WIDTHS), training=shared, kl_weight=0.1, rater_weight=0.1
            ),
            trained="hu",
            network="U-Net with a code, no normalisation",
            loss="−ELBO of every rater's mask (β = 0.1), and 0.1 × cross-entropy with the votes",
            passes="8 weights × 8 codes",
        ),
        "kohl": Row(
            title="Probabilistic U-Net (Kohl et al.)",
            learner=ProbabilisticUNet(
                network=ProbUNet(features=WIDTHS, weights="fixed"),
                training=shared,
                kl_weight=0.1,
                rater_weight=0.0,
                latents=16,
            ),
            trained="kohl",
            network="U-Net with a code, no normalisation",
            loss="−ELBO of every rater's mask (β = 0.1)",
            passes="1 × 16 codes",
        ),
        "kendall_gal": Row(
            title="Kendall & Gal",
            learner=Heteroscedastic(network=HeteroscedasticUNet(features=WIDTHS), training=shared),
            trained="kendall_gal",
            network="U-Net, no normalisation",
            loss="−log of the mean probability of every rater's mask",
            passes="8 weights × 8 noises",
        ),
    }


def _dlema(shared: Training) -> dict[str, Row]:
    """D-LEMA, and its base without it."""
    fused = {
        f"dlema_{fusion}": Row(
            title=f"D-LEMA, {fusion}",
            learner=DLema(network=LINK, training=shared, members=MEMBERS, fusion=fusion),
            trained="dlema",
            network="LinkNet",
            loss="−log of the mean probability of every rater's mask, pixels weighted",
            passes=f"{MEMBERS} × 10 noises",
        )
        for fusion in FUSIONS
    }
    base = Row(
        title="ensemble of D-LEMA's base",
        learner=DeepEnsemble(network=LINK, training=shared, members=MEMBERS, annotation="random"),
        trained="linknet",
        network="LinkNet",
        loss=CROSS_ENTROPY,
        passes=f"{MEMBERS}",
    )
    return {**fused, "linknets": base}


def _plain(shared: Training) -> dict[str, Row]:
    """One U-Net, predicted from in several ways, and its ensembles."""
    one = {"network": "U-Net", "loss": CROSS_ENTROPY}
    return {
        "mc_dropout": Row(
            title="MC dropout",
            learner=MCDropout(network=PLAIN, training=shared, passes=15, annotation="random"),
            trained="unet",
            passes="15",
            **one,
        ),
        "single": Row(
            title="one member of the ensemble",
            learner=DeepEnsemble(network=PLAIN, training=shared, members=1, annotation="random"),
            trained="unet",
            passes="1",
            **one,
        ),
        "deep_ensemble": Row(
            title="deep ensemble",
            learner=DeepEnsemble(network=PLAIN, training=shared, members=MEMBERS, annotation="random"),
            trained="unet",
            passes=f"{MEMBERS}",
            **one,
        ),
        "fused": Row(
            title="one network, majority label",
            learner=DeepEnsemble(network=PLAIN, training=shared, members=1),
            trained="fused",
            network="U-Net",
            loss="cross-entropy with the majority's mask",
            passes="1",
        ),
        "stochastic": Row(
            title="stochastic ensemble",
            learner=StochasticEnsemble(
                network=replace(PLAIN, dropout=0.0),
                training=replace(shared, patch=()),
                sizes=SIZES,
                annotation="random",
            ),
            trained="stochastic",
            network="U-Net",
            loss=CROSS_ENTROPY,
            passes="3 × 10 copies",
        ),
    }


def _one_pass(shared: Training) -> dict[str, Row]:
    """EDUE as it is said to be trained, and without the Dice term that no other row has."""
    network = EdueUNet(features=PLAIN_WIDTHS)
    return {
        "edue": Row(
            title="EDUE",
            learner=Edue(network=network, training=replace(shared, dice_weight=1.0)),
            trained="edue",
            network="U-Net with three heads",
            loss=f"{CROSS_ENTROPY}, Dice, and of the disagreement",
            passes="1",
        ),
        "edue_plain": Row(
            title="EDUE without Dice",
            learner=Edue(network=network, training=shared),
            trained="edue_plain",
            network="U-Net with three heads",
            loss=f"{CROSS_ENTROPY}, and of the disagreement",
            passes="1",
        ),
    }
