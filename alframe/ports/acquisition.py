"""Choosing and answering: strategies and oracles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alframe.ports.modelling import Moments
from alframe.types import Answer, Box, Candidates, ItemInfo, LabelMap, Query

__all__ = ["ItemView", "Oracle", "Strategy"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemView:
    """All that a strategy may see of one item when it proposes candidates.

    `moments` is None for strategies with ``needs_model`` False, `truth` None unless ``needs_truth`` (simulation only).
    `annotated` (S, bool) and `history` say what is known already.
    """

    info: ItemInfo
    annotated: NDArray[np.bool_]
    history: tuple[Box, ...]
    moments: Moments | None = None
    truth: LabelMap | None = None


class Strategy(Protocol):
    """An acquisition strategy: proposes candidates item by item, then selects a batch from all of them.

    Both halves are pure. ``candidates`` runs on workers and depends on its item only; ``select`` runs on the driver on the
    concatenation in any order. Identical on 1 or 64 workers: every draw comes from `seed`, ties break by (item, start).
    """

    @property
    def needs_model(self) -> bool:
        """Whether ``candidates`` reads ``view.moments``."""

    @property
    def needs_votes(self) -> bool:
        """Whether the moments must carry votes."""

    @property
    def needs_spread(self) -> bool:
        """Whether the moments must carry squares, noise and predicted disagreement."""

    @property
    def needs_truth(self) -> bool:
        """Whether it looks at the oracle's labels (a control that only simulations can run)."""

    def candidates(self, view: ItemView, *, count: int, seed: int) -> Candidates:
        """At most as many rows as a batch of `count` queries could take from this item. Raises NonFiniteError."""

    def select(self, candidates: Candidates, *, count: int, seed: int) -> Candidates:
        """The batch, best first, at most `count` rows."""

    def uncertainty(self, moments: Moments) -> NDArray[np.float32]:
        """The map (S) that annotators and reports show (predictive entropy where the strategy has none of its own)."""


class Oracle(Protocol):
    """Who answers queries: a simulated rater, a person in a browser, a folder, another tool."""

    @property
    def immediate(self) -> bool:
        """True when every asked query is answered by the next ``collect`` (simulation); people take days."""

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Put up queries. Idempotent by query id; durable when it returns."""

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """All answers so far to these queries, in a stable order. Calling again returns them again."""
