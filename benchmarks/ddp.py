"""One member trained by two Ray Train workers: its validation loss against one worker's, a worker killed, a checkpoint without Ray.

Run ``python -m benchmarks.ddp [--quick]``. Generated histology; the same seeds on one worker and on two; without dropout, where
only rounding can differ, and with it, where each worker draws masks of its own. The full run writes docs/results/ddp.md; exit
code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from alframe.jobs import FitContext, FitJob
from alframe.learners import DeepEnsemble, MCDropout, Training, UNet
from alframe.learners.checkpoints import read_card
from alframe.ports import Checkpoint, Learner
from alframe.runtime import RayExecutor
from alframe.storage import FileSnapshots
from alframe.testing.contracts.learner import MemoryLabels
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.testing.synthetic import histology
from alframe.testing.teams import fit_telling, kill_once, without_ray
from alframe.types import Compute, Split

PAGE = Path(__file__).parents[1] / "docs" / "results" / "ddp.md"
TEAM, IMAGES, SIDE = 2, 30, 96
ROUNDING = 1e-3
"""How far a validation loss may be moved by the order of sums, relative, over the steps of one training."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A worker killed: whether a second team began, whether its checkpoint is a quiet team's."""

    rank: int
    teams: int
    same: bool


def dataset() -> MemoryPool:
    """Twenty training images and ten for validation."""
    items = [
        pool_item(sample.id, sample.image, {"one": sample.labels}, split=Split.TRAIN if n < 20 else Split.VALIDATION)
        for n, sample in enumerate(histology(IMAGES, size=SIDE, seed=11))
    ]
    return MemoryPool(items, classes=("background", "gland"))


