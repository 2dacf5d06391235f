"""The labelling server under load: 100,000 open tasks and 50 raters over HTTP, on SQLite and on PostgreSQL.

Run ``python -m benchmarks.annotator [--quick] [--ledger URL]``. The server is `alframe label serve` in a process of its own; the
raters are connections of this process. Each claims a task, looks at it, saves a draft and hands it in. What is timed is
``POST /leases`` from the first byte sent to the last one read, in this process, whose own work is thus part of it:

- ``working``: raters take a few seconds a task (much faster than people), so that requests come at any time;
- ``rush``: all raters claim at the same moment, again and again, as when a round opens;
- ``flat out``: nobody ever pauses, so that the server is never idle;
- ``volumes``: a rush as ever, at a server that was just started and has not seen any of the grey volumes that it hands out.

No task may be given to two raters. The full run writes docs/results/annotator.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from alframe import compose, config
from alframe.errors import NotFound
from alframe.labelling import NewTask, Roster, verify
from alframe.ports import PoolItem
from alframe.storage import write_pool
from alframe.testing.annotating import submission
from alframe.testing.http import Answer, Connection
from alframe.testing.label_servers import LabelServer
from alframe.testing.memory_pool import pool_item
from alframe.testing.postgres import postgres_server
from alframe.types import Box

PAGE = Path(__file__).parents[1] / "docs" / "results" / "annotator.md"
LIMIT_MS = 50.0
ITEMS, SIDE, WINDOW = 64, 512, 64
VOLUME = (64, 192, 192)
CAMPAIGN = """\
name: load
workdir: work
ledger: {ledger}
learner: {{type: mc_dropout}}
strategy: {{type: uncertainty, window: {window}}}
batch: 1
oracle: {{type: human}}
budget: {{rounds: 1}}
"""
BASE = "/api/v1"


@dataclass
class Load:
    """How much."""

    tasks: int = 100_000
    raters: int = 50
    working_seconds: float = 60.0
    pause: float = 1.0
    rushes: int = 40
    flat_seconds: float = 20.0
    volumes: int = 0
    """Grey volumes in the pool, instead of images in colour."""


@dataclass
class Seen:
    """What the raters saw: the milliseconds of each claim, and who was given which task."""

    claims: list[float] = field(default_factory=list)
    submissions: list[float] = field(default_factory=list)
    holders: dict[str, str] = field(default_factory=dict)
    doubled: int = 0
    seconds: float = 0.0


def items(load: Load) -> list[PoolItem]:
    """What is in the pool: noise."""
    rng = np.random.default_rng(1)
    if load.volumes:
        shape = (1, *VOLUME)
        return [pool_item(f"scan-{n:03d}", rng.integers(-1000, 2000, shape, np.int16)) for n in range(load.volumes)]
    return [pool_item(f"slide-{n:03d}", rng.integers(0, 256, (3, SIDE, SIDE), np.uint8)) for n in range(ITEMS)]


def boxes(load: Load) -> Iterator[tuple[str, Box]]:
    """An item and a region of it for each task; neighbouring tasks are of different items."""
    for n in range(load.tasks):
        if load.volumes:
            turn, which = divmod(n, load.volumes)
            corner = (turn % VOLUME[0], 0, 0)
            yield f"scan-{which:03d}", Box(start=corner, stop=(corner[0] + 1, WINDOW, WINDOW))
        else:
            y, x = divmod(n // ITEMS, SIDE - WINDOW)
            y %= SIDE - WINDOW
            yield f"slide-{n % ITEMS:03d}", Box(start=(y, x), stop=(y + WINDOW, x + WINDOW))


def prepare(folder: Path, ledger: str, load: Load) -> tuple[Path, list[str]]:
    """A campaign with an ingested pool and its tasks asked; the raters' tokens."""
    path = folder / "load.yaml"
    path.write_text(CAMPAIGN.format(ledger=ledger, window=WINDOW))
    settings = config.load(path)
    settings.workdir_path.mkdir()
    write_pool(settings.pool_path, items(load), classes=("background", "gland"))
    desk = compose.open_desk(settings)
    with desk.ledger:
        shape = (1, WINDOW, WINDOW) if load.volumes else (WINDOW, WINDOW)
        arrays: dict[str, Any] = {"classes": np.zeros(shape, np.uint8), "uncertainty": np.ones(shape, np.float16)}
        shown = [
            desk.artifacts.put_arrays("prefill", arrays | {"mean": np.full((1,), n, np.float32)}) for n in range(64)
        ]
        tasks = [
            NewTask(
                id=f"{n:032x}",
                campaign="load",
                item=item,
                box=box,
                classes=("background", "gland"),
                score=1.0 / (1 + n),
                prefill=shown[n % 64],
            )
            for n, (item, box) in enumerate(boxes(load))
        ]
        desk.ask(tasks)
        roster = Roster(desk.ledger)
        tokens = []
        for n in range(load.raters):
            roster.add(f"rater-{n:02d}")
            tokens.append(roster.token(f"rater-{n:02d}"))
    return path, tokens


