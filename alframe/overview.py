"""How a campaign stands, read from the ledger alone: the same facts for a terminal, for JSON and for a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alframe.errors import NotFound
from alframe.labelling import LabellingLedger, Refusal, refusals
from alframe.ports import Ledger, RoundRecord
from alframe.types import Metric, Phase

__all__ = ["Overview", "RoundRow", "Watched", "exit_code", "overview"]

# A round budget is the plan itself; the others are purses that may run dry before the plan is through.
_PURSES = ("queries", "pixels", "fraction", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One round. `fraction` is the annotated share of the training split its model was trained on (None before it is known).

    `metrics` has, by scope (``test``, or ``val`` where there is no test split), the pooled values of the round.
    """

    index: int
    phase: Phase
    queries: int
    answers: int
    fraction: float | None
    seconds: float
    scope: str
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A campaign and its rounds. `holder` is the driver that works on it, or did last; `refused` is raters' work in other
    programs that could not be taken."""

    name: str
    status: str
    reason: str
    holder: str
    created: str
    rounds: tuple[RoundRow, ...]
    refused: tuple[Refusal, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def overview(ledger: Ledger, name: str, labelling: LabellingLedger | None = None) -> Overview:
    """Read one campaign; with `labelling`, what its raters have to repair too.

    Raises:
        NotFound: when the ledger has no such campaign; the message names the ones it has.
    """
    found = ledger.metrics(name, overall=True)
    return _overview(ledger, name, found, () if labelling is None else refusals(labelling, name))


def _overview(
    ledger: Ledger, name: str, overall: Sequence[tuple[int, Metric]], refused: tuple[Refusal, ...] = ()
) -> Overview:
    record = ledger.campaign(name)
    counts = ledger.counts(name)
    seconds: dict[int, float] = {}
    for index, _, spent in ledger.seconds(name):
        seconds[index] = seconds.get(index, 0.0) + spent
    rows = []
    for one in ledger.rounds(name):
        here = [metric for index, metric in overall if index == one.index]
        rows.append(_row(one, here, *counts.get(one.index, (0, 0)), seconds.get(one.index, 0.0)))
    return Overview(
        name=record.name,
        status=record.status,
        reason=record.reason,
        holder=record.holder,
        created=record.created,
        rounds=tuple(rows),
        refused=refused,
    )


def _row(record: RoundRecord, metrics: Sequence[Metric], queries: int, answers: int, seconds: float) -> RoundRow:
    pooled = {(m.scope, m.name): m.value for m in metrics if m.value is not None}
    scope = next((where for where in ("test", "val") if any(where == place for place, _ in pooled)), "")
    return RoundRow(
        index=record.index,
        phase=record.phase,
        queries=queries,
        answers=answers,
        fraction=pooled.get(("campaign", "annotated_fraction")),
        seconds=seconds,
        scope=scope,
        metrics={name: value for (where, name), value in pooled.items() if where == scope},
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """A campaign as the labelling server shows it; it need not have begun."""

    ledger: Ledger
    name: str

    def status(self) -> str:
        """As :class:`Overview` has it; ``new`` before the first run."""
        try:
            return self.ledger.campaign(self.name).status
        except NotFound:
            return "new"

    def overview(self) -> dict[str, Any]:
        """Rounds with their metrics, and what they cost."""
        if self.status() == "new":
            plain = {"name": self.name, "status": "new", "reason": "not begun: `alframe run`"}
            return {**plain, "round": None, "phase": None, "rounds": [], "costs": {}}
        overall = self.ledger.metrics(self.name, overall=True)
        found = _overview(self.ledger, self.name, overall)
        spent = [(t, m.name, m.value) for t, m in overall if m.scope == "campaign"]
        pixels = {t: int(value) for t, name, value in spent if name == "annotated_pixels" and value is not None}
        costs: dict[str, float] = {"computing_seconds": sum(one.seconds for one in found.rounds)}
        for _, name, value in spent:
            if name.startswith("acquired_") and value is not None:
                costs[name] = costs.get(name, 0.0) + value
        last = found.rounds[-1] if found.rounds else None
        return {
            "name": found.name,
            "status": found.status,
            "reason": found.reason,
            "round": last and last.index,
            "phase": last and last.phase.value,
            "rounds": [
                {
                    "index": one.index,
                    "phase": one.phase.value,
                    "queries": one.queries,
                    "annotated_pixels": pixels.get(one.index),
                    "metrics": one.metrics,
                }
                for one in found.rounds
            ],
            "costs": costs,
        }


def exit_code(status: str, reason: str) -> int:
    """What a shell is told: 0 done or stopped on request, 1 failed, 3 waiting for labels, 4 a budget ran dry.

    A campaign that went through all the rounds of its budget, reached its target or no longer improved is done (0); 4 means
    that queries, pixels, fraction or seconds of the budget ended it.
    """
    if status == "waiting":
        return 3
    if status not in ("done", "stopped"):
        return 1
    dry = status == "done" and any(reason.startswith(f"budget: {purse}") for purse in _PURSES)
    return 4 if dry else 0
