"""An hour of raters at the labelling server while a campaign runs beside it: memory, the audit, and every label in the pool once.

Run ``python -m benchmarks.soak [--minutes 60] [--quick]``. `alframe label serve` and `alframe run --wait` are processes of their
own, on generated histology; rounds follow each other by themselves, as the labels come in. The raters draw the truth of the data,
at a bounded pace, and do all that people and networks do: look at pictures, save drafts, reload, give tasks back, skip, correct,
lose acknowledgements and send again. An administrator and Prometheus look in. The learner is the logistic regression of the
tests, so that the machine stays mostly idle. The full run writes docs/results/soak.md.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alframe import compose, config
from alframe.labelling import Roster, Scope, verify
from alframe.ports import Pool
from alframe.testing.annotating import submission
from alframe.testing.data import write_histology
from alframe.testing.http import Answer, Connection
from alframe.testing.label_servers import LabelServer
from alframe.testing.plugins import installed_plugins
from alframe.types import ArtifactRef, Box, Outcome, Phase
from benchmarks.annotator import resident

PAGE = Path(__file__).parents[1] / "docs" / "results" / "soak.md"
BASE = "/api/v1"
CAMPAIGN = """\
name: soak
seed: 5
workdir: work
data: {{root: data, manifest: manifest.csv, classes: [background, gland], instances: true}}
learner: {{type: pixels, passes: 2, steps: 15}}
strategy: {{type: uncertainty, measure: entropy, window: 32, stride: 16}}
initial: {{queries: 96, strategy: {{type: random, window: 32}}}}
batch: 96
oracle: {{type: human, repeat_share: 0.05, blind_share: 0.1}}
budget: {{rounds: 100000}}
evaluate: {{pool: false}}
runtime: {{device: cpu}}
ledger: {ledger}
"""
PLUGIN = {"alframe.learners": {"pixels": "alframe.testing.pixel_learner:PixelLearner"}}
CODE = "import sys; from alframe.cli import main; sys.exit(main())"
RATERS, PACE, SAMPLE_SECONDS, LOOK_SECONDS = 8, 0.3, 10.0, 30.0


@dataclass
class Tally:
    """What the raters did, and every submission that was acknowledged: its id and what was said."""

    done: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, str] = field(default_factory=dict)
    memory: list[tuple[float, float]] = field(default_factory=list)
    processor: list[tuple[float, float]] = field(default_factory=list)


class Rater:
    """Somebody who draws the truth and is as careless as people and networks are."""

    def __init__(self, name: str, connection: Connection, pool: Pool, tally: Tally) -> None:
        self.name, self.send, self.pool, self.tally = name, connection, pool, tally
        self.mood = random.Random(name)

    async def work(self, end: float) -> None:
        """Task after task until `end`; each takes `RATERS` × `PACE` seconds on average."""
        while time.monotonic() < end:
            answer = await self.send("POST", f"{BASE}/leases")
            if answer.status == 204:
                self.tally.done["found nothing open"] += 1
                await asyncio.sleep(2)
                continue
            await self.task(expect(answer, 201).json())

    async def task(self, given: Any) -> None:
        """One task."""
        task, path = given["task"], f"{BASE}/leases/{given['lease']['id']}"
        for url in (task["image"]["png"], task["context"]["url"], task["image"]["pixels"]):
            expect(await self.send("GET", url), 200)
        for shown in (task["prefill"], task["uncertainty"]):
            if shown is not None:
                expect(await self.send("GET", shown["url"]), 200)
        tag = given["draft"] and given["draft"]["tag"]
        for _ in range(self.mood.randint(1, 3)):
            await asyncio.sleep(self.mood.expovariate(2 / (RATERS * PACE)))
            headers = {"If-Match": f'"{tag}"'} if tag else {"If-None-Match": "*"}
            saved = await self.send("PUT", f"{path}/draft", self.mood.randbytes(4000), headers)
            tag = json.loads(saved.body)["tag"] if saved.status in (200, 201, 412) else expect(saved, 200)
            expect(await self.send("POST", f"{path}/heartbeat"), 200)
            self.tally.done["drafts saved"] += 1
        whim = self.mood.random()
        if whim < 0.03:
            expect(await self.send("DELETE", path), 204)
            self.tally.done["tasks given back"] += 1
        elif whim < 0.08:
            again = expect(await self.send("POST", f"{BASE}/leases"), 201).json()
            assert again["lease"]["id"] == given["lease"]["id"]
            assert again["draft"]["tag"] == tag
            self.tally.done["reloads"] += 1
            await self.hand_in(given)
        else:
            await self.hand_in(given)

    async def hand_in(self, given: Any) -> None:
        """A submission: sometimes a skip, sometimes sent twice, sometimes corrected at once."""
        task = given["task"]
        box = Box(start=tuple(task["box"]["start"]), stop=tuple(task["box"]["stop"]))
        drawn = self.pool.truth(task["item"]).crop(box).classes
        if self.mood.random() < 0.02 and not given["lease"]["repeat"]:
            body: dict[str, Any] = {"outcome": "skipped", "reason": "not sure", "lease": given["lease"]["id"]}
        else:
            body = submission(drawn, lease=given["lease"]["id"], active_ms=1000)
        name = await self.put(body)
        if self.mood.random() < 0.05:
            await self.put(body, name)
            self.tally.done["acknowledgements lost"] += 1
        if self.mood.random() < 0.03 and body["outcome"] != "skipped":
            changed = drawn.copy()
            changed[0, 0] = 1 - (changed[0, 0] == 1)
            await self.put(submission(changed, lease=given["lease"]["id"], supersedes=name))
            self.tally.done["corrections"] += 1

    async def put(self, body: dict[str, Any], name: str = "") -> str:
        """Send a submission, until it is acknowledged."""
        again, name = bool(name), name or str(uuid.uuid4())
        data = json.dumps(body).encode()
        answer = await self.send("PUT", f"{BASE}/submissions/{name}", data, {"Content-Type": "application/json"})
        expect(answer, 200 if again else 201)
        self.tally.acknowledged[name] = body["outcome"]
        self.tally.done["requests to submit"] += 1
        return name


def expect(answer: Answer, status: int) -> Answer:
    """`answer`, which must have `status`."""
    if answer.status != status:
        raise SystemExit(f"expected {status}, got {answer.status}: {answer.body[:500]!r}")
    return answer


async def watch(server: LabelServer, admin: Connection, tally: Tally, end: float) -> None:
    """The server's memory and processor time, and what those who look in are told."""
    assert server.process is not None
    began, looked = time.monotonic(), 0.0
    while time.monotonic() < end:
        now = time.monotonic()
        tally.memory.append((now - began, resident(server.process.pid)))
        tally.processor.append((now - began, _processor(server.process.pid)))
        if now - looked > LOOK_SECONDS:
            looked = now
            for path in (
                f"{BASE}/campaign",
                f"{BASE}/review/tasks?limit=100",
                f"{BASE}/progress",
                "/metrics",
                "/readyz",
            ):
                expect(await admin("GET", path), 200)
            tally.done["looks by an administrator"] += 1
        await asyncio.sleep(SAMPLE_SECONDS)


