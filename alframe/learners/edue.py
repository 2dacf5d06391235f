"""One-pass estimation of experts' disagreement, after EDUE (Abutalip et al. 2024, arXiv 2403.16594).

What is read in the paper's abstract: a U-Net-like network, a *disagreement guidance module*, training on randomly
chosen annotations, one forward pass, and better correlation with experts' disagreement than deep ensembles. **The rest
is a reconstruction**, as the full text was not at hand: that the heads sit at several depths of the decoder, that each
draws a rater of its own per image and step, that the guidance predicts v = 4ȳ(1 − ȳ) from the features of all depths
and scales the finest features with it, and how the losses are weighed. Results of this learner are not those of the
paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.learners.networks import EdueUNet
from alframe.learners.settings import Inference, NormaliseKind, Training
from alframe.ports import Checkpoint, FitTask, Predictor
from alframe.types import Compute

__all__ = ["Edue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edue:
    """A :class:`~alframe.ports.Learner` of one network and one pass that predicts where raters will disagree.

    At every step each head of the network learns from one rater an image, drawn anew (cross-entropy, plus
    `training.dice_weight` times the soft Dice), and a branch learns, with weight `guidance`, the disagreement of the
    raters where at least two answered. The heads are the members of the moments, so BALD speaks of their differences;
    the predicted disagreement is the measure `rater_disagreement`. Which parts reconstruct the paper is told in
    :mod:`alframe.learners.edue`.

    There is no contour head and no tap: `training.contour_weight` and `tap_weight` are without effect. `restarts`,
    `warm_start` and `normalise` are those of :class:`~alframe.learners.mc_dropout.MCDropout`.

    Raises:
        InvalidValue: when a field is out of range.
    """

    network: EdueUNet = field(default_factory=EdueUNet)
    training: Training = field(default_factory=Training)
    inference: Inference = field(default_factory=Inference)
    normalise: NormaliseKind = "range"
    guidance: float = 1.0
    restarts: int = 1
    warm_start: bool = False

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise InvalidValue(f"edue: restarts must be at least 1, got {self.restarts}")
        if self.guidance < 0:
            raise InvalidValue(f"edue: guidance must not be negative, got {self.guidance}")

    @property
    def members(self) -> int:
        """One network."""
        return 1

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train the network; see :meth:`alframe.ports.Learner.fit`. Raises NonFiniteError, InvalidValue."""
        from alframe.learners.edue_torch import HeadsAndDisagreement
        from alframe.learners.training import Recipe, train

        recipe = Recipe(
            network=self.network,
            training=self.training,
            inference=self.inference,
            normalise=self.normalise,
            objective=HeadsAndDisagreement(guidance=self.guidance),
            extra=len(task.pool.classes) * (self.network.heads - 1) + 1,
        )
        return train(task, recipe, progress)

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """The predictor of one checkpoint. Raises InvalidValue when it is not one, or holds another network."""
        from alframe.learners.edue_torch import EduePredictor

        if len(checkpoints) != 1:
            raise InvalidValue(f"edue predicts with 1 checkpoint, got {len(checkpoints)}")
        return EduePredictor(checkpoints, self.network, passes=None, inference=self.inference, compute=compute)
