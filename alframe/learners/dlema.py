"""D-LEMA: ensembles from several raters' annotations (Mirikharaji et al. 2021, arXiv 2012.07206)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from alframe.errors import InvalidValue
from alframe.learners.networks import LinkNet, Network
from alframe.learners.settings import Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["DLema", "Fusion"]

Fusion: TypeAlias = Literal["uniform", "pixel", "image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DLema:
    """A :class:`~alframe.ports.Learner` with one model for each of `members` subsets of the raters' annotations.

    Each image's masks go to different subsets at random (`subset_seed`), so that no subset contradicts itself. `members` is
    meant to be the most raters of any image; masks of further raters are in no subset, but trained on like all others. A
    model sees the masks of all raters; the loss of a pixel weighs by how far a gradient step on it helps on a batch of
    `clean_batch` patches of the model's own subset, and not at all where it harms. For the first `burn_in`
    steps all pixels weigh alike (0 in the paper): what a network that knows nothing yet would gain most from is the
    most frequent class. Logits are Gaussian, with a mean and
    a σ at every pixel, drawn `draws` times in training and prediction. Predictions are fused with equal weights
    (`fusion` ``uniform``), or weighted by 1/σ, at least `floor`: of every ``pixel``, or of the ``image``'s mean σ.

    Batch normalisation is refused. There is no contour head and no tap: `training.contour_weight` and `tap_weight` are
    without effect. `restarts`, `warm_start` and `normalise` are those of :class:`~alframe.learners.mc_dropout.MCDropout`.

    Raises:
        InvalidValue: when a field is out of range, or the training asks for a Dice term.
    """

    network: Network = field(default_factory=LinkNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    members: int = 4
    clean_batch: int = 8
    burn_in: int = 100
    draws: int = 10
    fusion: Fusion = "uniform"
    floor: float = 0.05
    subset_seed: int = 0
    restarts: int = 1
    warm_start: bool = False

    def __post_init__(self) -> None:
        for name in ("members", "restarts", "clean_batch"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"dlema: {name} must be at least 1, got {getattr(self, name)}")
        if self.burn_in < 0:
            raise InvalidValue(f"dlema: burn_in must not be negative, got {self.burn_in}")
        if self.draws < 2:
            raise InvalidValue(f"dlema: draws must be at least 2, got {self.draws}")
        if not self.floor > 0:
            raise InvalidValue(f"dlema: floor must be above 0, got {self.floor}")
        if self.training.dice_weight > 0:
            raise InvalidValue(
                "dlema weighs the loss of single pixels and has no Dice term; leave training.dice_weight at 0"
            )
        if getattr(self.network, "norm", "group") == "batch":
            raise InvalidValue("dlema needs a network with norm: group or instance, not batch")

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one base model; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from dataclasses import replace

        from alframe.learners.dataset import TrainingSet
        from alframe.learners.dlema_objective import Reweighted
        from alframe.learners.subsets import SubsetLabels
        from alframe.learners.training import Recipe, train

        own = SubsetLabels(source=task.labels, subset=task.member, subsets=self.members, seed=self.subset_seed)
        clean = None
        if own.items():
            clean = TrainingSet(
                replace(task, labels=own),
                normalise=self.normalise,
                contours=False,
                cache_mib=self.training.cache_mib,
            )
        recipe = Recipe(
            network=self.network,
            training=self.training,
            inference=self.inference,
            normalise=self.normalise,
            objective=Reweighted(
                clean=clean,
                subset=f"{task.member} of {self.members}, seed {self.subset_seed}",
                clean_batch=self.clean_batch,
                draws=self.draws,
                burn_in=self.burn_in,
            ),
            extra=len(task.pool.classes) - 1,
        )
        return train(task, recipe, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The predictor of all base models. Raises InvalidValue when there are more or fewer, or they hold other networks."""
        from alframe.learners.dlema_prediction import DLemaPredictor

        if len(checkpoints) != self.members:
            raise InvalidValue(f"dlema predicts with {self.members} checkpoints, got {len(checkpoints)}")
        return DLemaPredictor(checkpoints, self, compute)
