"""Faults 4, 5 and 20: two drivers, a driver that slept through its lease, clocks that jump."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alframe.ports import Fence
from alframe.storage import SqlLedger
from alframe.testing.faults.lab import NAME, Hook, Lab, ledger_rows
from alframe.testing.faults.model import Fault, Outcome

__all__ = ["DRIVERS", "slept_too_long", "while_held"]

TABLES = ("campaigns", "rounds", "phases", "artifacts", "queries", "answers", "metrics", "bins")
HOUR = 3600.0


def _sleeper(count: int) -> Hook:
    """Stops the process at the `count`-th failpoint, as Ctrl-Z or a frozen machine would."""
    left = [count]

    def hook(name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def _contents(folder: Path) -> list[list[Any]]:
    return [sorted(ledger_rows(folder, f"SELECT * FROM {table}"), key=repr) for table in TABLES]


def while_held(lab: Lab) -> Sequence[int]:
    """Failpoints at which the lease is held: after the claim, and not within a transaction that the other would wait for."""
    return [
        n
        for n, name in enumerate(lab.points("oracle"), start=1)
        if n > 2 and not name.startswith("ledger.release") and not name.endswith("before_commit")
    ]


def two_drivers(lab: Lab, count: int) -> Outcome:
    """A second driver comes while the first one stops for a moment."""
    outcome = Outcome()
    with lab.folder() as folder:
        first = lab.drive(folder, hook=_sleeper(count))
        if not first.stopped():
            outcome.expect(False, "the first driver ended before the second came")
            return outcome
        before = _contents(folder)
        second = lab.drive(folder).wait()
        outcome.expect(second.last("error") == "LeaseHeld", f"the second driver was not refused: {second}")
        outcome.expect(f"process {first.pid} " in second.last("text"), f"it does not name the holder: {second}")
        outcome.expect(_contents(folder) == before, "the second driver wrote")
        first.wake()
        ended = first.wait()
        outcome.expect(ended.last("digest") == lab.digest("oracle"), f"the first driver was disturbed: {ended}")
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def slept_too_long(lab: Lab, count: int) -> Outcome:
    """A driver stops past its lease; another takes over and finishes; then the first one wakes."""
    outcome = Outcome(kills=1)
    with lab.folder() as folder:
        first = lab.drive(folder, hook=_sleeper(count))
        if not first.stopped():
            outcome.expect(False, "the driver ended before it was stopped")
            return outcome
        with SqlLedger(f"sqlite:///{folder / 'ledger.db'}", create=False) as ledger:
            epoch = ledger.campaign(NAME).epoch
            ledger.renew(Fence(campaign=NAME, epoch=epoch), lease_seconds=0)  # its time is up
        lab.finish(folder, outcome)
        before = _contents(folder)
        first.wake()
        ended = first.wait()
        outcome.expect(ended.last("error") == "FencedError", f"the driver that woke was not fenced: {ended}")
        outcome.expect(_contents(folder) == before, "the driver that woke wrote into the ledger")
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def clock_jumps(lab: Lab, hours: float) -> Outcome:
    """A second driver whose clock is off, while the first holds the lease; then the first goes on with a clock that jumps."""
    outcome = Outcome()
    shift = hours * HOUR
    real = time.time

    def jump(name: str) -> None:
        patched: Any = time
        patched.time = lambda: real() + shift

    left = [40]

    def stop_and_jump(name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            jump(name)

    with lab.folder() as folder:
        first = lab.drive(folder, hook=stop_and_jump, lease=HOUR / 2)
        if not first.stopped():
            outcome.expect(False, "the first driver ended before the second came")
            return outcome
        second = lab.drive(folder, hook=jump, lease=HOUR / 2)
        refused = second.wait()
        outcome.expect(refused.last("error") == "LeaseHeld", f"a clock {hours:+} h off takes the lease: {refused}")
        first.wake()
        ended = first.wait()
        outcome.expect(ended.last("digest") == lab.digest("oracle"), f"a jump of {hours:+} h disturbs: {ended}")
    return outcome


DRIVERS = (
    Fault(
        number=4,
        title="two drivers",
        expected="one works; the other is refused, and told who holds the lease",
        cases=lambda lab: while_held(lab)[::12],
        trial=two_drivers,
        quick=1,
    ),
    Fault(
        number=5,
        title="SIGSTOP past the lease, then SIGCONT",
        expected="fenced; writes nothing",
        cases=lambda lab: while_held(lab)[::12],
        trial=slept_too_long,
        quick=2,
    ),
    Fault(
        number=20,
        title="a driver's clock jumps by hours",
        expected="leases unaffected: they go by the database's clock",
        cases=lambda lab: [1.0, -1.0, 24.0],
        trial=clock_jumps,
        quick=1,
    ),
)
