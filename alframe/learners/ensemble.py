"""Deep ensembles (Lakshminarayanan et al. 2017): several networks that differ in their initial weights and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.learners.networks import Network, UNet
from alframe.learners.settings import Annotation, Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["DeepEnsemble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepEnsemble:
    """A :class:`~alframe.ports.Learner` of `members` networks trained apart; each predicts once, with its dropout off.

    `restarts`, `warm_start`, `normalise` and `annotation` are those of :class:`~alframe.learners.mc_dropout.MCDropout`.

    Raises:
        InvalidValue: when a field is out of range.
    """

    network: Network = field(default_factory=UNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    members: int = 5
    restarts: int = 1
    warm_start: bool = False
    annotation: Annotation = "fused"

    def __post_init__(self) -> None:
        if self.members < 1 or self.restarts < 1:
            raise InvalidValue(f"members and restarts must be at least 1, got {self.members} and {self.restarts}")

    @property
    def works_in_teams(self) -> bool:
        """Whether several processes can train a member together; a random rater is drawn for a batch as a whole."""
        return self.annotation != "random"

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from alframe.learners.objective import RandomRater, Segmentation
        from alframe.learners.training import Recipe, train

        recipe = Recipe(
            network=self.network,
            training=self.training,
            inference=self.inference,
            normalise=self.normalise,
            objective=RandomRater() if self.annotation == "random" else Segmentation(),
        )
        return train(task, recipe, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The predictor of all members. Raises InvalidValue when there are more or fewer, or they hold other networks."""
        from alframe.learners.prediction import NetworkPredictor

        if len(checkpoints) != self.members:
            raise InvalidValue(f"the ensemble predicts with {self.members} checkpoints, got {len(checkpoints)}")
        return NetworkPredictor(checkpoints, self.network, passes=None, inference=self.inference, compute=compute)
