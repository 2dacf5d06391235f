"""A round over a pool of a million images: what the driver itself costs, in seconds and memory, on SQLite and PostgreSQL.

Run ``python -m benchmarks.scale [--quick] [--ledger URL]``. The loop, the ledger, the artifact store, selection, answers
and metrics are the real ones. Only what workers do is stood in for: pixels are never made, a training gives a fixed
checkpoint, and a part of the pool is scored by drawing one candidate window an item. Three rounds are driven; the last
one is reported. Each size runs in a process of its own. The full run writes docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe import seeding
from alframe.campaign import Budget, CampaignLoop, Parts, Settings, Silent
from alframe.errors import NotFound
from alframe.evaluation import EvaluateContext
from alframe.jobs import ExplainJob, FitContext, FitJob, ScoreContext
from alframe.metrics import EvaluationState, MetricSpec
from alframe.ports import Checkpoint, RunKind
from alframe.storage import FileArtifacts, SqlLedger
from alframe.strategies import Random, Uncertainty
from alframe.testing.pixel_learner import PixelLearner
from alframe.testing.postgres import postgres_server
from alframe.types import (
    Answer,
    ArtifactRef,
    Box,
    Candidates,
    Intensities,
    ItemInfo,
    LabelMap,
    Outcome,
    Phase,
    Query,
    Split,
)

PAGE = Path(__file__).parents[1] / "docs" / "results" / "scale.md"
SHAPE, WINDOW, CHANNELS = (768, 512), 75, 3
BATCH, PART, ROUNDS = 1000, 4096, 3
MEBIBYTE = 2**20
DRIVER = ("plan", "selected", "asked", "labelled", "committed", "calibrated")
WORKERS = ("trained", "scored")
BAR = ("plan", "selected", "committed")
LIMIT_SECONDS, LIMIT_BYTES = 10.0, 2**30


class VirtualPool:
    """Items that are nothing but their description; no pixel exists."""

    manifest_hash = "0" * 64
    classes = ("background", "gland")

    def __init__(self, count: int) -> None:
        held_out = {Split.VALIDATION: count // 100, Split.TEST: count // 100}
        names = ((f"slide-{n:07d}", Split.TRAIN) for n in range(count - sum(held_out.values())))
        others = ((f"{split.value}-{n:07d}", split) for split, size in held_out.items() for n in range(size))
        found = {name: _info(name, split) for name, split in (*names, *others)}
        self._infos = dict(sorted(found.items()))

    def items(self, split: Split | None = None) -> tuple[ItemInfo, ...]:
        """Items sorted by id."""
        return tuple(info for info in self._infos.values() if split is None or info.split is split)

    def info(self, item: str) -> ItemInfo:
        """One item."""
        return self._infos[item]

    def image(self, item: str, box: Box | None = None) -> NDArray[Any]:
        """There is none."""
        raise NotFound(f"item {item} of a virtual pool has no pixels")

    def intensities(self, item: str) -> tuple[Intensities, ...]:
        """There are none."""
        raise NotFound(f"item {item} of a virtual pool has no pixels")

    def truth(self, item: str, rater: str | None = None) -> LabelMap:
        """There is none."""
        raise NotFound(f"item {item} of a virtual pool has no truth")


def _info(name: str, split: Split) -> ItemInfo:
    return ItemInfo(
        id=name, shape=SHAPE, channels=CHANNELS, dtype="uint8", split=split, group=name, spacing=(1.0, 1.0), raters=()
    )


def _mask(*identity: str) -> NDArray[np.uint8]:
    """A disc somewhere in a window: pixels that compress as masks do."""
    y, x, radius = seeding.generator(*identity).integers(10, 60, 3)
    rows, columns = np.ogrid[:WINDOW, :WINDOW]
    return ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).astype(np.uint8)


def fit(context: FitContext, job: FitJob) -> Checkpoint:
    """In place of a training."""
    return Checkpoint(weights=job.seed.to_bytes(8, "big"), validation_loss=1.0, history=())


def score(context: ScoreContext, items: tuple[str, ...]) -> dict[str, ArtifactRef]:
    """In place of predictions: one window an item, with a random score and place on the grid."""
    rng = seeding.generator(context.seed, items[0])
    grid = [np.arange(0, side - WINDOW, WINDOW // 5, dtype=np.int32) for side in SHAPE]
    start = np.stack([rng.choice(axis, len(items)) for axis in grid], axis=1)
    table = Candidates(
        item=np.array(items),
        start=start,
        stop=start + np.int32(WINDOW),
        score=rng.gamma(0.5, size=len(items)),
        stratum=np.zeros(len(items), np.int8),
    )
    return {"candidates": context.artifacts.put_table("scores", table.columns())}


def explain(context: ScoreContext, job: ExplainJob) -> tuple[ArtifactRef, ...]:
    """In place of what raters are shown."""
    shown = []
    for box in job.boxes:
        classes = _mask("shown", job.item, str(box))
        sure = np.where(classes > 0, np.float32(0.8), np.float32(0.1))
        arrays = {"classes": classes, "uncertainty": sure.astype(np.float16), "mean": np.stack([1 - sure, sure])}
        shown.append(context.artifacts.put_arrays("prefill", arrays))
    return tuple(shown)


def evaluate(context: EvaluateContext, items: tuple[str, ...]) -> dict[str, ArtifactRef]:
    """In place of test and validation, which have no truth here."""
    return {"state": context.artifacts.put_arrays("metrics", EvaluationState.empty(context.spec).to_arrays())}


STAND_INS: dict[str, Callable[[Any, Any], Any]] = {
    "fit_member": fit,
    "score_range": score,
    "explain_boxes": explain,
    "evaluate_range": evaluate,
}


class VirtualWorkers:
    """An executor whose workers do the stand-ins."""

    workers = 1

    def run(
        self,
        name: str,
        function: Callable[[Any, Any], Any],
        context: Any,
        tasks: Sequence[Any],
        *,
        kind: RunKind = "score",
    ) -> Iterator[tuple[int, Any]]:
        """The stand-in of `function` for each task, in order."""
        for position, task in enumerate(tasks):
            yield position, STAND_INS[function.__name__](context, task)

    def own(self, factory: Callable[[], Any]) -> Any:
        """The object itself."""
        return factory()

    def close(self) -> None:
        """Nothing to release."""


class Rater:
    """Answers at once, with a disc in every window."""

    immediate = True

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Nothing to keep."""

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """A disc for each query."""
        return tuple(
            Answer(
                query=query.id,
                rater="disc",
                outcome=Outcome.LABELED,
                labels=LabelMap(classes=_mask("truth", query.id)),
                seconds=20.0,
            )
            for query in queries
        )


