"""Acquisition: from a model's moments to the batch of queries. Pure functions of arrays and a seed; NumPy and SciPy only."""

from alframe.strategies import moments
from alframe.strategies.controls import Random, RandomForeground
from alframe.strategies.measures import (
    MEASURES,
    aleatoric,
    bald,
    class_entropy,
    entropy,
    epistemic,
    epistemic_discounted,
    rater_disagreement,
    total_variance,
    var_ratio,
    vote_ratio,
)
from alframe.strategies.selectors import Selector, choose
from alframe.strategies.stratified import ClassBalanced, Ripu
from alframe.strategies.uncertainty import Uncertainty
from alframe.strategies.windows import union_size

__all__ = [
    "MEASURES",
    "ClassBalanced",
    "Random",
    "RandomForeground",
    "Ripu",
    "Selector",
    "Uncertainty",
    "aleatoric",
    "bald",
    "choose",
    "class_entropy",
    "entropy",
    "epistemic",
    "epistemic_discounted",
    "moments",
    "rater_disagreement",
    "total_variance",
    "union_size",
    "var_ratio",
    "vote_ratio",
]
