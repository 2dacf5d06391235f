"""Faults 1 to 3: the driver killed at each failpoint, again while it recovers, and with the loss of all that was not synced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from alframe.testing.faults.lab import Flow, Lab
from alframe.testing.faults.model import Fault, Outcome

__all__ = ["KILLS", "Kill", "kill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Kill the driver at the `counts`: the first at the so-many-th failpoint, the second so many after it resumed, and so on.

    `power`: "" = the process only; ``all`` or ``some`` = un-synced writes are lost with it.
    """

    flow: Flow
    counts: tuple[int, ...]
    power: str = ""


def kill(lab: Lab, case: Kill) -> Outcome:
    """Kill as often as the case says, look at the disk after each, resume, compare."""
    outcome, acknowledged = Outcome(), []
    rng = lab.rng(case)
    points = lab.points(case.flow)
    with lab.folder() as folder:
        for life, count in enumerate(case.counts, start=1):
            hook = lab.killer(folder, count, power=case.power, rng=rng)
            ended = lab.drive(folder, flow=case.flow, hook=hook).wait()
            acknowledged += ended.all("ack")
            if not ended.killed:  # it had less left to do than the case supposed
                outcome.expect(ended.code == 0, f"life {life}: the driver failed by itself: {ended}")
                break
            outcome.kills += 1
            where = f" at {points[count - 1]}" if life == 1 else ""
            lab.audit(folder, outcome, acknowledged, f"after kill {life}{where}")
        ended = lab.finish(folder, outcome, case.flow)
        lab.audit(folder, outcome, acknowledged + ended.all("ack"), "at the end")
    return outcome


def _each(lab: Lab, *, flow: Flow, power: str = "") -> list[Kill]:
    return [Kill(flow=flow, counts=(n,), power=power) for n in range(1, len(lab.points(flow)) + 1)]


def _again(lab: Lab) -> list[Kill]:
    """Every third point, then once or twice more somewhere in what is left."""
    cases = []
    for n in range(1, len(lab.points("oracle")) + 1, 3):
        rng = lab.rng("again", n)
        left = max(2, len(lab.points("oracle")) - n)
        cases.append(Kill(flow="oracle", counts=(n, *(rng.randint(1, left) for _ in range(rng.randint(1, 2))))))
    return cases


def _power(lab: Lab) -> list[Kill]:
    """Every other point of the flow with acknowledgements; everything un-synced lost, and in turn each piece by chance."""
    cases = []
    for n in range(1, len(lab.points("tell")) + 1, 2):
        rng = lab.rng("power", n)
        counts = (n, rng.randint(1, len(lab.points("tell")))) if rng.random() < 0.3 else (n,)
        cases.append(Kill(flow="tell", counts=counts, power=rng.choice(["all", "some"])))
    return cases


KILLS = (
    Fault(
        number=1,
        title="driver killed at each failpoint",
        expected="same final digest",
        cases=partial(_each, flow="oracle"),
        trial=kill,
        quick=8,
    ),
    Fault(
        number=2,
        title="killed again during recovery",
        expected="same final digest",
        cases=_again,
        trial=kill,
        quick=4,
    ),
    Fault(
        number=3,
        title="power lost: un-synced writes dropped",
        expected="every acknowledged label is there; same final digest",
        cases=_power,
        trial=kill,
        quick=5,
    ),
)
