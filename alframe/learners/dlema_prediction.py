"""The predictor of D-LEMA: Gaussian logits of each base model, fused.

Legend: ``C`` classes, ``T`` draws, ``S`` space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.computing import computing
from alframe.learners.dlema import DLema
from alframe.learners.fusion import FusedSums
from alframe.learners.heteroscedastic import drawn_logits, log_marginal, noise_like, scale_of
from alframe.learners.prediction import NetworkPredictor
from alframe.ports import Prediction
from alframe.seeding import derive
from alframe.types import Compute

__all__ = ["DLemaPredictor"]


class DLemaPredictor(NetworkPredictor):
    """The :class:`~alframe.ports.Predictor` of one checkpoint for each base model. Not safe to share between threads."""

    def __init__(self, checkpoints: Sequence[bytes], learner: DLema, compute: Compute) -> None:
        """Raises InvalidValue when a checkpoint does not hold the learner's network with Gaussian logits."""
        super().__init__(checkpoints, learner.network, passes=None, inference=learner.inference, compute=compute)
        self._learner = learner
        if self.card.extra != len(self.card.classes) - 1:
            raise InvalidValue(
                f"dlema needs checkpoints with {len(self.card.classes) - 1} maps of σ beside the classes, "
                f"got {self.card.extra}; was another learner trained?"
            )

    def predict(
        self,
        image: NDArray[Any],
        *,
        spacing: Sequence[float] = (),
        seed: int,
        votes: bool = False,
        log: bool = False,
        spread: bool = False,
    ) -> Prediction:
        """Predict a whole image (C, S); see :meth:`alframe.ports.Predictor.predict` and :mod:`alframe.learners.fusion`.

        The count is that of the base models: the draws of the logits are latent, not draws of the weights.

        Raises:
            InvalidValue: when the image has other channels or axes than the models were trained on.
            NonFiniteError: when a probability is NaN or infinite.
        """
        sums = FusedSums(self.card, votes=votes, log=log, spread=spread)
        classes = len(self.card.classes)
        with computing(self._compute), torch.inference_mode():
            for maps, noise in self._members(image, seed):
                scale = scale_of(maps, classes)[0].mean(0)
                sums.add_weighted(drawn_logits(maps, noise, classes)[:, 0], self._weight(scale))
            sums.finish()
            return sums.prediction()

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Each base model once, as the mean of its draws; see :meth:`alframe.ports.Predictor.samples`.

        Raises: as :meth:`predict`, and InvalidValue when `count` is below 1.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        classes = len(self.card.classes)
        with computing(self._compute), torch.inference_mode():
            found = [
                log_marginal(maps, noise, classes)[0].exp().cpu().numpy() for maps, noise in self._members(image, seed)
            ]
        drawn: NDArray[np.float32] = np.stack(found[:count])
        if not np.isfinite(drawn).all():
            raise NonFiniteError("a base model predicted NaN or infinite probabilities; train again at a lower rate")
        return drawn

    def _members(self, image: NDArray[Any], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Of each base model: its maps (1, 2C − 1, S) and its noise (T, 1, C − 1, S)."""
        for member, applier in enumerate(self._appliers):
            (maps,) = applier.logits(image)
            noise = noise_like(
                maps[None], len(self.card.classes), self._learner.draws, derive(seed, "member", member, "noise")
            )
            yield maps[None], noise

    def _weight(self, scale: torch.Tensor) -> torch.Tensor:
        """The weight of a base model whose mean σ over classes is `scale` (S)."""
        match self._learner.fusion:
            case "uniform":
                return scale.new_ones(())
            case "pixel":
                return 1 / scale.clamp(min=self._learner.floor)
            case "image":
                return 1 / scale.mean().clamp(min=self._learner.floor)