def learners(steps: int) -> dict[str, Learner]:
    """The same network and training without dropout and with it."""
    network = UNet(features=(8, 16, 32), dropout_from=0)
    training = Training(steps=steps, batch_size=8, patch=(64, 64), validate_every=steps // 5, warmup_steps=10)
    return {
        "without dropout": DeepEnsemble(members=1, network=replace(network, dropout=0.0), training=training),
        "with dropout": MCDropout(network=network, training=training, passes=2),
    }


class Bench:
    """The data, the learners, and a folder. Each fit has a local cluster of its own, with room for two workers."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.pool = dataset()
        self.folder, self.learners = folder, learners(steps)

    def fit(self, learner: Learner, size: int, seeds: list[int], name: str, **more: Any) -> list[Checkpoint]:
        """One checkpoint a seed, each from `size` workers."""
        told = self.folder / name
        told.mkdir()
        training = self.pool.items(Split.TRAIN)
        context = FitContext(
            learner=learner,
            pool=self.pool,
            labels=MemoryLabels(maps={info.id: self.pool.truth(info.id) for info in training}),
            validation=tuple(info.id for info in self.pool.items(Split.VALIDATION)),
            compute=Compute(),
            **more,
        )
        jobs = [FitJob(member=0, restart=0, seed=seed, snapshot=f"{name}.{seed}") for seed in seeds]
        executor = RayExecutor(TEAM, member_workers=size)
        try:
            found = dict(executor.run("fit", fit_telling, (context, told), jobs, kind="fit"))
        finally:
            executor.close()
        return [found[position] for position in range(len(jobs))]

    def killed(self, rank: int, seed: int, quiet: Checkpoint) -> Trial:
        """Train with two workers, and kill one as soon as there is something to go on from."""
        name = f"killed{rank}"
        snapshots = FileSnapshots(self.folder / f"store-{name}")
        killer = kill_once(self.folder / name, rank, lambda: snapshots.at(f"{name}.{seed}").load() is not None)
        learner = self.learners["with dropout"]
        (checkpoint,) = self.fit(learner, TEAM, [seed], name, snapshots=snapshots, snapshot_seconds=0.0)
        killer.join()
        teams = len(list((self.folder / name).glob(f"fit-{rank}-*")))
        return Trial(rank=rank, teams=teams, same=checkpoint.weights == quiet.weights)


def compared(bench: Bench, seeds: list[int], kind: str) -> tuple[dict[str, Any], list[Checkpoint]]:
    """Validation losses of one and of two workers, seed by seed; and the checkpoints of the two."""
    began = time.monotonic()
    alone = bench.fit(bench.learners[kind], 1, seeds, f"{kind}-1")
    middle = time.monotonic()
    team = bench.fit(bench.learners[kind], TEAM, seeds, f"{kind}-{TEAM}")
    seconds = [middle - began, time.monotonic() - middle]
    one, two = (np.array([checkpoint.validation_loss for checkpoint in found]) for found in (alone, team))
    interval = stats.ttest_rel(two, one).confidence_interval(0.95)
    row = {
        "kind": kind,
        "one": one.tolist(),
        "two": two.tolist(),
        "noise": float(one.std(ddof=1)),
        "mean_difference": float((two - one).mean()),
        "interval": [float(interval.low), float(interval.high)],
        "largest_relative": float((np.abs(two - one) / one).max()),
        "seconds": seconds,
    }
    return row, team


def same_without_ray(bench: Bench, checkpoint: Checkpoint) -> bool:
    """Whether a process without Ray predicts what this one does, bit for bit."""
    image = bench.pool.image(bench.pool.items(Split.VALIDATION)[0].id)
    learner = DeepEnsemble(members=1, network=read_card(checkpoint.weights).network)
    predictor = learner.predictor([checkpoint.weights], Compute())
    here = predictor.predict(image, seed=1).moments.probability
    return bool(np.array_equal(without_ray(checkpoint.weights, image), here))


def verdicts(rows: list[dict[str, Any]], trials: list[Trial], free: bool) -> dict[str, bool]:
    """What the page claims, and whether it holds."""
    exact, noisy = rows
    return {
        f"Without dropout, two workers reach one worker's validation loss up to rounding "
        f"(at most {exact['largest_relative']:.1e} of it)": exact["largest_relative"] < ROUNDING,
        f"With dropout, the mean difference ({noisy['mean_difference']:+.4f}) is smaller than the noise "
        f"({noisy['noise']:.4f})": abs(noisy["mean_difference"]) < noisy["noise"],
        "A killed worker's team starts again from the last snapshot, and ends with the bits of an undisturbed team": all(
            trial.same and trial.teams == 2 for trial in trials
        ),
        "The checkpoint predicts the same, bit for bit, in a process where `import ray` fails": free,
    }


def tables(rows: list[dict[str, Any]], trials: list[Trial]) -> str:
    """Markdown: losses seed by seed, then the kills."""
    lines = ["| | seed | one worker | two workers | difference |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        for seed, (one, two) in enumerate(zip(row["one"], row["two"], strict=True), 1):
            lines.append(f"| {row['kind']} | {seed} | {one:.6f} | {two:.6f} | {two - one:+.6f} |")
    lines += ["", "| | noise (SD over seeds, one worker) | mean difference | 95 % interval |", "|---|---:|---:|---:|"]
    for row in rows:
        low, high = row["interval"]
        mean = row["mean_difference"]
        lines.append(f"| {row['kind']} | {row['noise']:.4f} | {mean:+.6f} | {low:+.6f} … {high:+.6f} |")
    lines += ["", "| killed with SIGKILL | teams started | checkpoint equals the quiet team's |", "|---|---:|---|"]
    lines += [f"| rank {trial.rank} | {trial.teams} | {'yes' if trial.same else '**no**'} |" for trial in trials]
    return "\n".join(lines)


def page(rows: list[dict[str, Any]], trials: list[Trial], held: dict[str, bool], steps: int) -> str:
    """The results page."""
    claims = "\n".join(f"- {claim}: {'yes' if holds else '**no**'}." for claim, holds in held.items())
    count = len(rows[0]["one"])
    extra = np.mean([(row["seconds"][1] - row["seconds"][0]) / count for row in rows])
    return f"""# A member on two workers

From `python -m benchmarks.ddp`, on {platform.machine()} with {os.cpu_count()} cores, gloo, one thread
a worker. Do not edit: run it again.

A U-Net on generated histology ({SIDE} × {SIDE}, 20 images to train and 10 to validate), {steps} steps, the whole batch of 8 on one
worker, or 4 patches on each of two that Ray Train starts (`ray.member_workers: 2`). Nothing else differs: both draw the same
patches for a seed, and the loss is that of the whole batch on both. The same run on one worker gives the same bits again, so
what is called noise is what another seed (other weights, other patches) changes.

{claims}

{tables(rows, trials)}

- The process was killed as soon as the first snapshot lay in the store (`runtime.snapshot_seconds: 0` here: one at every
  validation). Ray Train ends the other process; the executor counts an attempt and starts a new team.
- On this machine a member on two workers took {extra:.0f} s longer than on one: starting a team is slow (new processes that load
  torch), and two processes share what cores there are. It pays when a member's training is long, or its batch does not fit one GPU.
- NCCL, used where the workers have GPUs, was not measured here.
"""


def main() -> None:
    """Measure, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds and few steps; the page is not written")
    quick = parser.parse_args().quick
    steps, seeds = (20, [1, 2]) if quick else (100, list(range(1, 6)))
    with tempfile.TemporaryDirectory(prefix="alframe-ddp-") as name:
        bench = Bench(Path(name), steps)
        rows, last = [], []
        for kind in bench.learners:
            row, last = compared(bench, seeds, kind)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
        trials = [bench.killed(rank, seeds[0], last[0]) for rank in ((1,) if quick else range(TEAM))]
        held = verdicts(rows, trials, same_without_ray(bench, last[0]))
    print(tables(rows, trials))
    print(json.dumps({"benchmark": "ddp", "rows": rows, "held": held}))
    if not quick:
        PAGE.write_text(page(rows, trials, held, steps), encoding="utf-8")
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()
