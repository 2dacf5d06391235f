"""The seams of alframe: what a room promises to the rooms above it, as Protocols that promise behaviour and not only types.

Every port has a contract test in :mod:`alframe.testing.contracts` that runs over each implementation. Objects that travel to
workers (:class:`Pool`, :class:`Artifacts`, :class:`Learner`, :class:`Strategy`, :class:`Labels`) can be pickled; a
copy opened elsewhere reads the same immutable bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from alframe.types import (
    Answer,
    AnswerRecord,
    ArtifactRef,
    Bin,
    Box,
    Candidates,
    Compute,
    ItemInfo,
    LabelMap,
    Metric,
    Phase,
    Query,
    Split,
)

__all__ = [
    "Artifacts",
    "CampaignRecord",
    "Checkpoint",
    "Executor",
    "Fence",
    "FitTask",
    "ItemArrays",
    "ItemView",
    "Labels",
    "Learner",
    "Ledger",
    "Moments",
    "Observer",
    "Oracle",
    "Pool",
    "PoolItem",
    "Prediction",
    "Predictor",
    "RoundRecord",
    "Strategy",
    "Transition",
]

Context = TypeVar("Context")
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemArrays:
    """The pixels of one item: `image` (C, S) and one label map per rater (empty when the item has no truth)."""

    image: NDArray[Any]
    truth: Mapping[str, LabelMap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolItem:
    """An item on its way into a pool: what is known of it, and a function that reads its (already validated) pixels."""

    info: ItemInfo
    load: Callable[[], ItemArrays]


class Pool(Protocol):
    """All items with their truth; written once at ingest, then read-only. Safe to use from many threads and processes."""

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hex) of the manifest: items, splits, classes and the content hash of every array."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; position = class id, position 0 = background."""

    def items(self, split: Split | None = None) -> tuple[ItemInfo, ...]:
        """Items sorted by id, of one split or of all."""

    def info(self, item: str) -> ItemInfo:
        """One item. Raises NotFound."""

    def image(self, item: str, box: Box | None = None) -> NDArray[Any]:
        """Pixels as ingested, shape ``(C, *S)``, native dtype; a box reads only the chunks it touches.

        Raises NotFound, or ArtifactDamaged when a chunk is missing or its checksum differs.
        """

    def truth(self, item: str, rater: str | None = None) -> LabelMap:
        """Ingested truth of one rater (None = the first one). Visible to simulated oracles and to validation/test only.

        Raises NotFound when the item has no truth by that rater.
        """


