"""Monte Carlo dropout (Gal & Ghahramani 2016): one network, many passes with its dropout on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.learners.networks import Network, OwnNetwork, UNet
from alframe.learners.settings import Annotation, Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["MCDropout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MCDropout:
    """A :class:`~alframe.ports.Learner` whose predictor makes `passes` passes through one network with dropout on.

    The network is trained `restarts` times, from scratch or (`warm_start`) from the last round's weights. `normalise`
    is how pixels become what the network sees: ``range`` (the type's range to −1 … 1) or ``zscore`` (per image and
    channel; for MRI, whose scales differ). `annotation` is what an image with several raters is trained on: the ``fused``
    label, or one rater's mask, drawn at ``random`` at every step (then without a contour head).

    Raises:
        InvalidValue: when a field is out of range, or the network has no dropout.
    """

    network: Network = field(default_factory=UNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    passes: int = 30
    restarts: int = 1
    warm_start: bool = False
    annotation: Annotation = "fused"

    def __post_init__(self) -> None:
        if self.passes < 1 or self.restarts < 1:
            raise InvalidValue(f"passes and restarts must be at least 1, got {self.passes} and {self.restarts}")
        if not isinstance(self.network, OwnNetwork) and self.network.dropout == 0:
            raise InvalidValue("MC dropout needs a network with dropout above 0; all passes would be equal and BALD 0")

    @property
    def members(self) -> int:
        """One network."""
        return 1

    @property
    def works_in_teams(self) -> bool:
        """Whether several processes can train a member together; a random rater is drawn for a batch as a whole."""
        return self.annotation != "random"

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train the network; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
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
        """The predictor of one checkpoint. Raises InvalidValue when it is not one, or holds another network."""
        from alframe.learners.prediction import NetworkPredictor

        if len(checkpoints) != 1:
            raise InvalidValue(f"MC dropout predicts with 1 checkpoint, got {len(checkpoints)}")
        return NetworkPredictor(
            checkpoints, self.network, passes=self.passes, inference=self.inference, compute=compute
        )
