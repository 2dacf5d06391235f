"""Monte Carlo scoring against the bare passes it is made of: ``python -m benchmarks.learners_scoring [--quick]``.

Bare passes: the same network, weights, threads and image, T forward passes with dropout on, nothing kept. Ours: the
predictor, that is the same passes and their moments (with votes), the part above the first dropout computed once. Both in
turn, in one process; ratios pair by pair. Peak memory in fresh processes with few and with many passes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from alframe.learners import DcanResNet, MCDropout, ModelCard, Network, UNet
from alframe.learners.checkpoints import load_model, save_model
from alframe.types import Compute

NETWORKS: dict[str, Network] = {
    "unet, dropout from level 0": UNet(features=(16, 32, 64, 128), dropout_from=0, norm="batch"),
    "unet, dropout from level 2": UNet(features=(16, 32, 64, 128), dropout_from=2, norm="batch"),
    "unet, dropout from level 3": UNet(features=(16, 32, 64, 128), dropout_from=3, norm="batch"),
    "dcan_resnet, dropout from stage 1": DcanResNet(width=0.25, stem_stride=2, norm="batch", dropout_from=1),
    "dcan_resnet, dropout from stage 2": DcanResNet(width=0.25, stem_stride=2, norm="batch", dropout_from=2),
    "dcan_resnet, dropout from stage 4": DcanResNet(width=0.25, stem_stride=2, norm="batch", dropout_from=4),
}
SHAPE = (3, 256, 384)


def checkpoint(network: Network) -> bytes:
    """Fresh weights of a two-class network with a contour head."""
    torch.manual_seed(0)
    card = ModelCard(network=network, spatial_dims=2, channels=3, classes=("a", "b"), contour=True, normalise="range")
    return save_model(card.build().state_dict(), card)


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds of a call: other programs on the machine do not count."""
    began = time.process_time()
    function()
    return time.process_time() - began


def compare(network: Network, passes: int, repeats: int) -> list[float]:
    """Seconds of the bare passes over ours, pair by pair."""
    weights = checkpoint(network)
    image = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    predictor = MCDropout(network=network, passes=passes).predictor([weights], Compute())
    module, _ = load_model(weights)
    for part in module.modules():
        part.training = isinstance(part, nn.Dropout)
    x = torch.from_numpy(image.astype(np.float32))[None] / 127.5 - 1

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(passes):
                module(x)

    def ours() -> None:
        predictor.predict(image, seed=1, votes=True)

    torch.set_num_threads(1)
    bare()
    ours()
    return [seconds(bare) / seconds(ours) for _ in range(repeats)]


def peak(passes: int) -> float:
    """Peak memory (MiB) of a fresh process that scores one image."""
    code = (
        "import resource, sys; from benchmarks.learners_scoring import *;"
        "network = NETWORKS['unet, dropout from level 2'];"
        f"predictor = MCDropout(network=network, passes={passes}).predictor([checkpoint(network)], Compute());"
        "predictor.predict(np.zeros((3, 512, 512), np.uint8), seed=1, votes=True, log=True);"
        "sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(run.stdout) / 1024


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer passes and repeats")
    given = parser.parse_args()
    passes, repeats = (6, 3) if given.quick else (30, 5)
    result: dict[str, float] = {}
    print(
        f"T = {passes}, image {SHAPE}, one thread, median of {repeats}: bare passes / ours (above 1 = ours is faster)"
    )
    for name, network in NETWORKS.items():
        ratios = compare(network, passes, repeats)
        result[name] = statistics.median(ratios)
        print(f"  {name:36s} {result[name]:.2f}  ({min(ratios):.2f} … {max(ratios):.2f})")
    low, high = peak(5), peak(10 if given.quick else 50)
    result |= {"peak_mib_5": low, "peak_mib_many": high}
    print(f"  peak memory: {low:.0f} MiB with 5 passes, {high:.0f} MiB with {10 if given.quick else 50}")
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


if __name__ == "__main__":
    main()
