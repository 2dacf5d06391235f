"""Rows to fill a ledger with, for the contract and for tests of what reads a ledger."""

from __future__ import annotations

from collections.abc import Callable

from alframe.ports import Fence, Ledger, RoundRecord, Transition
from alframe.types import AnswerRecord, ArtifactRef, Box, Outcome, Phase, Query, query_id

__all__ = [
    "HOLDER",
    "OTHER",
    "OpenLedger",
    "contents",
    "planned",
    "sample_answer",
    "sample_queries",
    "sample_ref",
    "start",
    "step",
]

OpenLedger = Callable[[], Ledger]
HOLDER = "elsewhere:1:first"
OTHER = "elsewhere:2:second"


def sample_ref(number: int, kind: str = "mask") -> ArtifactRef:
    """A reference to bytes that need not exist: the ledger only keeps the name."""
    return ArtifactRef(kind=kind, sha256=f"{number:064x}", size=number + 1)


def sample_queries(count: int, *, campaign: str = "c", item: str = "Größe 1", axes: int = 2) -> tuple[Query, ...]:
    """Distinct queries of one item, in rank order, with scores that need all their digits."""
    boxes = [Box(start=(0,) * (axes - 1) + (k,), stop=(3,) * (axes - 1) + (k + 2,)) for k in range(count)]
    return tuple(
        Query(
            id=query_id(campaign, item, box),
            item=item,
            box=box,
            score=1 / (k + 3),
            rank=k,
            raters=("Ann, MD", "bö") if k % 2 else (),
            replicas=1 + k % 2,
        )
        for k, box in enumerate(boxes)
    )


def sample_answer(query: Query, *, sequence: int, round: int, labelled: bool = True) -> AnswerRecord:
    """An answer to `query`: a label, or a refusal."""
    return AnswerRecord(
        sequence=sequence,
        round=round,
        query=query.id,
        item=query.item,
        box=query.box,
        rater="bö",
        outcome=Outcome.LABELED if labelled else Outcome.UNUSABLE,
        mask=sample_ref(sequence) if labelled else None,
        seconds=0.1 + 0.2 if labelled else None,
        reason="" if labelled else "out of focus; 'unusable'",
    )


def contents(ledger: Ledger, name: str = "c") -> tuple[object, ...]:
    """All that a ledger says of a campaign, for comparison."""
    rounds = ledger.rounds(name)
    named = tuple(ledger.artifacts(name, record.index) for record in rounds)
    reads = (ledger.queries(name), ledger.answers(name), ledger.metrics(name), ledger.bins(name), ledger.seconds(name))
    return (ledger.campaign(name), ledger.stop_requested(name), rounds, named, *reads, ledger.confusions(name))


def start(ledger: Ledger, *, name: str = "c", rounds: int = 1) -> Fence:
    """A created and claimed campaign with `rounds` begun rounds."""
    ledger.create(name, config="a: 1\n", config_hash="ch", pool_hash="ph")
    fence = ledger.claim(name, holder=HOLDER, lease_seconds=600)
    for index in range(rounds):
        ledger.begin_round(fence, planned(index))
    return fence


def planned(index: int) -> RoundRecord:
    """A new round."""
    return RoundRecord(index=index, phase=Phase.PLANNED, parent=f"version {index}")


def step(source: Phase, target: Phase, **rows: object) -> Transition:
    """A step of round 0."""
    return Transition(round=0, source=source, target=target, **rows)  # type: ignore[arg-type]