class Rater:
    """One rater at one connection."""

    def __init__(self, name: str, connection: Connection, seen: Seen) -> None:
        self.name, self.send, self.seen = name, connection, seen
        self._draft = random.Random(name).randbytes(8000)

    async def claim(self) -> Any:
        """A task, timed."""
        began = time.perf_counter()
        answer = await self.send("POST", f"{BASE}/leases")
        self.seen.claims.append(1000 * (time.perf_counter() - began))
        given = expect(answer, 201).json()
        task = given["task"]["id"]
        if self.seen.holders.setdefault(task, self.name) != self.name:
            self.seen.doubled += 1
        return given

    async def look(self, given: Any) -> None:
        """The region's pixels and the pre-fill."""
        expect(await self.send("GET", given["task"]["image"]["png"]), 200)
        expect(await self.send("GET", given["task"]["prefill"]["url"]), 200)

    async def save(self, given: Any) -> None:
        """A draft."""
        path = f"{BASE}/leases/{given['lease']['id']}/draft"
        expect(await self.send("PUT", path, self._draft, {"If-None-Match": "*"}), 201)

    async def hand_in(self, given: Any) -> None:
        """A mask."""
        mask = np.zeros(given["task"]["shape"], np.uint8)
        mask[..., 5:30, 7:40] = 1
        body = json.dumps(submission(mask, lease=given["lease"]["id"])).encode()
        began = time.perf_counter()
        path = f"{BASE}/submissions/{uuid.uuid4()}"
        expect(await self.send("PUT", path, body, {"Content-Type": "application/json"}), 201)
        self.seen.submissions.append(1000 * (time.perf_counter() - began))


def expect(answer: Answer, status: int) -> Answer:
    """`answer`, which must have `status`."""
    if answer.status != status:
        raise SystemExit(f"expected {status}, got {answer.status}: {answer.body[:500]!r}")
    return answer


async def working(raters: list[Rater], load: Load) -> None:
    """Everybody works at a pace of their own."""
    end = time.perf_counter() + load.working_seconds

    async def work(rater: Rater) -> None:
        pace = random.Random(rater.name)

        def pause() -> Awaitable[None]:
            return asyncio.sleep(pace.expovariate(1 / load.pause))

        await pause()
        while time.perf_counter() < end:
            given = await rater.claim()
            await rater.look(given)
            await pause()
            await rater.save(given)
            await pause()
            await rater.hand_in(given)

    await asyncio.gather(*map(work, raters))


async def rush(raters: list[Rater], load: Load) -> None:
    """Everybody claims at once, then hands in one after the other."""
    for _ in range(load.rushes):
        given = await asyncio.gather(*(rater.claim() for rater in raters))
        for rater, one in zip(raters, given, strict=True):
            await rater.hand_in(one)


async def flat_out(raters: list[Rater], load: Load) -> None:
    """Nobody pauses."""
    end = time.perf_counter() + load.flat_seconds

    async def work(rater: Rater) -> None:
        while time.perf_counter() < end:
            await rater.hand_in(await rater.claim())

    await asyncio.gather(*map(work, raters))


Scenes = Mapping[str, Callable[[list[Rater], Load], Awaitable[None]]]


COLOUR: Scenes = {"working": working, "rush": rush, "flat out": flat_out}
GREY: Scenes = {"volumes": rush}


async def play(url: str, tokens: list[str], load: Load, scenes: Scenes) -> dict[str, Seen]:
    """Some scenes in turn, at one server."""
    holders: dict[str, str] = {}
    found = {}
    connections = [Connection(url, token) for token in tokens]
    for name, scene in scenes.items():
        seen = Seen(holders=holders)
        raters = [Rater(f"rater-{n:02d}", connection, seen) for n, connection in enumerate(connections)]
        for rater in raters:  # nobody measures how connections are made
            expect(await rater.send("GET", f"{BASE}/session"), 200)
        began = time.perf_counter()
        await scene(raters, load)
        seen.seconds = time.perf_counter() - began
        found[name] = seen
    for connection in connections:
        await connection.close()
    return found


@contextmanager
def ledgers(given: str | None) -> Iterator[dict[str, str]]:
    """The databases to measure: the one given, else SQLite, and PostgreSQL where it is installed."""
    if given is not None:
        yield {given.partition(":")[0]: given}
        return
    found = {"SQLite": "sqlite:///ledger.db"}
    try:
        with postgres_server() as server:
            yield found | {"PostgreSQL": server.empty("ledger")}
    except NotFound as error:
        print(f"without PostgreSQL: {error}", file=sys.stderr)
        yield found


