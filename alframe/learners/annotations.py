"""What several raters said of the pixels of a batch: one of them at random, or how far they disagree.

Legend: ``B`` batch, ``R`` raters, ``C`` classes, ``S`` space. Masks are ``int64`` (B, R, S), 255 where a rater did not answer.
"""

from __future__ import annotations

import numpy as np
import torch

from alframe.types import UNANNOTATED

__all__ = ["one_rater", "vote_variance"]


def one_rater(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The mask (B, S) of one rater an image, each with an annotated pixel in it being equally likely."""
    answered = (masks != UNANNOTATED).flatten(2).any(2).cpu().numpy()
    score = np.where(answered, rng.random(answered.shape), -1.0)
    chosen = torch.from_numpy(score.argmax(1)).to(masks.device)
    return masks[torch.arange(len(masks), device=masks.device), chosen]


def vote_variance(masks: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The disagreement v = C/(C − 1) Σ_c ȳ_c (1 − ȳ_c) of the vote shares ȳ (B, S; float), and where it is known (B, S; bool).

    With two classes v is 4ȳ(1 − ȳ). It is known where at least two raters answered: one alone agrees with nobody.
    """
    votes = torch.stack([(masks == c).sum(1) for c in range(classes)], 1).float()
    answers = votes.sum(1)
    share = votes / answers.clamp(min=1).unsqueeze(1)
    return classes / (classes - 1) * (share * (1 - share)).sum(1), answers >= 2
