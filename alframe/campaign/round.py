"""One round's view of the campaign: what it may read, and how it fans work out so that nothing done is done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from alframe import seeding
from alframe.campaign.settings import Parts, Settings
from alframe.campaign.writer import AnswerWriter
from alframe.composition import CommittedLabels
from alframe.jobs import Model
from alframe.ports import Fence, RoundRecord, Strategy
from alframe.types import AnswerRecord, ArtifactRef, Box, Phase, Query, Split

__all__ = ["Round"]

Context = TypeVar("Context")
Job = TypeVar("Job")


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """Settings, parts and the round in hand. Values read from the ledger are cached: a round sees one state of it.

    `alive` raises FencedError once the driver's lease is lost; long phases ask it after every result.
    """

    settings: Settings
    parts: Parts
    fence: Fence
    record: RoundRecord
    writer: AnswerWriter
    alive: Callable[[], None]

    @property
    def index(self) -> int:
        """Number of the round; round 0 has no model."""
        return self.record.index

    @property
    def strategy(self) -> Strategy | None:
        """Who chooses in this round; None when nothing is acquired."""
        if not self.record.acquire:
            return None
        return self.settings.initial_strategy if self.index == 0 else self.parts.strategy

    @property
    def batch(self) -> int:
        """How many queries this round may put, within the budget of queries."""
        wanted = self.settings.initial if self.index == 0 else self.settings.batch
        limit = self.settings.budget.queries
        return wanted if limit is None else min(wanted, limit - len(self.asked_before))

    def seed(self, purpose: str) -> int:
        """The seed of one purpose in this round; the campaign's name is no part of it, so arms of a study can pair."""
        return seeding.derive(self.settings.seed, self.index, purpose)

    @cached_property
    def asked_before(self) -> tuple[Query, ...]:
        """Queries of all earlier rounds."""
        ledger, name = self.parts.ledger, self.settings.name
        return tuple(query for t in range(self.index) for query in ledger.queries(name, t))

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """This round's queries as the ledger holds them now."""
        return self.parts.ledger.queries(self.settings.name, self.index)

    @cached_property
    def labels(self) -> CommittedLabels:
        """What was known when the round began: the labels that its model trains on."""
        return self._labels(self.parts.ledger.answers(self.settings.name, before_round=self.index))

    def labels_after(self, answers: tuple[AnswerRecord, ...]) -> CommittedLabels:
        """What is known with this round's `answers` added."""
        return self._labels((*self.labels.answers, *answers))

    def _labels(self, answers: tuple[AnswerRecord, ...]) -> CommittedLabels:
        queried: dict[str, tuple[Box, ...]] = {}
        for query in self.asked_before:
            queried[query.item] = (*queried.get(query.item, ()), query.box)
        return CommittedLabels(pool=self.parts.pool, artifacts=self.parts.artifacts, answers=answers, queried=queried)

    @cached_property
    def model(self) -> Model | None:
        """The model fitted in this round; None in round 0."""
        if self.index == 0:
            return None
        stored = self.parts.ledger.artifacts(self.settings.name, self.index)
        return Model(
            learner=self.parts.learner,
            artifacts=self.parts.artifacts,
            checkpoints=tuple(stored[f"member/{member}"] for member in range(self.parts.learner.members)),
            compute=self.parts.compute,
            seed=self.settings.seed,
            round=self.index,
        )

    def ids(self, split: Split, *, with_truth: bool = False) -> list[str]:
        """Ids of a split, sorted; with `with_truth` only items whose truth was ingested."""
        return [info.id for info in self.parts.pool.items(split) if info.raters or not with_truth]

    def cut(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Parts of a fixed size, cut by id and never by worker."""
        size = self.settings.part
        return [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]

    def fan_out(
        self,
        phase: Phase,
        prefix: str,
        names: Sequence[str],
        function: Callable[[Context, Job], dict[str, ArtifactRef]],
        context: Context,
        jobs: Sequence[Job],
    ) -> list[dict[str, ArtifactRef]]:
        """Run jobs whose results the ledger does not name yet, and name each result as soon as it is durable.

        A result is kept as ``prefix/part/name`` for every name in `names`. Returns the results in the order of `jobs`.
        """
        ledger, name = self.parts.ledger, self.settings.name
        stored = ledger.artifacts(name, self.index)
        keys = [{part: f"{prefix}/{position:06d}/{part}" for part in names} for position in range(len(jobs))]
        missing = [k for k, parts in enumerate(keys) if not all(key in stored for key in parts.values())]
        self.parts.observer.phase_started(self.index, phase, len(jobs))
        self.parts.observer.advanced(len(jobs) - len(missing))
        running = self.parts.executor.run(prefix, function, context, [jobs[k] for k in missing])
        for done, (position, refs) in enumerate(running, start=len(jobs) - len(missing) + 1):
            self.alive()
            for part, key in keys[missing[position]].items():
                stored[key] = ledger.record_artifact(self.fence, self.index, key, refs[part])
            self.parts.observer.advanced(done)
        return [{part: stored[key] for part, key in parts.items()} for parts in keys]