def _processor(pid: int) -> float:
    """Seconds of processor time that a process used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def play(server: LabelServer, tokens: dict[str, str], pool: Pool, seconds: float) -> Tally:
    """Everybody at work for `seconds`."""
    tally, end = Tally(), time.monotonic() + seconds
    raters = [
        Rater(name, Connection(server.url, token), pool, tally) for name, token in tokens.items() if name != "chief"
    ]
    admin = Connection(server.url, tokens["chief"])
    await asyncio.gather(watch(server, admin, tally, end), *(rater.work(end) for rater in raters))
    return tally


def prepare(folder: Path, ledger: str) -> tuple[Path, dict[str, str]]:
    """An ingested campaign, and the raters' tokens."""
    write_histology(folder / "data", count=2000, size=96, seed=2)
    path = folder / "soak.yaml"
    path.write_text(CAMPAIGN.format(ledger=ledger))
    settings = config.load(path)
    compose.ingest(settings)
    with compose.open_labelling(settings) as labelling:
        roster = Roster(labelling)
        for n in range(RATERS):
            roster.add(f"rater-{n}")
        roster.add("chief", Scope.ADMIN)
        return path, {one.name: roster.token(one.name) for one in roster.list()}


def check(path: Path, tally: Tally) -> dict[str, Any]:
    """The audit, and each acknowledged submission in the ledger once, each label of a committed round in the pool once.

    Raises SystemExit when something is missing or doubled.
    """
    settings = config.load(path)
    desk = compose.open_desk(settings)
    with desk.ledger, compose.open_ledger(settings) as ledger:
        found = verify(desk.ledger, desk.artifacts)
        stored = {one.id: one for one in desk.ledger.submissions("soak")}
        answers = ledger.answers("soak")
        rounds = ledger.rounds("soak")
        committed = {
            q.id for r in rounds if r.phase.order >= Phase.COMMITTED.order for q in ledger.queries("soak", r.index)
        }
    faults = list(found.problems)
    if stored.keys() != tally.acknowledged.keys():
        faults.append(f"{len(stored)} submissions stored, {len(tally.acknowledged)} acknowledged")
    faults += [
        f"query {query} has {count} answers" for query, count in Counter(a.query for a in answers).items() if count > 1
    ]

    def pixels(ref: ArtifactRef | None) -> str:
        """The hash of the classes alone: the campaign numbers the objects that raters painted."""
        return "" if ref is None else hashlib.sha256(desk.artifacts.get_arrays(ref)["classes"].tobytes()).hexdigest()

    in_pool = {(a.query, a.rater, pixels(a.mask)) for a in answers}
    said = {(s.task, s.rater, pixels(s.mask)) for s in stored.values()}
    faults += [f"the pool has {answer}, which nobody said" for answer in sorted(in_pool - said)]
    answered = {a.query for a in answers}
    faults += [f"query {query} is committed without an answer" for query in sorted(committed - answered)]
    labels = [s for s in stored.values() if s.counts and s.task in committed]
    faults += [f"submission {s.id} is not in the pool" for s in labels if s.task not in answered]
    late = sum((s.task, s.rater, pixels(s.mask)) not in in_pool for s in labels)
    if faults:
        raise SystemExit("\n".join(faults[:20]))
    return {
        "events": found.events,
        "submissions": len(stored),
        "masks": found.masks,
        "rounds": sum(r.phase is Phase.DONE for r in rounds),
        "answers_in_pool": len(answers),
        "counted_labels_of_committed_rounds": len(labels),
        "corrected_after_the_round": late,
        "skips": sum(s.outcome is Outcome.SKIPPED for s in stored.values()),
        "repeats": sum(bool(s.repeat) for s in stored.values()),
    }


