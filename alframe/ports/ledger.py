"""The only source of truth: campaigns, rounds, and the steps between their phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from alframe.types import AnswerRecord, ArtifactRef, Bin, Confusion, Metric, Phase, Query

__all__ = ["CampaignRecord", "Fence", "Ledger", "RoundRecord", "Transition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecord:
    """A campaign as the ledger knows it. `status` is running, waiting, done, stopped or failed; `reason` says why."""

    name: str
    config: str
    config_hash: str
    pool_hash: str
    status: str
    reason: str
    epoch: int
    holder: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Proof that this driver holds the campaign: every write names it, and fails when a later epoch exists."""

    campaign: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One round. `parent` is the pool version (hash) it starts from, `version` the one it committed (empty before).

    `acquire` is False for the last round, which only trains and measures; `reason` says which rule ended the campaign.
    """

    index: int
    phase: Phase
    parent: str
    acquire: bool = True
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """All that one phase makes durable in one transaction, together with the step from `source` to `target`."""

    round: int
    source: Phase
    target: Phase
    seconds: float = 0.0
    queries: tuple[Query, ...] = ()
    answers: tuple[AnswerRecord, ...] = ()
    metrics: tuple[Metric, ...] = ()
    bins: tuple[Bin, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    artifacts: Mapping[str, ArtifactRef] = field(default_factory=dict)
    version: str = ""


class Ledger(Protocol):
    """The only source of truth. Each method is one transaction; what it returns is committed; readers never block writers.

    Methods that take a :class:`Fence` raise FencedError, and write nothing, when another driver took over.
    """

    def create(self, name: str, *, config: str, config_hash: str, pool_hash: str) -> CampaignRecord:
        """Create a campaign, or return it when it exists with the same hashes. Raises ConflictError when they differ."""

    def reconfigure(self, fence: Fence, *, config: str, config_hash: str) -> None:
        """Replace the configuration (the caller decided that the change is safe)."""

    def campaign(self, name: str) -> CampaignRecord:
        """Raises NotFound, naming the campaigns there are."""

    def campaigns(self) -> tuple[CampaignRecord, ...]:
        """All campaigns, oldest first."""

    def claim(self, name: str, *, holder: str, lease_seconds: float) -> Fence:
        """Become the campaign's driver if nobody holds an unexpired lease (by the database's clock). Raises LeaseHeld."""

    def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Extend the lease."""

    def release(self, fence: Fence, *, status: str, reason: str = "") -> None:
        """Give the lease back and record how the campaign stands."""

    def request_stop(self, name: str, reason: str) -> None:
        """Ask the driver, whoever it is, to stop after the current phase."""

    def stop_requested(self, name: str) -> str | None:
        """The reason of a pending stop request. ``claim`` clears it."""

    def begin_round(self, fence: Fence, record: RoundRecord) -> RoundRecord:
        """Insert a round in phase PLANNED; return the row that exists if it is there already."""

    def rounds(self, name: str) -> tuple[RoundRecord, ...]:
        """Rounds in order."""

    def record_artifact(self, fence: Fence, round: int, key: str, ref: ArtifactRef) -> ArtifactRef:
        """Name durable bytes as (round, key), for example ``checkpoint/0/1``. First wins; returns what the row names."""

    def artifacts(self, name: str, round: int) -> dict[str, ArtifactRef]:
        """Named artifacts of a round."""

    def rename_artifact(self, fence: Fence, old: ArtifactRef, new: ArtifactRef) -> int:
        """Let every artifact and pre-fill of the campaign that is named `old` be named `new`; how many rows changed.

        For bytes that were recomputed after a damage and came out different. The masks of answers are never renamed.
        Raises InvalidValue when the kinds differ, or are a label's (``mask``, ``answer``).
        """

    def named(self) -> frozenset[str]:
        """Every SHA-256 (hex) that any row of any campaign names, and perhaps others: what must not be collected."""

    def clock(self) -> float:
        """The database's clock, by which leases go: seconds since 1970 (UTC)."""

    def advance(self, fence: Fence, transition: Transition) -> None:
        """Write all rows of a phase and step it, atomically. A repeat of a step already taken changes nothing.

        Raises ConflictError when the round is in neither `source` nor `target`.
        """

    def queries(self, name: str, round: int | None = None) -> tuple[Query, ...]:
        """Queries in (round, rank) order."""

    def answers(self, name: str, before_round: int | None = None) -> tuple[AnswerRecord, ...]:
        """Committed answers in commit order; with `before_round`, only those of earlier rounds."""

    def counts(self, name: str) -> Mapping[int, tuple[int, int]]:
        """By round: how many queries and answers it has. A round without queries is left out."""

    def metrics(self, name: str, *, overall: bool = False) -> tuple[tuple[int, Metric], ...]:
        """(round, metric) in a stable order; with `overall`, only pooled values that are not of one class."""

    def bins(self, name: str) -> tuple[tuple[int, Bin], ...]:
        """(round, bin) in a stable order."""

    def confusions(self, name: str) -> tuple[tuple[int, Confusion], ...]:
        """(round, what a rater chose against the others) as far as known by then, sorted by round, rater, agreed, chosen."""

    def seconds(self, name: str) -> tuple[tuple[int, Phase, float], ...]:
        """(round, phase reached, seconds it took), as measured."""

    def close(self) -> None:
        """Release connections. Idempotent. A ledger is a context manager that closes itself."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