class Clock(Silent):
    """Processor time of each phase, by the moments at which phases ended."""

    def __init__(self) -> None:
        self.ended = time.process_time()
        self.cpu: dict[str, float] = {}

    def phase_finished(self, round: int, phase: Phase, seconds: float) -> None:
        """Note the time since the last end."""
        now = time.process_time()
        self.cpu[phase.value], self.ended = now - self.ended, now


def resident() -> int:
    """The largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(count: int, url: str, folder: Path) -> dict[str, Any]:
    """Drive three rounds over `count` items; seconds of the last one by phase, and the growth of memory."""
    before = resident()
    began = time.monotonic()
    pool = VirtualPool(count)
    opened, with_pool = time.monotonic() - began, resident()
    campaign = _campaign(pool, url, folder)
    for _ in range(ROUNDS - 1):
        campaign.step()
    clock = campaign.parts.observer
    assert isinstance(clock, Clock)
    clock.ended = cpu = time.process_time()
    began = time.monotonic()
    campaign.step()
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    spent = campaign.parts.ledger.seconds(campaign.name)
    phases = {phase.value: seconds for index, phase, seconds in spent if index == ROUNDS - 1}
    seconds = {name: phases[name] for name in (*WORKERS, *DRIVER[1:])}
    return {
        "items": count,
        "pool_seconds": opened,
        "pool_bytes": with_pool - before,
        "bytes": resident() - before,
        "driver_cpu": cpu - sum(clock.cpu[name] for name in WORKERS),
        "queries": len(campaign.parts.ledger.queries(campaign.name, ROUNDS - 1)),
        "seconds": {"plan": wall - sum(phases.values()), **seconds},
    }


def _campaign(pool: VirtualPool, url: str, folder: Path) -> CampaignLoop:
    ledger = SqlLedger(url)
    ledger.create("scale", config="", config_hash="", pool_hash=pool.manifest_hash)
    settings = Settings(
        name="scale",
        seed=1,
        batch=BATCH,
        initial=BATCH,
        initial_strategy=Random(),
        budget=Budget(rounds=10, fraction=0.5),
        evaluate_pool=False,
        part=PART,
        lease_seconds=600.0,
    )
    parts = Parts(
        pool=pool,
        ledger=ledger,
        artifacts=FileArtifacts(folder / "artifacts"),
        executor=VirtualWorkers(),
        learner=PixelLearner(),
        strategy=Uncertainty(measure="bald", window=WINDOW, stride=WINDOW // 5),
        oracle=Rater(),
        metrics=MetricSpec(classes=pool.classes),
        observer=Clock(),
    )
    return CampaignLoop(settings, parts)


def in_a_process(count: int, url: str, folder: Path) -> dict[str, Any]:
    """:func:`measure` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", str(count), "--ledger", url, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def ledgers(url: str | None, folder: Path) -> Iterator[dict[str, Callable[[int], str]]]:
    """For each engine, the address of a fresh ledger for a size of pool."""
    if url is not None:
        yield {url.partition(":")[0]: lambda _: url}
        return
    engines: dict[str, Callable[[int], str]] = {"sqlite": lambda count: f"sqlite:///{folder}/{count}.db"}
    try:
        with postgres_server(durable=True) as server:
            yield engines | {"postgresql": lambda count: server.empty(f"scale{count}")}
    except NotFound as error:
        print(f"PostgreSQL is left out: {error}", file=sys.stderr)
        yield engines