def growth(memory: list[tuple[float, float]]) -> dict[str, float]:
    """MiB in the first and last sixth of the time, after a tenth to warm up, and the slope of a straight line in MiB an hour."""
    length = memory[-1][0]
    settled = np.array([one for one in memory if one[0] >= length / 10])
    part = (length - settled[0, 0]) / 6
    first = settled[settled[:, 0] <= settled[0, 0] + part, 1]
    last = settled[settled[:, 0] >= length - part, 1]
    slope = float(np.polyfit(settled[:, 0] / 3600, settled[:, 1], 1)[0])
    return {
        "at_start": memory[0][1],
        "first_sixth": float(np.median(first)),
        "last_sixth": float(np.median(last)),
        "most": float(settled[:, 1].max()),
        "per_hour": slope,
    }


def soak(folder: Path, ledger: str, minutes: float) -> dict[str, Any]:
    """All of it, in `folder`."""
    with installed_plugins(folder, "pixels", PLUGIN, {}):
        path, tokens = prepare(folder, ledger)
        settings = config.load(path)
        environment = {"PYTHONPATH": str(folder / "pixels"), "OMP_NUM_THREADS": "1"}
        server = LabelServer(path, settings.workdir_path, environment)
        server.start()
        with (folder / "driver.log").open("wb") as log:
            command = [sys.executable, "-c", CODE, "run", str(path), "--wait"]
            driver = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
            try:
                tally = asyncio.run(play(server, tokens, compose.open_pool(settings), 60 * minutes))
                if driver.poll() is not None:
                    raise SystemExit(f"the campaign ended early: {(folder / 'driver.log').read_text()[-2000:]}")
                driver.send_signal(signal.SIGTERM)
                driver.wait(120)
                ended = server.stop()
            finally:
                driver.kill()
                server.kill()
        found = check(path, tally)
    used = tally.processor[-1][1] - tally.processor[0][1]
    return {
        "benchmark": "soak",
        "minutes": minutes,
        "raters": RATERS,
        "server_exit_code": ended,
        "server_processor_share": used / (tally.processor[-1][0] - tally.processor[0][0]),
        "memory_mebibytes": growth(tally.memory),
        "done": dict(sorted(tally.done.items())),
        **found,
        "samples": [(round(at), round(size, 1)) for at, size in tally.memory],
    }


