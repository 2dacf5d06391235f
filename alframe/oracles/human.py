"""People as an oracle: queries become tasks at the labelling desk, closed tasks become answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from alframe.errors import InvalidValue
from alframe.labelling import LabellingDesk, NewTask, answers
from alframe.labelling.consensus import with_objects
from alframe.ports import Pool
from alframe.seeding import generator
from alframe.types import Answer, Query

__all__ = ["Human", "HumanOracle", "Manual", "ManualOracle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Human:
    """The parameters of labelling by people.

    `replicas`: how many raters label each query, when the campaign wants one answer: their majority. (A campaign with several
    `replicas` of its own gets its raters' answers one by one.) `blind_share`: the share of tasks that show no pre-fill, so
    that its influence can be measured. `repeat_share`: the share of tasks that a rater gets once more, for the agreement with
    oneself; the campaign does not wait for it. `adjudicate_above`: when raters differ by more than this (1 − mean pairwise
    Dice), a reviewer decides; null = never. `skips`: a task that so many raters skipped is given up.

    Raises:
        InvalidValue: when a share is outside 0 … 1, or a count below 1.
    """

    people: ClassVar[bool] = True

    replicas: int = 1
    blind_share: float = 0.1
    repeat_share: float = 0.05
    adjudicate_above: float | None = None
    skips: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("blind_share", "repeat_share", "adjudicate_above"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise InvalidValue(f"{name} is a share from 0 to 1, got {value}")
        for name in ("replicas", "skips"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be at least 1, got {getattr(self, name)}")

    def bind(self, pool: Pool, desk: LabellingDesk) -> HumanOracle:
        """The oracle that puts its tasks up at `desk`."""
        return HumanOracle(pool, desk, self)


class HumanOracle:
    """An :class:`~alframe.ports.Oracle`. All it knows is at the desk; thread-safe."""

    def __init__(self, pool: Pool, desk: LabellingDesk, parameters: Human | None = None) -> None:
        self._pool, self._desk = pool, desk
        self._parameters = parameters or Human()

    @property
    def immediate(self) -> bool:
        """Always False."""
        return False

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Put up a task for each query.

        Raises:
            NotFound: when an item does not exist.
            InvalidValue: when a box leaves its item, or the campaign and the oracle both want several raters in different ways.
            ConflictError: when a query of this id asks about something else.
        """
        self._desk.ask([self._task(campaign, query) for query in queries])

    def _task(self, campaign: str, query: Query) -> NewTask:
        said, info = self._parameters, self._pool.info(query.item)
        if not query.box.within(info.shape):
            raise InvalidValue(
                f"query {query.id}: box {query.box.start}..{query.box.stop} leaves item {info.id} of shape {info.shape}"
            )
        if query.replicas > 1 and (said.replicas not in (1, query.replicas) or said.adjudicate_above is not None):
            raise InvalidValue(
                f"the campaign wants {query.replicas} answers to each query, one by one; leave the oracle's replicas and "
                "adjudicate_above out, or set the campaign's replicas to 1 for their consensus"
            )
        drawn = {name: generator("human", said.seed, query.id, name).random() for name in ("blind", "repeat")}
        return NewTask(
            id=query.id,
            campaign=campaign,
            item=query.item,
            box=query.box,
            classes=tuple(self._pool.classes),
            score=query.score,
            raters=query.raters,
            replicas=max(query.replicas, said.replicas),
            blind=bool(drawn["blind"] < said.blind_share),
            repeat=bool(drawn["repeat"] < said.repeat_share),
            adjudicate_above=said.adjudicate_above,
            skips=said.skips,
            prefill=query.prefill,
        )

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """The answers to closed tasks, in the order of `queries`. Where the item's objects are told apart and a rater only painted
        classes, each connected piece of a class is an object.

        Raises: ArtifactMissing, ArtifactDamaged.
        """
        items = {query.id: query.item for query in queries}
        found = answers(self._desk, campaign, {query.id: query.replicas for query in queries})
        return tuple(self._with_objects(answer, items[answer.query]) for answer in found)

    def close(self) -> None:
        """Release the desk's connections; the next call opens them again."""
        self._desk.ledger.close()

    def _with_objects(self, answer: Answer, item: str) -> Answer:
        if answer.labels is None or not self._pool.info(item).instances:
            return answer
        return replace(answer, labels=with_objects(answer.labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """No raters: the answers come by hand, through ``Campaign.ask()`` and ``Campaign.tell()`` in a notebook or script."""

    def bind(self, pool: Pool) -> ManualOracle:
        """The oracle, which needs nothing."""
        return ManualOracle()


class ManualOracle:
    """An :class:`~alframe.ports.Oracle` that asks nobody."""

    @property
    def immediate(self) -> bool:
        """Always False."""
        return False

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Nothing: ``Campaign.ask()`` returns the queries."""

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """Nothing: ``Campaign.tell()`` brings the answers."""
        return ()