def driver_seconds(row: dict[str, Any]) -> float:
    """Seconds of a round without what workers do."""
    return sum(row["seconds"][name] for name in DRIVER)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line for each engine and size."""
    head = ["ledger", "items", *DRIVER, "driver", "its CPU", "per n log n", "RSS growth", "of which pool"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        seconds = row["seconds"]
        scaled = 1e9 * driver_seconds(row) / (row["items"] * math.log2(row["items"]))
        cells = [row["ledger"], f"{row['items']:,}", *(f"{seconds[name]:.2f} s" for name in DRIVER)]
        cells += [f"**{driver_seconds(row):.2f} s**", f"{row['driver_cpu']:.2f} s", f"{scaled:.0f} ns"]
        cells += [f"{row[name] / MEBIBYTE:.0f} MiB" for name in ("bytes", "pool_bytes")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(rows: list[dict[str, Any]]) -> str:
    """The results page."""
    largest = [row for row in rows if row["items"] == max(row["items"] for row in rows)]
    worst = max(sum(row["seconds"][name] for name in BAR) for row in largest)
    most = max(row["bytes"] for row in largest)
    met = worst <= LIMIT_SECONDS and most <= LIMIT_BYTES
    verdict = f"{'met' if met else '**not met**'} (at most {worst:.1f} s and {most / MEBIBYTE:.0f} MiB)"
    machine = f"{platform.machine()} with {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it ended"
    return f"""# A round over a million images

From `python -m benchmarks.scale`, on {machine}. Do not edit: run it again.

The driver's own part of a round with {BATCH:,} queries, the third of a campaign: everything but the training and scoring
that workers do. The bar for the largest pool, on each ledger, is {LIMIT_SECONDS:.0f} s to plan, select and commit, and
{LIMIT_BYTES // MEBIBYTE:,} MiB: {verdict}.

{table(rows)}

- `plan` asks the stop rules; `selected` reads the candidates of every item (one window each) from Parquet and chooses;
  `asked` stores what raters are shown; `labelled` makes {BATCH:,} masks durable (two fsyncs each) and writes their rows;
  `committed` seals them; `calibrated` measures the acquired windows and the cost.
- `driver` is wall-clock time, which fsyncs dominate for small pools; `its CPU` is processor time, which another load on the
  machine disturbs less.
- `per n log n` is the driver's time divided by n log₂ n. It falls until the pool outweighs the queries: nothing in a
  round grows faster than sorting the pool.
- Parts of {PART:,} items a job (`runtime.range`): each is one table and one transaction. The default of 16 suits images
  that take a second each; for a million items choose it so that there are some hundred parts.
- Memory is the growth of the largest resident size after imports, with the pool's description of every item.
"""


def main() -> None:
    """Measure, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10^3 and 10^4 items; the page is not written")
    parser.add_argument("--ledger", help="one ledger by URL (an empty one) and the largest size only")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.ledger, asked.folder)))
        return
    sizes = (1_000, 10_000) if asked.quick else (10_000, 100_000, 1_000_000)
    rows = []
    with tempfile.TemporaryDirectory(prefix="alframe-scale-") as name, ledgers(asked.ledger, Path(name)) as engines:
        for engine, address in engines.items():
            for count in sizes[-1:] if asked.ledger else sizes:
                folder = Path(name) / engine / str(count)
                folder.mkdir(parents=True)
                rows.append({"ledger": engine, **in_a_process(count, address(count), folder)})
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))
    print(json.dumps({"benchmark": "scale", "queries": BATCH, "rows": rows}))
    if not asked.quick and not asked.ledger:
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
