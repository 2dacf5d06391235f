"""Stochastic ensembles (Guerrero & Chang, "Beyond binary masks"): members of several patch sizes, on noisy copies of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from alframe.errors import InvalidValue
from alframe.learners.networks import Network, UNet
from alframe.learners.settings import Annotation, Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["StochasticEnsemble"]


def _network() -> UNet:
    return UNet(features=(16, 32, 64, 128), dropout=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StochasticEnsemble:
    """A :class:`~alframe.ports.Learner` of one network for each of `sizes`, each applied to `copies` noisy copies of an image.

    Member n is trained on patches, and applied by windows, of ``sizes[n]`` pixels along Y and X (and `depth` slices along
    Z in volumes; the network must not halve it below 1). Smaller images are padded, and the padding is masked again. A
    copy is the normalised image with Gaussian noise of standard deviation `noise` (the values in turn), drawn once a
    copy, not a window. The copies of a member are latent draws: its probability is their mean, and BALD speaks of
    members alone. `training.patch` and `inference.window` are to stay empty. `restarts`, `warm_start`, `normalise` and
    `annotation` are those of :class:`~alframe.learners.mc_dropout.MCDropout`; dropout is off in prediction.

    Raises:
        InvalidValue: when a field is out of range, or a patch or window is given.
    """

    foreground_logits: ClassVar[bool] = True

    network: Network = field(default_factory=_network)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "zscore"
    sizes: tuple[int, ...] = (32, 64, 256)
    depth: int = 16
    copies: int = 10
    noise: tuple[float, ...] = (0.05, 0.1, 0.2)
    restarts: int = 1
    warm_start: bool = False
    annotation: Annotation = "fused"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1 or self.depth < 1:
            raise InvalidValue(
                f"stochastic_ensemble: sizes needs 2 or more positive sides and depth a positive one, "
                f"got {self.sizes} and {self.depth}; of one member BALD would be 0"
            )
        if self.copies < 2:
            raise InvalidValue(f"stochastic_ensemble: copies must be at least 2, got {self.copies}")
        if not self.noise or min(self.noise) <= 0:
            raise InvalidValue(f"stochastic_ensemble: noise needs positive standard deviations, got {self.noise}")
        if self.restarts < 1:
            raise InvalidValue(f"stochastic_ensemble: restarts must be at least 1, got {self.restarts}")
        if self.training.patch or self.inference.window:
            raise InvalidValue(
                "stochastic_ensemble: every member has its own patch and window; set sizes and depth, "
                "and leave training.patch and inference.window empty"
            )

    @property
    def members(self) -> int:
        """One for each size."""
        return len(self.sizes)

    def patch(self, member: int, axes: int) -> tuple[int, ...]:
        """The patch and window of a member, axes ``(Z) Y X``."""
        side = self.sizes[member]
        return (side, side) if axes == 2 else (self.depth, side, side)

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from alframe.learners.objective import RandomRater, Segmentation
        from alframe.learners.training import Recipe, train

        axes = len(task.pool.items()[0].shape)
        patch = self.patch(task.member, axes)
        recipe = Recipe(
            network=self.network,
            training=replace(self.training, patch=patch),
            inference=replace(self.inference, window=patch),
            normalise=self.normalise,
            objective=RandomRater() if self.annotation == "random" else Segmentation(),
        )
        return train(task, recipe, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The predictor of all members. Raises InvalidValue when there are more or fewer, or they hold other networks."""
        from alframe.learners.stochastic_prediction import StochasticPredictor

        if len(checkpoints) != self.members:
            raise InvalidValue(f"stochastic_ensemble predicts with {self.members} checkpoints, got {len(checkpoints)}")
        return StochasticPredictor(checkpoints, self, compute)
