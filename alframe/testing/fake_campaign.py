"""Whole small campaigns in seconds, for tests of what reads them: the real loop, ledger, store and metrics over generated
images, with :class:`~alframe.testing.pixel_learner.PixelLearner` for a model and scripted raters for people.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alframe import seeding
from alframe.campaign import Budget, CampaignLoop, Parts, Settings
from alframe.metrics import MetricSpec
from alframe.ports import Artifacts, Ledger, Pool, Strategy
from alframe.strategies import Random
from alframe.testing import synthetic
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Answer, Outcome, Query, Split

__all__ = ["Recorded", "ScriptedRaters", "glands", "open_campaign", "record", "volumes"]

SPLITS = (Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.TEST, Split.TRAIN, Split.VALIDATION, Split.TRAIN, Split.TEST)


def glands(count: int = 24, side: int = 72, *, seed: int = 0) -> MemoryPool:
    """Histology in colour with glands told apart, in all three splits."""
    items = [
        pool_item(f"slide-{index:03d}", sample.image, {"expert": sample.labels}, split=SPLITS[index % len(SPLITS)])
        for index, sample in enumerate(synthetic.histology(count, size=side, seed=seed))
    ]
    return MemoryPool(items, classes=("background", "gland"))


def volumes(count: int = 16, shape: tuple[int, int, int] = (16, 28, 24), *, seed: int = 0) -> MemoryPool:
    """Grey volumes with two classes, objects not told apart; slices twice as far apart as voxels within them, lying obliquely
    in space."""
    turn = math.cos(0.3), math.sin(0.3)
    lies = (-turn[0], turn[1], 0.0, 110.5, -turn[1], -turn[0], 0.0, 87.25, 0.0, 0.0, 2.0, -40.0)
    items = [
        pool_item(
            f"scan-{index:03d}",
            sample.image,
            {"expert": sample.labels},
            split=SPLITS[index % len(SPLITS)],
            spacing=(2.0, 1.0, 1.0),
            affine=lies,
        )
        for index, sample in enumerate(synthetic.volumes(count, shape=shape, seed=seed))
    ]
    return MemoryPool(items, classes=("background", "body", "cap"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScriptedRaters:
    """Raters who copy the truth, take their time, and now and then call a region ambiguous; all of it by query id.

    `answering` False leaves every query open, as people do at night.
    """

    pool: Pool
    names: tuple[str, ...] = ("ada", "bo")
    answering: bool = True

    @property
    def immediate(self) -> bool:
        """Whether answers come at once."""
        return self.answering

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Nothing to do: answers depend on the query alone."""

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """The answer to each query."""
        return tuple(self._answer(query) for query in queries) if self.answering else ()

    def _answer(self, query: Query) -> Answer:
        # by place and not by id, so that two campaigns get the same answer to the same question
        rng = seeding.generator("answer", query.item, str(query.box))
        rater = self.names[int(rng.integers(len(self.names)))]
        seconds = float(rng.gamma(4.0, 6.0))
        if rng.random() < 0.06:
            return Answer(
                query=query.id, rater=rater, outcome=Outcome.AMBIGUOUS, seconds=seconds, reason="out of focus"
            )
        labels = self.pool.truth(query.item).crop(query.box)
        outcome = Outcome.LABELED if (labels.classes > 0).any() else Outcome.EMPTY_CONFIRMED
        return Answer(query=query.id, rater=rater, outcome=outcome, labels=labels, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """Where campaigns were recorded: what a report reads."""

    ledger: Ledger
    artifacts: Artifacts
    pool: Pool
    names: tuple[str, ...] = field(default=())


def open_campaign(
    home: Recorded,
    name: str,
    strategy: Strategy,
    *,
    config: str,
    rounds: int = 4,
    batch: int = 8,
    initial: int = 2,
    answering: bool = True,
) -> CampaignLoop:
    """A campaign over `home`, created in its ledger with `config` for a configuration."""
    from alframe.runtime import InlineExecutor

    digest = hashlib.sha256(config.encode()).hexdigest()
    home.ledger.create(name, config=config, config_hash=digest, pool_hash=home.pool.manifest_hash)
    objects = any(info.instances for info in home.pool.items())
    settings = Settings(
        name=name,
        seed=5,
        batch=batch,
        initial=initial,
        initial_strategy=Random(),
        budget=Budget(rounds=rounds, fraction=0.6),
    )
    parts = Parts(
        pool=home.pool,
        ledger=home.ledger,
        artifacts=home.artifacts,
        executor=InlineExecutor(),
        learner=PixelLearner(passes=8),
        strategy=strategy,
        oracle=ScriptedRaters(pool=home.pool, answering=answering),
        metrics=MetricSpec(classes=home.pool.classes, objects=objects, min_object=12),
    )
    return CampaignLoop(settings, parts)


def record(folder: Path, pool: Pool, strategies: dict[str, Strategy], *, rounds: int = 4, batch: int = 8) -> Recorded:
    """Run one campaign for each strategy to its end, over a new ledger and store in `folder`."""
    from alframe.storage import FileArtifacts, SqlLedger

    folder.mkdir(parents=True, exist_ok=True)
    home = Recorded(
        ledger=SqlLedger(f"sqlite:///{folder / 'ledger.db'}"),
        artifacts=FileArtifacts(folder / "artifacts"),
        pool=pool,
        names=tuple(strategies),
    )
    for name, strategy in strategies.items():
        config = describe(name, strategy, rounds=rounds, batch=batch)
        open_campaign(home, name, strategy, config=config, rounds=rounds, batch=batch).run()
    return home


def describe(name: str, strategy: Strategy, *, rounds: int, batch: int) -> str:
    """A configuration in the words of a campaign's YAML, as far as the parts of these campaigns have any."""
    kind = type(strategy).__name__.lower()
    lines = [f"name: {name}", "seed: 5", "strategy:", f"  type: {kind}"]
    lines += [f"  {key}: {getattr(strategy, key)}" for key in ("measure",) if hasattr(strategy, key)]
    window = getattr(strategy, "window", None)
    lines += [f"  window: {list(window)}"] if isinstance(window, tuple) else []
    return "\n".join([*lines, f"batch: {batch}", "budget:", f"  rounds: {rounds}", "  fraction: 0.6", ""])
