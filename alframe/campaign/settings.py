"""What a campaign is told to do, apart from its parts (pool, learner, strategy, oracle)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from alframe.errors import InvalidValue
from alframe.metrics import MetricSpec, RaterSpec
from alframe.metrics.fusion import Fusion
from alframe.ports import (
    Artifacts,
    Executor,
    Learner,
    Ledger,
    Observer,
    Oracle,
    Pool,
    Snapshots,
    Strategy,
)
from alframe.strategies.opinions import Opinions
from alframe.types import Compute, Phase

__all__ = ["Budget", "Parts", "Plateau", "Settings", "Silent", "Target"]

LOWER_IS_BETTER = frozenset(
    {
        "nll",
        "ece",
        "ace",
        "mce",
        "classwise_ece",
        "brier",
        "brier_normalised",
        "brier_reliability",
        "object_hausdorff",
        "validation_loss",
        "ged",
        "rater_nll",
        "rater_brier",
        "rater_ece",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the campaign may spend; None = no limit. The first limit that is reached ends it.

    `rounds` acquisition rounds after the initial one, `queries` questions to the oracle in all, `pixels` annotated
    pixels or voxels in all, `fraction` the same as a share of the training split (0 … 1], `seconds` time in phases.
    """

    rounds: int | None = None
    queries: int | None = None
    pixels: int | None = None
    fraction: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in self.__slots__}
        bad = [f"{name}={value}" for name, value in limits.items() if value is not None and value <= 0]
        if bad:
            raise InvalidValue(f"a budget is positive, got {', '.join(bad)}")
        if self.fraction is not None and self.fraction > 1:
            raise InvalidValue(f"budget fraction is a share of the training pixels in (0, 1], got {self.fraction}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Stop when a metric reaches a value (from below, or from above where lower is better)."""

    metric: str
    value: float
    scope: str = "val"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """Stop when the best value of a metric has not improved by `min_delta` for `rounds` rounds."""

    metric: str
    rounds: int = 3
    min_delta: float = 0.002
    scope: str = "val"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.min_delta < 0:
            raise InvalidValue(f"a plateau needs rounds >= 1 and min_delta >= 0, got {self.rounds}, {self.min_delta}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The campaign's own parameters: `batch` queries a round, `initial` queries in round 0, `part` items a job.

    `evaluate_pool` measures the part of the pool that nobody annotated yet against its ingested truth (simulation only).
    `replicas` is the number of independent answers wanted for each new query, `opinions` whom to ask, and when to ask again.
    `panels` test images, and as many of a round's queries, are kept with the model's maps for the report.
    A training that takes longer than `snapshot_seconds` leaves its progress in the store that often.
    """

    name: str
    seed: int
    batch: int
    initial: int
    initial_strategy: Strategy
    budget: Budget = field(default_factory=Budget)
    target: Target | None = None
    plateau: Plateau | None = None
    evaluate_pool: bool = True
    part: int = 16
    replicas: int = 1
    opinions: Opinions = field(default_factory=Opinions)
    panels: int = 0
    lease_seconds: float = 60.0
    snapshot_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", self.name):
            raise InvalidValue(
                f"campaign name {self.name!r}: expected 1 to 80 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit"
            )
        for name in ("batch", "initial", "part", "replicas"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.panels < 0:
            raise InvalidValue(f"panels must not be negative, got {self.panels}")
        if self.opinions.again > self.batch:
            raise InvalidValue(f"raters.again is a part of the batch of {self.batch}, got {self.opinions.again}")
        if self.initial_strategy.needs_model:
            raise InvalidValue(
                "the initial strategy runs before a model exists; use one that needs none, such as random"
            )


class Silent:
    """An observer that ignores everything."""

    def phase_started(self, round: int, phase: Phase, total: int) -> None:
        """Ignore."""

    def advanced(self, done: int) -> None:
        """Ignore."""

    def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The things that a campaign works with, each behind its port.

    `raters` says how raters are compared with the model one by one (None = not at all), `fusion` how their ingested truth becomes
    one. Long training runs leave their progress in `snapshots`.
    """

    pool: Pool
    ledger: Ledger
    artifacts: Artifacts
    executor: Executor
    learner: Learner
    strategy: Strategy
    oracle: Oracle
    metrics: MetricSpec
    raters: RaterSpec | None = None
    fusion: Fusion = "majority"
    compute: Compute = field(default_factory=Compute)
    observer: Observer = field(default_factory=Silent)
    snapshots: Snapshots | None = None
