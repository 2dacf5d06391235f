"""How the network of ``edue`` is trained, and what it predicts.

Legend: ``B`` batch, ``H`` heads, ``C`` classes, ``R`` raters, ``S`` space. The network gives H·C + 1 maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.annotations import one_rater, vote_variance
from alframe.learners.application import Applier
from alframe.learners.computing import computing, mixed_precision
from alframe.learners.losses import masked_cross_entropy, soft_dice_loss
from alframe.learners.nets import outputs_of
from alframe.learners.prediction import NetworkPredictor, Sums
from alframe.learners.training import Run
from alframe.ports import Prediction
from alframe.seeding import generator
from alframe.types import UNANNOTATED

__all__ = ["EduePredictor", "HeadsAndDisagreement", "heads_of"]


def heads_of(maps: torch.Tensor, classes: int) -> tuple[torch.Tensor, ...]:
    """The logits (B, C, S) of each head, the finest first, of maps (B, H·C + 1, S)."""
    return torch.split(maps[:, :-1], classes, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsAndDisagreement:
    """The mean over heads of cross-entropy and Dice with a random rater's mask, plus `guidance` × the disagreement's loss."""

    guidance: float
    raters: bool = True
    contours: bool = False

    def loss(self, run: Run, step: int) -> torch.Tensor:
        """The loss of one batch; each head draws one rater an image by itself."""
        batch = run.batch(step)
        assert batch.raters is not None
        with mixed_precision(run.task.compute):
            result = run.module(batch.image)
        maps = outputs_of(result, out_channels=run.card.out_channels, shape=batch.image.shape)[0].float()
        classes, weight = len(run.card.classes), run.recipe.training.dice_weight
        rng = generator(run.task.seed, "rater", step)
        heads = heads_of(maps, classes)
        loss = maps.new_zeros(())
        for logits in heads:
            target = one_rater(batch.raters, rng)
            loss = loss + masked_cross_entropy(logits, target) / len(heads)
            if weight > 0:
                loss = loss + weight * soft_dice_loss(logits, target) / len(heads)
        disagreement, known = vote_variance(batch.raters, classes)
        error = functional.binary_cross_entropy_with_logits(maps[:, -1], disagreement, reduction="none")
        return loss + self.guidance * (error * known).sum() / known.sum().clamp(min=1)

    def measure(self, run: Run, module: nn.Module, item: str) -> tuple[float, int]:
        """The mean over raters of −log p of their truth, in nats, for the mean probability p of the heads."""
        applier = Applier(module, run.card, run.recipe.inference, run.task.compute)
        pool, classes = run.task.pool, len(run.card.classes)
        (maps,) = applier.logits(pool.image(item))
        heads = torch.cat(heads_of(maps[None], classes))
        log_p = heads.log_softmax(1).logsumexp(0) - np.log(len(heads))
        total, count = 0.0, 0
        for rater in pool.info(item).raters:
            target = torch.from_numpy(pool.truth(item, rater).classes).long().to(run.device)
            error = functional.nll_loss(log_p[None], target[None], ignore_index=UNANNOTATED, reduction="sum")
            total, count = total + float(error), count + int((target != UNANNOTATED).sum())
        return total, count


class EduePredictor(NetworkPredictor):
    """The :class:`~alframe.ports.Predictor` of one pass: its heads are the members, and it predicts the raters' disagreement."""

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
        """Predict a whole image (C, S); see :meth:`alframe.ports.Predictor.predict`. Nothing in it is random.

        Raises:
            InvalidValue: when the image has other channels or axes than the model was trained on.
            NonFiniteError: when a probability is NaN or infinite.
        """
        sums = Sums(self.card, votes=votes, log=log, spread=spread)
        with computing(self._compute), torch.inference_mode():
            (maps,) = self._logits(image, seed, 0)
            disagreement = torch.sigmoid(maps[-1])
            for logits in heads_of(maps[None], len(self.card.classes)):
                sums.add(logits[0], disagreement=disagreement)
            return sums.prediction()

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Each head once; see :meth:`alframe.ports.Predictor.samples`.

        Raises: as :meth:`predict`, and InvalidValue when `count` is below 1.
        """
        if count < 1:
            raise InvalidValue(f"at least 1 sample must be asked for, got {count}")
        with computing(self._compute), torch.inference_mode():
            (maps,) = self._logits(image, seed, 0)
            heads = torch.cat(heads_of(maps[None], len(self.card.classes))[:count])
            drawn: NDArray[np.float32] = heads.softmax(1).cpu().numpy()
        if not np.isfinite(drawn).all():
            raise NonFiniteError("the network predicted NaN or infinite probabilities; train again at a lower rate")
        return drawn
