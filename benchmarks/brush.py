"""Label Studio's brush code: ours against that of its SDK, on masks of smooth blobs.

Run ``python -m benchmarks.brush [--quick]``; `make label-studio` installs the SDK. Prints a table and one line of JSON; the full
run writes docs/results/label-studio.md. Times are the best of several: what another process takes away is not the codec's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import ndimage

from alframe.errors import NotFound
from alframe.oracles.label_studio.brush import decode, encode
from alframe.testing.label_studio import sdk_brush

PAGE = Path(__file__).parents[1] / "docs" / "results" / "label-studio.md"
CASES = [(512, 20.0), (512, 4.0), (2048, 80.0), (2048, 20.0), (2048, 5.0)]
HEAD = """# Label Studio: the brush code

Run

    make label-studio
    python -m benchmarks.brush

Label Studio stores a painted mask as run lengths in a stream of bits. Its SDK (2.1.2) reads and writes them with Python strings.
Ours finds where each run begins with shifts of whole numbers, and does all else at once for all runs. The bytes it writes
equal the SDK's, which a property test checks on random masks; so does reading, on any code that the format allows.

The masks are smoothed noise, cut at zero: `sigma` is the width of the smoothing, so that a small one means many small objects.
Best of {repeats} times. {machine}.

| side | sigma | code | write, SDK | write, alframe | ratio | read, SDK | read, alframe | ratio |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def sdk() -> ModuleType:
    """The SDK's codec, without the rest of it. Raises NotFound."""
    found = importlib.util.spec_from_file_location("sdk_brush", sdk_brush())
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest call."""
    return min(timeit.repeat(work, number=1, repeat=repeats))


def measure(side: int, sigma: float, theirs: ModuleType, repeats: int) -> dict[str, float]:
    """Seconds of both codecs on one mask; what they say is compared, too."""
    mask = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), sigma) > 0
    grey = (255 * mask).astype(np.uint8)
    code = encode(mask)
    if code != theirs.mask2rle(grey) or not np.array_equal(decode(code, mask.shape), mask):
        raise AssertionError(f"the codecs differ on a mask of {side} pixels")
    return {
        "side": side,
        "sigma": sigma,
        "bytes": len(code),
        "write_sdk": best(lambda: theirs.mask2rle(grey), repeats),
        "write": best(lambda: encode(mask), 3 * repeats),
        "read_sdk": best(lambda: theirs.decode_rle(code), repeats),
        "read": best(lambda: decode(code, mask.shape), 3 * repeats),
    }


def line(row: dict[str, float]) -> str:
    """A line of the table."""
    cells = [f"{row['side']:.0f}", f"{row['sigma']:g}", f"{row['bytes'] / 1024:.0f} KiB"]
    for verb in ("write", "read"):
        slow, fast = row[f"{verb}_sdk"], row[verb]
        cells += [f"{1000 * slow:.1f} ms", f"{1000 * fast:.1f} ms", f"{slow / fast:.0f}×"]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small masks only")
    options = parser.parse_args()
    try:
        theirs = sdk()
    except NotFound as error:
        print(f"nothing to compare with: {error}")
        return 0
    repeats = 3 if options.quick else 7
    machine = (
        f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    page = HEAD.format(repeats=repeats, machine=machine)
    print(page.splitlines()[-2])
    rows = []
    for side, sigma in CASES[: 2 if options.quick else None]:
        rows.append(measure(side, sigma, theirs, repeats))
        print(line(rows[-1]), flush=True)
    if not options.quick:
        PAGE.write_text(page + "\n".join(map(line, rows)) + "\n", encoding="utf-8")
    ratios = [row[f"{verb}_sdk"] / row[verb] for row in rows for verb in ("write", "read")]
    print(json.dumps({"benchmark": "brush", "least_ratio": round(min(ratios), 1), "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
