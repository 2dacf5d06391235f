"""All faults and all mutants, tried and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alframe.testing.faults.answers import ANSWERS
from alframe.testing.faults.drivers import DRIVERS
from alframe.testing.faults.kills import KILLS
from alframe.testing.faults.lab import Lab
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.faults.mutants import MUTANTS
from alframe.testing.faults.nodes import NODES
from alframe.testing.faults.servers import SERVERS
from alframe.testing.faults.stores import STORES
from alframe.testing.faults.workers import WORKERS

__all__ = ["FAULTS", "Tally", "catch_mutants", "inject"]

FAULTS: tuple[Fault, ...] = tuple(
    sorted((*KILLS, *DRIVERS, *WORKERS, *NODES, *STORES, *SERVERS, *ANSWERS), key=lambda fault: fault.number)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the trials of one fault or mutant. `broken` is the number of trials with a violation."""

    number: int
    title: str
    expected: str
    trials: int
    kills: int
    broken: int
    violations: tuple[str, ...]
    seconds: float


def inject(
    lab: Lab, *, quick: bool = False, most: int | None = None, without: Sequence[str] = (), only: Sequence[int] = ()
) -> Iterator[Tally]:
    """Try the faults in turn.

    `quick` draws a few cases of each, `most` at most so many; `without` leaves out faults that need what it names
    (``ray``, ``postgres``); `only` chooses by number.
    """
    for fault in FAULTS:
        if fault.needs in without or (only and fault.number not in only):
            continue
        cases = list(fault.cases(lab))
        limits = [limit for limit in (fault.quick if quick else None, most) if limit is not None]
        drawn = lab.rng("cases", fault.number).sample(cases, min([len(cases), *limits]))
        if drawn:
            yield _tally(lab, fault, drawn)


def _tally(lab: Lab, fault: Fault, cases: Sequence[Any]) -> Tally:
    began = time.monotonic()
    outcomes = [_tried(fault.trial, lab, case) for case in cases]
    return _sum(fault.number, fault.title, fault.expected, outcomes, time.monotonic() - began)


def _tried(trial: Callable[[Lab, Any], Outcome], lab: Lab, case: Any) -> Outcome:
    outcome = trial(lab, case)
    outcome.violations = [f"{case}: {violation}" for violation in outcome.violations]
    return outcome


def _sum(number: int, title: str, expected: str, outcomes: Sequence[Outcome], seconds: float) -> Tally:
    return Tally(
        number=number,
        title=title,
        expected=expected,
        trials=len(outcomes),
        kills=sum(outcome.kills for outcome in outcomes),
        broken=sum(bool(outcome.violations) for outcome in outcomes),
        violations=tuple(violation for outcome in outcomes for violation in outcome.violations),
        seconds=seconds,
    )


def catch_mutants(lab: Lab, *, most: int) -> Iterator[Tally]:
    """Try each mutant until the suite catches it, at most `most` times. One with ``broken`` 0 was not caught."""
    for mutant in MUTANTS:
        began = time.monotonic()
        outcomes: list[Outcome] = []
        with mutant.installed(), lab.measured_anew():
            cases = list(mutant.cases(lab))
            for case in lab.rng("mutant", mutant.title).sample(cases, min(most, len(cases))):
                outcomes.append(_tried(mutant.trial, lab, case))
                if outcomes[-1].violations:
                    break
        yield _sum(0, mutant.title, "caught", outcomes, time.monotonic() - began)
