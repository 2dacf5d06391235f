"""The Probabilistic U-Net (Kohl et al. 2018), with drawn weights and the supervision of raters (Hu et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.learners.networks import ProbUNet, WeightDraws
from alframe.learners.settings import Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["ProbabilisticUNet", "check_draws", "draws_of"]

DRAWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilisticUNet:
    """A :class:`~alframe.ports.Learner` of all segmentations that raters would draw: a latent code tells them apart.

    The loss is −ELBO of every rater's mask (all masks of an image are in its batch), with `kl_weight` β on the divergence
    of the codes, plus `rater_weight` γ times the cross-entropy between the shares of the raters' votes and the mean of
    `prior_draws` samples of the prior (Hu et al.; 0 = plain Kohl et al.). Every term is in nats per annotated pixel of
    a mask, see :mod:`alframe.learners.rater_losses`. A prediction draws the weights `draws` times (8 when not given; once
    when the network's weights are fixed) and, under each, `latents` codes: a nested sum, so that the disagreement of
    raters is not taken for what the model does not know. `members` networks, trained apart, are further draws.
    `restarts`, `warm_start` and `normalise` are those of :class:`~alframe.learners.mc_dropout.MCDropout`.

    Raises:
        InvalidValue: when a field is out of range, or fixed weights are to be drawn several times.
    """

    network: ProbUNet = field(default_factory=ProbUNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    kl_weight: float = 1.0
    rater_weight: float = 1.0
    prior_draws: int = 8
    draws: int | None = None
    latents: int = 8
    members: int = 1
    restarts: int = 1
    warm_start: bool = False

    def __post_init__(self) -> None:
        if self.kl_weight < 0 or self.rater_weight < 0:
            raise InvalidValue(
                f"kl_weight and rater_weight must not be negative, got {self.kl_weight} and {self.rater_weight}"
            )
        if min(self.prior_draws, self.members, self.restarts) < 1:
            raise InvalidValue(
                "prior_draws, members and restarts must be at least 1, "
                f"got {self.prior_draws}, {self.members} and {self.restarts}"
            )
        check_draws(self.network.weights, self.draws, self.latents)

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from alframe.learners.rater_objectives import EvidenceBound
        from alframe.learners.training import Recipe, train

        objective = EvidenceBound(
            kl_weight=self.kl_weight, rater_weight=self.rater_weight, prior_draws=self.prior_draws
        )
        recipe = Recipe(
            network=self.network,
            training=self.training,
            inference=self.inference,
            normalise=self.normalise,
            objective=objective,
        )
        return train(task, recipe, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The predictor of all members. Raises InvalidValue when there are more or fewer, or they hold other networks."""
        from alframe.learners.nested import NestedPredictor

        if len(checkpoints) != self.members:
            raise InvalidValue(f"the learner predicts with {self.members} checkpoints, got {len(checkpoints)}")
        return NestedPredictor(
            checkpoints,
            self.network,
            draws=draws_of(self.network.weights, self.draws),
            latents=self.latents,
            inference=self.inference,
            compute=compute,
        )


def check_draws(weights: WeightDraws, draws: int | None, latents: int) -> None:
    """Raises InvalidValue when a number of draws is out of range, or fixed weights are to be drawn several times."""
    if draws is not None and draws < 1:
        raise InvalidValue(f"draws must be at least 1, got {draws}")
    if latents < 2:
        raise InvalidValue(f"latents must be at least 2, or the noise of their mean is unknown, got {latents}")
    if weights == "fixed" and draws not in (None, 1):
        raise InvalidValue(
            f"a network with fixed weights is drawn once, got draws={draws}; set network.weights to gaussian or "
            "dropout, or train several members"
        )


def draws_of(weights: WeightDraws, draws: int | None) -> int:
    """How often the weights of one member are drawn."""
    if draws is not None:
        return draws
    return 1 if weights == "fixed" else DRAWS
