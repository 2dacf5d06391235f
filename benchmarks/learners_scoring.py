"""Monte Carlo scoring against the bare passes it is made of: ``python -m benchmarks.learners_scoring [--quick]``.

Bare passes: the same network, weights, threads and image, T forward passes with dropout on, nothing kept. Ours: the
predictor, that is the same passes and their moments (with votes), the part above the first dropout computed once. Both in
turn, in one process; ratios pair by pair. Peak memory in fresh processes with few and with many passes. With ``--device cuda``
on a GPU, in seconds of the clock, on four times the pixels; there what takes little time is launching kernels.
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
from alframe.learners.computing import mixed_precision
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


def seconds(function: Callable[[], object], compute: Compute) -> float:
    """Seconds of a call: of the CPU, since there other programs on the machine do not count; on a GPU of the clock."""
    if compute.device == "cpu":
        began = time.process_time()
        function()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def image_shape(compute: Compute) -> tuple[int, int, int]:
    """Channels, height and width: larger on a GPU, so that it has something to do."""
    scale = 1 if compute.device == "cpu" else 2
    return (SHAPE[0], scale * SHAPE[1], scale * SHAPE[2])


def compare(network: Network, passes: int, repeats: int, compute: Compute) -> tuple[list[float], float]:
    """Seconds of the bare passes over ours, pair by pair; and the median of ours in milliseconds."""
    weights = checkpoint(network)
    image = np.random.default_rng(0).integers(0, 256, image_shape(compute), dtype=np.uint8)
    predictor = MCDropout(network=network, passes=passes).predictor([weights], compute)
    module, _ = load_model(weights)
    module.to(compute.device)
    for part in module.modules():
        part.training = isinstance(part, nn.Dropout)
    x = torch.from_numpy(image.astype(np.float32)).to(compute.device)[None] / 127.5 - 1

    def bare() -> None:
        with torch.inference_mode(), mixed_precision(compute):
            for _ in range(passes):
                module(x)

    def ours() -> None:
        predictor.predict(image, seed=1, votes=True)

    torch.set_num_threads(1)
    bare()
    ours()
    pairs = [(seconds(bare, compute), seconds(ours, compute)) for _ in range(repeats)]
    return [theirs / mine for theirs, mine in pairs], 1000 * statistics.median(mine for _, mine in pairs)


def peak(passes: int, compute: Compute) -> float:
    """Peak memory (MiB) of a fresh process that scores one image; on a GPU of its tensors there."""
    used = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    if compute.device != "cpu":
        used = "torch.cuda.max_memory_allocated() // 1024"
    code = (
        "import resource, sys; from benchmarks.learners_scoring import *;"
        "network = NETWORKS['unet, dropout from level 2'];"
        f"predictor = MCDropout(network=network, passes={passes}).predictor([checkpoint(network)], {compute!r});"
        "predictor.predict(np.zeros((3, 512, 512), np.uint8), seed=1, votes=True, log=True);"
        f"sys.stdout.write(str({used}))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(run.stdout) / 1024


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer passes and repeats")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16, or on a GPU fp16")
    given = parser.parse_args()
    compute = Compute(device=given.device, precision=given.precision)
    passes, repeats = (6, 3) if given.quick else (30, 5)
    result: dict[str, float] = {}
    print(
        f"T = {passes}, image {image_shape(compute)}, {compute.device}, {compute.precision}, median of {repeats}: "
        "bare passes / ours (above 1 = ours is faster), and ours in ms"
    )
    for name, network in NETWORKS.items():
        ratios, ours = compare(network, passes, repeats, compute)
        result[name] = statistics.median(ratios)
        print(f"  {name:36s} {result[name]:.2f}  ({min(ratios):.2f} … {max(ratios):.2f})  {ours:.0f}")
    low, high = peak(5, compute), peak(10 if given.quick else 50, compute)
    result |= {"peak_mib_5": low, "peak_mib_many": high}
    print(f"  peak memory: {low:.0f} MiB with 5 passes, {high:.0f} MiB with {10 if given.quick else 50}")
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


if __name__ == "__main__":
    main()
