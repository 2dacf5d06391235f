"""Raters that answer from the ingested truth: exact, noisy, chosen or random, and sometimes unwilling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alframe.errors import InvalidValue, NotFound
from alframe.oracles.noise import displaced, without_objects
from alframe.ports import Pool
from alframe.seeding import generator
from alframe.types import Answer, ItemInfo, LabelMap, Outcome, Query

__all__ = ["RANDOM", "Simulated", "SimulatedOracle"]

RANDOM = "random"
"""The value of `Simulated.rater` that draws a rater for each query; no rater can be chosen by this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The parameters of a simulated oracle.

    `rater`: None = the item's first rater (then the next ones, when a query wants several answers), ``"random"`` = drawn for
    each query, otherwise the name of the only rater who answers. `boundary_shift`: how far boundaries are off, in pixels
    (root mean square along each axis). `miss`: the probability that an object is overlooked. `refuse`: the probability that
    a query is skipped. `unusable`: the probability that a rater calls an item unusable, at whichever of its queries.

    Raises:
        InvalidValue: when a probability is outside 0 … 1 or the shift is no length.
    """

    rater: str | None = None
    boundary_shift: float = 0.0
    miss: float = 0.0
    refuse: float = 0.0
    unusable: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("miss", "refuse", "unusable"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InvalidValue(f"{name} is a probability from 0 to 1, got {value}")
        if not (math.isfinite(self.boundary_shift) and self.boundary_shift >= 0):
            raise InvalidValue(f"boundary_shift is a length in pixels, 0 or more, got {self.boundary_shift}")

    def bind(self, pool: Pool) -> SimulatedOracle:
        """The oracle that answers from the truth of `pool`."""
        return SimulatedOracle(pool, self)


class SimulatedOracle:
    """An :class:`~alframe.ports.Oracle` whose answers are a function of its parameters, the pool and the query.

    It keeps nothing, and so is durable by itself: the same queries bring the same answers in any process. Thread-safe.
    """

    def __init__(self, pool: Pool, parameters: Simulated | None = None) -> None:
        self._pool = pool
        self._parameters = parameters or Simulated()

    @property
    def immediate(self) -> bool:
        """Always True."""
        return True

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Check that every query can be answered.

        Raises:
            NotFound: when an item, its truth, or a rater does not exist.
            InvalidValue: when a box leaves its item, or more answers are wanted than there are raters.
        """
        for query in queries:
            self._raters(query, self._item(query))

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """The answers, in the order of `queries` (each counted once), and of the raters in each.

        Raises: as :meth:`ask`.
        """
        once = {query.id: query for query in queries}
        return tuple(
            self._answer(query, rater) for query in once.values() for rater in self._raters(query, self._item(query))
        )

    def _item(self, query: Query) -> ItemInfo:
        info = self._pool.info(query.item)
        if not query.box.within(info.shape):
            raise InvalidValue(
                f"query {query.id}: box {query.box.start}..{query.box.stop} leaves item {info.id} of shape {info.shape}"
            )
        return info

    def _raters(self, query: Query, info: ItemInfo) -> tuple[str, ...]:
        """The `query.replicas` raters who answer, all different."""
        unknown = sorted(set(query.raters) - set(info.raters))
        if not info.raters or unknown:
            named = ", ".join(unknown) or "anybody"
            raise NotFound(
                f"item {info.id} has no truth by {named}; a simulated oracle needs it (it has {list(info.raters)})"
            )
        able = [rater for rater in info.raters if not query.raters or rater in query.raters]
        chosen = self._parameters.rater
        if chosen == RANDOM:
            able = [
                able[k] for k in generator("simulated", self._parameters.seed, query.id, "rater").permutation(len(able))
            ]
        elif chosen is not None:
            if chosen not in able:
                raise NotFound(f"item {info.id}: rater {chosen!r} is not among those who may answer, {able}")
            able = [chosen]
        if query.replicas > len(able):
            raise InvalidValue(
                f"query {query.id} wants {query.replicas} answers about item {info.id}, but only {able} may answer; "
                f"lower the replicas or let more raters answer"
            )
        return tuple(able[: query.replicas])

    def _answer(self, query: Query, rater: str) -> Answer:
        said = self._parameters
        if said.unusable and _chance(said.unusable, said.seed, query.item, rater, "unusable"):
            return _without_label(query, rater, Outcome.UNUSABLE, "simulated: the item is unusable")
        if said.refuse and _chance(said.refuse, said.seed, query.id, rater, "refuse"):
            return _without_label(query, rater, Outcome.SKIPPED, "simulated: the rater passed")
        labels = self._labels(query, rater)
        annotated = labels.classes[labels.annotated]
        if annotated.size == 0:
            return _without_label(
                query, rater, Outcome.AMBIGUOUS, "the truth by this rater says nothing about this box"
            )
        outcome = Outcome.LABELED if np.any(annotated != 0) else Outcome.EMPTY_CONFIRMED
        return Answer(query=query.id, rater=rater, outcome=outcome, labels=labels)

    def _labels(self, query: Query, rater: str) -> LabelMap:
        truth = self._pool.truth(query.item, rater)
        said = self._parameters
        if said.boundary_shift:
            rng = generator("simulated", said.seed, query.id, rater, "boundary")
            labels = displaced(truth, query.box, said.boundary_shift, rng)
        else:
            labels = truth.crop(query.box)
        if said.miss:
            labels = without_objects(labels, said.miss, generator("simulated", said.seed, query.id, rater, "miss"))
        return labels


def _without_label(query: Query, rater: str, outcome: Outcome, reason: str) -> Answer:
    return Answer(query=query.id, rater=rater, outcome=outcome, reason=reason)


def _chance(probability: float, seed: int, *identity: str) -> bool:
    return bool(generator("simulated", seed, *identity).random() < probability)
