"""A network with Gaussian logits and drawn weights (Kendall & Gal 2017): noise at every pixel, without coherence in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.learners.networks import HeteroscedasticUNet
from alframe.learners.probabilistic_unet import check_draws, draws_of
from alframe.learners.settings import Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["Heteroscedastic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heteroscedastic:
    """A :class:`~alframe.ports.Learner` on the backbone of the Probabilistic U-Net, whose logits have a σ at every pixel.

    The loss is −log of the mean probability over `loss_draws` draws of the logits, for every rater's mask (eq. 12 of the
    paper), in nats per annotated pixel. `draws` and `latents` (draws of the logits under each draw of the weights), and
    the fields after them, are those of :class:`~alframe.learners.probabilistic_unet.ProbabilisticUNet`.

    Raises:
        InvalidValue: when a field is out of range, or fixed weights are to be drawn several times.
    """

    network: HeteroscedasticUNet = field(default_factory=HeteroscedasticUNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    loss_draws: int = 10
    draws: int | None = None
    latents: int = 8
    members: int = 1
    restarts: int = 1
    warm_start: bool = False

    def __post_init__(self) -> None:
        if min(self.loss_draws, self.members, self.restarts) < 1:
            raise InvalidValue(
                "loss_draws, members and restarts must be at least 1, "
                f"got {self.loss_draws}, {self.members} and {self.restarts}"
            )
        check_draws(self.network.weights, self.draws, self.latents)

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from alframe.learners.rater_objectives import GaussianLogits
        from alframe.learners.training import Recipe, train

        recipe = Recipe(
            network=self.network,
            training=self.training,
            inference=self.inference,
            normalise=self.normalise,
            objective=GaussianLogits(draws=self.loss_draws),
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