def table(result: dict[str, Any]) -> str:
    """A pipe table of what was counted."""
    rows: list[tuple[str, str]] = [(key, f"{value:,}") for key, value in result["done"].items()]
    names = (
        "submissions",
        "skips",
        "repeats",
        "corrected_after_the_round",
        "rounds",
        "answers_in_pool",
        "masks",
        "events",
    )
    rows += [(name.replace("_", " "), f"{result[name]:,}") for name in names]
    return "\n".join(["| what | count |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)])


def by_minutes(samples: list[tuple[float, float]], minutes: float) -> str:
    """The greatest memory in each twelfth of the time."""
    step = 60 * minutes / 12
    parts = [[size for at, size in samples if k * step <= at < (k + 1) * step] for k in range(12)]
    head = " | ".join(f"{(k + 1) * step / 60:.0f}" for k in range(12))
    sizes = " | ".join(f"{max(part):.0f}" if part else "–" for part in parts)
    return f"| minutes | {head} |\n|{' --- |' * 13}\n| MiB | {sizes} |"


def page(result: dict[str, Any]) -> str:
    """docs/results/soak.md."""
    memory = result["memory_mebibytes"]
    change = 100 * (memory["last_sixth"] / memory["first_sixth"] - 1)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, other work on it"
    share, code = 100 * result["server_processor_share"], result["server_exit_code"]
    first, last, slope = memory["first_sixth"], memory["last_sixth"], memory["per_hour"]
    return f"""# An hour of labelling

`python -m benchmarks.soak --minutes {result["minutes"]:g}`: {RATERS} simulated raters over HTTP at `alframe label serve`, a task
every {PACE:g} s or slower in all, while `alframe run --wait` goes from round to round by itself ({machine}).
The raters save drafts, reload, give tasks back, skip, correct, and send again what they believe lost; an administrator looks in
twice a minute.

{table(result)}

Every acknowledged submission is in the ledger once and no other is; every query of a committed round has one answer in the
pool, and each is a mask that its rater handed in; the audit's chain holds from the first event to the last. A correction that
arrives after its round was committed is kept but does not change the pool; the table counts them.

The server used {share:.0f} % of one core, and ended with exit code {code} when it was told to. Its memory, at most, in MiB:

{by_minutes(result["samples"], result["minutes"])}

After the first tenth of the time, the median of the last sixth is {change:+.1f} % of that of the first sixth ({first:.0f} and
{last:.0f} MiB); a straight line through all samples rises by {slope:+.1f} MiB an hour.
"""


def main() -> None:
    """Run, check, print, and write the page after a run of an hour."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--ledger", default="sqlite:///ledger.db", help="the database (it must be empty)")
    given = parser.parse_args()
    minutes = 0.5 if given.quick else given.minutes
    with tempfile.TemporaryDirectory() as temporary:
        result = soak(Path(temporary), given.ledger, minutes)
    print(table(result))
    print(json.dumps(result))
    if minutes >= 60:
        PAGE.write_text(page(result))
        print(f"wrote {PAGE.relative_to(PAGE.parents[2])}")


if __name__ == "__main__":
    main()