def measure(name: str, ledger: str, load: Load, scenes: Scenes) -> list[dict[str, Any]]:
    """One row a scene, all at one server."""
    with tempfile.TemporaryDirectory() as temporary:
        path, tokens = prepare(Path(temporary), ledger, load)
        settings = config.load(path)
        server = LabelServer(path, settings.workdir_path)
        server.start()
        try:
            found = uvloop.run(play(server.url, tokens, load, scenes))
            assert server.process is not None
            memory = resident(server.process.pid)
        finally:
            server.stop()
        desk = compose.open_desk(settings)
        with desk.ledger:
            sound(desk, found, load)
        rows = []
        for scene, seen in found.items():
            p50, p95, p99 = np.percentile(seen.claims, (50, 95, 99))
            rows.append(
                {
                    "ledger": name,
                    "scene": scene,
                    "claims": len(seen.claims),
                    "claims_per_second": len(seen.claims) / seen.seconds,
                    "p50_ms": float(p50),
                    "p95_ms": float(p95),
                    "p99_ms": float(p99),
                    "max_ms": max(seen.claims),
                    "submission_p99_ms": float(np.percentile(seen.submissions, 99)),
                    "double_leases": seen.doubled,
                    "server_mebibytes": memory,
                }
            )
        return rows


def sound(desk: Any, found: dict[str, Seen], load: Load) -> None:
    """Every submission is there once, no place was taken twice, and the audit holds. Raises SystemExit."""
    handed_in = sum(len(seen.submissions) for seen in found.values())
    stored = desk.ledger.submissions("load")
    tasks = {one.task for one in stored}
    problems = verify(desk.ledger, desk.artifacts).problems
    over = [task.id for task in desk.ledger.tasks("load") if task.taken > task.replicas]
    if len(stored) != handed_in or len(tasks) != handed_in or over or problems:
        raise SystemExit(
            f"{handed_in} handed in, {len(stored)} stored on {len(tasks)} tasks; {over[:3]} {problems[:3]}"
        )


def resident(pid: int) -> float:
    """The memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


COLUMNS = {
    "ledger": "ledger",
    "scene": "scene",
    "claims": "claims",
    "claims_per_second": "claims/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "submission_p99_ms": "submission p99 ms",
    "double_leases": "double leases",
    "server_mebibytes": "server MiB",
}


def table(rows: list[dict[str, Any]]) -> str:
    """A pipe table."""
    lines = [list(COLUMNS.values()), ["---"] * 2 + ["---:"] * (len(COLUMNS) - 2)]
    for row in rows:
        lines.append([f"{row[key]:.1f}" if isinstance(row[key], float) else str(row[key]) for key in COLUMNS])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(rows: list[dict[str, Any]], load: Load, busy: tuple[float, float]) -> str:
    """docs/results/annotator.md."""
    held = [f"{row['ledger']}, {row['scene']}" for row in rows if row["p99_ms"] <= LIMIT_MS]
    missed = [f"{row['ledger']}, {row['scene']} ({row['p99_ms']:.0f} ms)" for row in rows if row["p99_ms"] > LIMIT_MS]
    verdict = f"Within {LIMIT_MS:.0f} ms at the 99th percentile: {'; '.join(held) or 'none'}."
    if missed:
        verdict += f" Above it: {'; '.join(missed)}."
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"""# The labelling server under load

`python -m benchmarks.annotator`: {load.raters} raters over HTTP at `alframe label serve`, {load.tasks:,} open tasks. The
times are of `POST /leases`, measured by the raters, whose process ran on the same machine ({machine};
load average {busy[0]:.1f} before and {busy[1]:.1f} after the run, which includes the run itself).

{table(rows)}

{verdict} No task was given to two raters, every submission was stored once, and the
audit's chain holds (checked at the end of each run).

- *working*: a rater claims, fetches the region and the pre-fill, saves a draft of 8 kB, and hands in a mask of {WINDOW}² pixels,
  with pauses of {load.pause:g} s on average before the draft and before the submission. People are ten times slower and more.
- *rush*: all {load.raters} raters claim at the same moment, {load.rushes} times.
- *flat out*: every rater claims and hands in without a pause; the server is never idle, and the time is that of the queue.
- *volumes*: two rushes at a server that has just been started, on {2 * load.raters} grey volumes of
  {"×".join(map(str, VOLUME))} voxels; each is handed out once.

Claims that arrive together are served by one transaction (see [the decision](../decisions/012-labelling-server.md)), so
that a rush costs one flush to the disk and not fifty.
"""


def main() -> None:
    """Measure, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 tasks, 10 raters, a few seconds")
    parser.add_argument("--ledger", help="measure this database only (it must be empty)")
    given = parser.parse_args()
    quick = Load(tasks=2000, raters=10, working_seconds=5, pause=0.2, rushes=10, flat_seconds=3)
    load = quick if given.quick else Load()
    # every volume is handed out once
    volumes = replace(load, tasks=2 * load.raters, volumes=2 * load.raters, rushes=2)
    rows: list[dict[str, Any]] = []
    before = os.getloadavg()[0]
    with ledgers(given.ledger) as databases:
        for name, url in databases.items():
            rows += measure(name, url, load, COLOUR)
        if given.ledger is None:
            rows += measure("SQLite", databases["SQLite"], volumes, GREY)
    print(table(rows))
    print(json.dumps({"benchmark": "annotator", "tasks": load.tasks, "raters": load.raters, "rows": rows}))
    if not given.quick and given.ledger is None:
        PAGE.write_text(page(rows, load, (before, os.getloadavg()[0])))
        print(f"wrote {PAGE.relative_to(PAGE.parents[2])}")


if __name__ == "__main__":
    main()