class Artifacts(Protocol):
    """Immutable content-addressed bytes. A ``put`` returns after the bytes and their folder entry are durable.

    Putting the same bytes twice is harmless and returns an equal reference. Safe to use from many threads and processes.
    """

    def put(self, kind: str, data: bytes) -> ArtifactRef:
        """Store bytes under their hash; `kind` (``checkpoint``, ``scores``, ``mask`` …) only names the folder."""

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes, verified against their hash. Raises ArtifactMissing or ArtifactDamaged."""

    def put_arrays(self, kind: str, arrays: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store named arrays; equal arrays give equal references."""

    def get_arrays(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_arrays`."""

    def put_table(self, kind: str, columns: Mapping[str, NDArray[Any]]) -> ArtifactRef:
        """Store equally long one-dimensional columns as Parquet; equal tables give equal references."""

    def get_table(self, ref: ArtifactRef) -> dict[str, NDArray[Any]]:
        """The inverse of :meth:`put_table`; strings come back as NumPy unicode."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sufficient statistics of M stochastic predictions of one item or box: a commutative monoid under ``merge``.

    `count` M; `probability` Σ_m p_m (C, S; float64 or float32); `entropy` Σ_m H(p_m) in nats (S); `votes` Σ_m
    [argmax p_m = c] (C, S) or None when not asked for; `log_probability` log Σ_m p_m (C, S; from log-softmax and
    logsumexp, so that it never underflows) or None when not asked for. The arithmetic lives in ``strategies.moments``.
    """

    count: int
    probability: NDArray[np.floating[Any]]
    entropy: NDArray[np.floating[Any]]
    votes: NDArray[np.floating[Any]] | None = None
    log_probability: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a predictor says of one item: moments over its passes, and the mean contour probability (S) or None."""

    moments: Moments
    contour: NDArray[np.float32] | None = None


class Predictor(Protocol):
    """A fitted model (one or many members, one or many stochastic passes)."""

    def predict(
        self, image: NDArray[Any], *, spacing: Sequence[float] = (), seed: int, votes: bool = False, log: bool = False
    ) -> Prediction:
        """Predict a whole image of shape ``(C, *S)`` in its native dtype and range; large ones by sliding windows.

        On one device type and thread count the result depends on `image`, `seed` and the checkpoints only.
        Raises NonFiniteError when a probability is NaN or infinite.
        """


class Labels(Protocol):
    """What a campaign knows of its items so far: committed answers, composed. Read-only and picklable."""

    def items(self) -> tuple[str, ...]:
        """Items with at least one annotated pixel, sorted."""

    def labels(self, item: str) -> LabelMap:
        """The composed label map (255 where not annotated)."""

    def contours(self, item: str) -> NDArray[np.uint8]:
        """Contour target (S): 1 on object borders, 0 inside and in background, 255 where not annotated."""

    def history(self, item: str) -> tuple[Box, ...]:
        """Boxes of this item that were queried before, whatever the outcome, in commit order."""

    def retired(self, item: str) -> bool:
        """Whether a rater called the item unusable; it is never queried or trained on again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitTask:
    """Everything one training run depends on. One member, one restart; `seed` is its identity.

    `labels` are the campaign's (training items), `validation` names items of the validation split, labelled by
    ``pool.truth``. `initial` are the weights of the previous round for a warm start, or None for from scratch.
    """

    pool: Pool
    labels: Labels
    validation: tuple[str, ...]
    member: int
    restart: int
    seed: int
    compute: Compute
    initial: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained member: safetensors bytes, its validation loss (lower = better), and the curve of its training.

    `history` has one mapping an epoch, at least ``epoch``, ``train_loss``, ``val_loss``, ``seconds``.
    """

    weights: bytes
    validation_loss: float
    history: tuple[Mapping[str, float], ...] = ()


class Learner(Protocol):
    """Fits members and rebuilds predictors from their bytes. Holds parameters only; no weights, no state."""

    @property
    def members(self) -> int:
        """How many independently trained members a predictor needs (1 for MC dropout)."""

    @property
    def restarts(self) -> int:
        """How many times each member is trained; the campaign keeps the best by validation loss."""

    @property
    def warm_start(self) -> bool:
        """Whether the campaign should pass the last round's weights as `FitTask.initial`."""

    def fit(self, task: FitTask, progress: Callable[[float], None] | None = None) -> Checkpoint:
        """Train one member. `progress` receives the fraction done.

        Raises NonFiniteError on a NaN loss, InvalidValue when the pool does not fit the network.
        """

    def predictor(self, checkpoints: Sequence[bytes], compute: Compute) -> Predictor:
        """A predictor from `members` checkpoints, in member order."""


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


class Executor(Protocol):
    """Where functions run. The inline executor and Ray give the same results."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""

    def run(
        self,
        name: str,
        function: Callable[[Context, Task], Result],
        context: Context,
        tasks: Sequence[Task],
    ) -> Iterator[tuple[int, Result]]:
        """Yield ``(position, result)`` as tasks finish, in any order; each position exactly once.

        `function` is a module-level function; `context` goes once to each worker. A lost worker's task is tried again a
        bounded number of times. Closing the iterator early cancels what has not started.
        Raises TaskFailed (naming `name` and the task) or the AlframeError that the function raised.
        """

    def own(self, factory: Callable[[], Any]) -> Any:
        """Build an object that only one writer may use (on Ray: an actor); its method calls run one at a time, in order."""

    def close(self) -> None:
        """Release workers. Idempotent."""


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

    def advance(self, fence: Fence, transition: Transition) -> None:
        """Write all rows of a phase and step it, atomically. A repeat of a step already taken changes nothing.

        Raises ConflictError when the round is in neither `source` nor `target`.
        """

    def queries(self, name: str, round: int | None = None) -> tuple[Query, ...]:
        """Queries in (round, rank) order."""

    def answers(self, name: str, before_round: int | None = None) -> tuple[AnswerRecord, ...]:
        """Committed answers in commit order; with `before_round`, only those of earlier rounds."""

    def metrics(self, name: str) -> tuple[tuple[int, Metric], ...]:
        """(round, metric) in a stable order."""

    def bins(self, name: str) -> tuple[tuple[int, Bin], ...]:
        """(round, bin) in a stable order."""

    def seconds(self, name: str) -> tuple[tuple[int, Phase, float], ...]:
        """(round, phase reached, seconds it took), as measured."""


class Observer(Protocol):
    """Someone who watches a campaign: a progress bar, a log, a test. Must not raise; never changes results."""

    def phase_started(self, round: int, phase: Phase, total: int) -> None:
        """The work towards `phase` begins; it has `total` parts."""

    def advanced(self, done: int) -> None:
        """`done` parts of the running phase are finished."""

    def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
        """`phase` is durable."""
