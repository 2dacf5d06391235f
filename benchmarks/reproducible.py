"""What the same bits cost on a GPU: ``python -m benchmarks.reproducible [--quick]`` (needs a CUDA GPU).

Trainings of one seed, in turn with and without the kernels that add in a fixed order; the median ratio of their times, pair by
pair, and whether two trainings gave the same weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from alframe.learners import DcanResNet, MCDropout, Training, UNet, training
from alframe.ports import FitTask
from alframe.testing.contracts.learner import blob_pool, fit_task
from alframe.types import Compute

LEARNERS = {
    "unet, 2-D, 256²": (2, 256, MCDropout(network=UNet(features=(32, 64, 128, 256)), training=Training(batch_size=8))),
    "dcan_resnet, 2-D, 256²": (2, 256, MCDropout(network=DcanResNet(width=0.5), training=Training(batch_size=8))),
    "unet, 3-D, 48³": (3, 48, MCDropout(network=UNet(features=(16, 32, 64)), training=Training(batch_size=2))),
}


@contextmanager
def free(device: torch.device) -> Iterator[None]:
    """In place of what is measured: whatever kernel is the fastest."""
    yield


def fit(learner: MCDropout, task: FitTask, guard: object) -> tuple[float, bytes]:
    """Seconds and weights of one training."""
    kept = training.reproducible
    training.reproducible = guard  # type: ignore[assignment]
    try:
        torch.cuda.synchronize()
        began = time.perf_counter()
        weights = learner.fit(task).weights
        torch.cuda.synchronize()
        return time.perf_counter() - began, weights
    finally:
        training.reproducible = kept


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("needs a CUDA GPU")
    steps, repeats = (20, 2) if given.quick else (100, 5)
    result = {}
    for name, (axes, side, learner) in LEARNERS.items():
        sides = (side,) * axes
        one = replace(learner, training=replace(learner.training, steps=steps, validate_every=steps, patch=sides))
        task = replace(fit_task(blob_pool(axes, side=side + 8)), compute=Compute(device="cuda"))
        fit(one, task, free)  # warm
        pairs = [(fit(one, task, training.reproducible), fit(one, task, free)) for _ in range(repeats)]
        ratio = statistics.median(same[0] / other[0] for same, other in pairs)
        bits = [len({pair[k][1] for pair in pairs}) for k in (0, 1)]
        result[name] = {"time_ratio": ratio, "different_weights": bits[0], "different_weights_without": bits[1]}
        print(f"{name:26s} time {ratio:.2f}; {bits[0]} different weights in {repeats}, without {bits[1]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
