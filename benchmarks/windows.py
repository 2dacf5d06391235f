"""P10: window scores at stride 1 – the fixed-point summed-area table against a k x k convolution, FFT and pooling.

Run ``python -m benchmarks.windows [--quick]``. Prints a table, and one line of JSON. Every method must agree with the
summed-area table before it is timed. Times are the best of several runs, on one thread each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from alframe.strategies.windows import greedy, window_grid, window_sums

Map = NDArray[np.float64]
SHAPE = (768, 512)


def with_table(values: Map, k: int) -> Map:
    """alframe's own: O(pixels), exact."""
    return window_sums(values, window_grid(values.shape, k, 1))


def with_convolution(values: Map, k: int) -> Map:
    """torch conv2d with a k x k kernel of ones, in float32, as it is usually written."""
    image = torch.from_numpy(values.astype(np.float32))[None, None]
    with torch.inference_mode():
        return torch.nn.functional.conv2d(image, torch.ones(1, 1, k, k))[0, 0].double().numpy()


def with_fft(values: Map, k: int) -> Map:
    """scipy's FFT convolution in float64."""
    return np.asarray(fftconvolve(values, np.ones((k, k)), mode="valid"))


def with_pooling(values: Map, k: int) -> Map:
    """torch average pooling in float32."""
    image = torch.from_numpy(values.astype(np.float32))[None, None]
    with torch.inference_mode():
        return torch.nn.functional.avg_pool2d(image, k, stride=1)[0, 0].double().numpy() * k * k


METHODS: dict[str, Callable[[Map, int], Map]] = {
    "table": with_table,
    "conv2d": with_convolution,
    "fft": with_fft,
    "avg_pool2d": with_pooling,
}


def best_seconds(call: Callable[[], object], runs: int) -> float:
    """The shortest of at least `runs` wall-clock times, and of as many as fit in a fifth of a second."""
    times: list[float] = []
    while len(times) < runs or sum(times) < 0.2:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(shape: tuple[int, int], k: int, runs: int) -> dict[str, float]:
    """Seconds of each method, and of the greedy choice of 20 windows after it."""
    values = np.random.default_rng(0).gamma(0.3, size=shape)
    expected = with_table(values, k)
    seconds = {}
    for name, method in METHODS.items():
        error = float(np.abs(method(values, k) - expected).max() / expected.max())
        if error > 1e-4:
            raise AssertionError(f"{name} disagrees with the table by {error:.3g} at k = {k}")
        seconds[name] = best_seconds(lambda method=method: method(values, k), runs)  # type: ignore[misc]
    grid = window_grid(shape, k, 1)
    seconds["greedy 20"] = best_seconds(lambda: greedy(expected, grid, count=20, max_overlap=0.0), runs)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the pixels, fewer sizes and runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    shape = (SHAPE[0] // 2, SHAPE[1] // 2) if quick else SHAPE
    sizes, runs = ((10, 50), 2) if quick else ((10, 25, 50, 150), 5)
    names = [*METHODS, "greedy 20"]
    print(f"{shape[0]} x {shape[1]} map, stride 1, milliseconds (times the table's)")
    print("   k " + "".join(f"{name:>20}" for name in names))
    result: dict[str, object] = {"benchmark": "P10", "shape": list(shape), "threads": 1}
    for k in sizes:
        seconds = measure(shape, k, runs)
        cells = [f"{seconds[name] * 1e3:10.2f} ({seconds[name] / seconds['table']:6.1f}x)" for name in names]
        print(f"{k:4d} " + "".join(f"{cell:>20}" for cell in cells))
        result[f"k{k}"] = {name: round(value * 1e3, 3) for name, value in seconds.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
