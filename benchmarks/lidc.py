"""Learners for several raters on LIDC, from one command: train every row, measure it, write docs/results/lidc.md.

``python -m benchmarks.lidc`` reads the crops below ``ALFRAME_DATA/lidc``. Every training and every row of numbers is a file below
``--folder``: what is there is not done again, so that a killed run goes on and several may share the work by rows or seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load

from alframe.errors import NonFiniteError
from alframe.ports import FitTask, Labels, Learner, Pool
from alframe.seeding import derive
from alframe.types import Compute, Split
from benchmarks.lidc_codes import SEED as CODES_SEED
from benchmarks.lidc_codes import compare
from benchmarks.lidc_data import all_raters, pool_of
from benchmarks.lidc_measures import measure
from benchmarks.lidc_page import write_page
from benchmarks.lidc_rows import FULL, QUICK, RATES, Row, rows

ROOT = Path(__file__).parents[1]
COMPUTE = Compute(threads=1)


def trained(row: Row, seed: int, pool: Pool, labels: Labels, folder: Path) -> list[bytes]:
    """The checkpoints of a row, trained where they are missing."""
    found = []
    for member in range(row.learner.members):
        path = folder / "trained" / f"{row.trained}-{seed}-{member}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(path, _fit(row.learner, member, seed, pool, labels, path.with_suffix(".json")))
        found.append(path.read_bytes())
    return found


def _fit(learner: Learner, member: int, seed: int, pool: Pool, labels: Labels, note: Path) -> bytes:
    wall, cpu = time.perf_counter(), time.process_time()
    task = FitTask(
        pool=pool,
        labels=labels,
        validation=tuple(info.id for info in pool.items(Split.VALIDATION)),
        member=member,
        restart=0,
        seed=derive(seed, "member", member),
        compute=COMPUTE,
    )
    checkpoint = learner.fit(task)
    history = [(int(row["step"]), row["train_loss"], row["val_loss"]) for row in checkpoint.history]
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    _save(note, json.dumps({"seconds": seconds, "history": history}).encode())
    print(f"  {note.stem}: {seconds['cpu']:.0f} s of CPU, validation {checkpoint.validation_loss:.4f}", flush=True)
    return checkpoint.weights


def _save(path: Path, data: bytes) -> None:
    """All or nothing: runs that share the work may look at any time."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def run(name: str, row: Row, seed: int, pool: Pool, labels: Labels, folder: Path, items: int | None) -> None:
    """Train and measure one row with one seed, unless its numbers are there."""
    path = folder / "rows" / f"{name}-{seed}.json"
    if path.exists():
        return
    checkpoints = trained(row, seed, pool, labels, folder)
    predictor = row.learner.predictor(checkpoints, COMPUTE)
    numbers = dict(measure(predictor, pool, seed=seed, items=items))
    numbers["parameters"] = sum(sum(t.numel() for t in load(one).values()) for one in checkpoints)
    notes = [folder / "trained" / f"{row.trained}-{seed}-{m}.json" for m in range(row.learner.members)]
    numbers["train_cpu"] = sum(json.loads(note.read_text())["seconds"]["cpu"] for note in notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(path, json.dumps(numbers, indent=1).encode())
    shown = ("dice", "ged2", "ncc", "nll", "ece", "image_pearson", "pixel", "ms")
    print(f"{name}, seed {seed}: " + ", ".join(f"{key} {numbers[key]:.3f}" for key in shown), flush=True)


def rates(pool: Pool, labels: Labels, folder: Path, names: Sequence[str]) -> None:
    """The validation loss of the first network of each training (seed 0) at each rate, where it is missing; prints the best."""
    for trained in names:
        losses = {}
        for rate in RATES:
            path = folder / "rates" / f"{trained}-{rate:g}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                learner = next(row.learner for row in rows(FULL, rate).values() if row.trained == trained)
                try:
                    _fit(learner, 0, 0, pool, labels, path)
                except NonFiniteError as error:
                    _save(path, json.dumps({"history": [], "error": str(error)}).encode())
            history = json.loads(path.read_text())["history"]
            losses[rate] = min((loss for _, _, loss in history if loss is not None), default=float("inf"))
        print(f'    "{trained}": {min(RATES, key=losses.__getitem__):g},  # {losses}', flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is missing, and write the page when it is for all to see."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "lidc")
    parser.add_argument("--rows", nargs="+", help="some rows only (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} steps and 12 test images: does it run at all?")
    parser.add_argument("--rates", action="store_true", help="compare the learning rates, nothing else")
    parser.add_argument(
        "--page", action="store_true", help="write the page from the numbers that are there, train nothing"
    )
    given = parser.parse_args(arguments)
    folder = given.folder.resolve() / ("quick" if given.quick else "full")
    torch.set_num_threads(1)
    if given.rates:
        pool = pool_of(given.folder.resolve())
        every = dict.fromkeys(row.trained for row in rows(FULL, RATES[0]).values())
        rates(pool, all_raters(pool), folder, given.rows or list(every))
        return
    table: Mapping[str, Row] = rows(QUICK if given.quick else FULL)
    if not given.page:
        pool = pool_of(given.folder.resolve())
        labels = all_raters(pool)
        if not given.quick:
            compare(
                pool,
                lambda row: row.learner.predictor(trained(row, CODES_SEED, pool, labels, folder), COMPUTE),
                folder / "codes.json",
            )
        for seed in given.seeds:
            for name in given.rows or table:
                run(name, table[name], seed, pool, labels, folder, 12 if given.quick else None)
    target = folder / "lidc.md" if given.quick else ROOT / "docs" / "results" / "lidc.md"
    write_page(target, table, folder / "rows", given.seeds)


if __name__ == "__main__":
    main()
