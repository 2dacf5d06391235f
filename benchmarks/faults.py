"""The faults of a long campaign, injected: kills at every step, power loss, full disks, flipped bits, two drivers, and more.

Run ``python -m benchmarks.faults [--quick]``. Prints a table and one line of JSON; the full run writes docs/results/durability.md.
Exit code 1 when something was violated, or a mutant was not caught.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from alframe.errors import NotFound
from alframe.testing.faults import FAULTS, Lab, Tally, catch_mutants, inject
from alframe.testing.postgres import programs

PAGE = Path(__file__).parents[1] / "docs" / "results" / "durability.md"
INTRODUCTION = """# Durability: faults and what comes of them

Run

    python -m benchmarks.faults{arguments}

The campaign of each trial is real and small: two members, a round of regions after the initial one, SQLite, files in a folder
in memory. A trial injects a fault into a driver of its own process, looks at the disk with other eyes than alframe's (every
row's file by its hash, every acknowledged label by its mask), lets another driver finish, and compares one digest over all
queries, labels and metrics with that of an undisturbed run. A trial is violated when any of this, or the outcome named in the
table, does not hold. "Power lost" watches `fsync` in the driver and, at the kill, throws away every byte and every name in a
folder that was not synced (all of them, or each by chance), and cuts a commit that had not returned out of SQLite's log.

{kills} processes were killed or cut off in all; {violations} trials were violated. {machine}.
"""
MUTANTS = """
## Would the harness notice?

Four mutants of alframe, each tried with trials of the same suite until it is caught.

| mutant | caught | trials until then | first violation |
| --- | --- | ---: | --- |
"""


def missing() -> list[str]:
    """Which of Ray and PostgreSQL this machine lacks."""
    lacking = [] if importlib.util.find_spec("ray") else ["ray"]
    try:
        programs()
    except NotFound:
        lacking.append("postgres")
    return lacking


def row(tally: Tally) -> str:
    """A line of the table."""
    return (
        f"{tally.number:3d}  {tally.title:45} {tally.trials:6d} {tally.kills:6d} {tally.broken:9d} {tally.seconds:8.1f}"
    )


def machine() -> str:
    """What it ran on."""
    return (
        f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )


def page(faults: Sequence[Tally], mutants: Sequence[Tally], arguments: str, without: Sequence[str]) -> str:
    """The results page."""
    lines = [
        INTRODUCTION.format(
            arguments=arguments,
            kills=sum(tally.kills for tally in faults),
            violations=sum(tally.broken for tally in faults),
            machine=machine(),
        ),
        "| | fault | what must come of it | trials | kills | violated |",
        "| ---: | --- | --- | ---: | ---: | ---: |",
    ]
    rows = [
        (t.number, f"| {t.number} | {t.title} | {t.expected} | {t.trials} | {t.kills} | {t.broken} |") for t in faults
    ]
    for fault in FAULTS:
        if fault.needs in without:
            untried = f"| {fault.number} | {fault.title} | {fault.expected} | not tried here: needs {fault.needs} | | |"
            rows.append((fault.number, untried))
    lines += [line for _, line in sorted(rows, key=lambda pair: pair[0])]
    first = {t.title: (t.violations[0].partition(": ")[2] if t.violations else "") for t in mutants}
    lines.append(MUTANTS.rstrip("\n"))
    lines += [f"| {t.title} | {'yes' if t.broken else 'no'} | {t.trials} | {first[t.title]} |" for t in mutants]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Inject and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases of each fault, in about a minute")
    parser.add_argument("--seed", type=int, default=0, help="which cases are drawn, and all chance within them")
    parser.add_argument("--cases", type=int, help="at most so many cases of each fault")
    parser.add_argument(
        "--only", type=int, nargs="*", default=[], help="numbers of faults; without mutants, writes no page"
    )
    parser.add_argument("--without", nargs="*", default=missing(), help="leave out faults that need ray or postgres")
    options = parser.parse_args()
    began = time.monotonic()
    faults, mutants = [], []
    with Lab.opened(options.seed) as lab:
        print("  #  fault                                         trials  kills  violated  seconds")
        for tally in inject(lab, quick=options.quick, most=options.cases, without=options.without, only=options.only):
            faults.append(tally)
            print(row(tally), flush=True)
            for violation in tally.violations[:5]:
                print(f"       {violation}", flush=True)
        for tally in () if options.only else catch_mutants(lab, most=12):
            mutants.append(tally)
            print(
                f"     mutant: {tally.title:37} {'caught' if tally.broken else 'NOT CAUGHT'} in trial {tally.trials}",
                flush=True,
            )
    if not options.quick and not options.only:
        PAGE.write_text(page(faults, mutants, " ".join(["", *sys.argv[1:]]), options.without))
    result = {
        "benchmark": "faults",
        "seed": options.seed,
        "trials": sum(tally.trials for tally in faults),
        "kills": sum(tally.kills for tally in faults),
        "violated": {
            number: sum(t.broken for t in faults if t.number == number) for number in {t.number for t in faults}
        },
        "mutants": {tally.title: tally.broken for tally in mutants},
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result))
    return int(any(tally.broken for tally in faults) or any(not tally.broken for tally in mutants))


if __name__ == "__main__":
    sys.exit(main())
