"""What :mod:`benchmarks.painting` measured, as tables and as a page."""

from __future__ import annotations

import os
import platform
from typing import Any


def frames_table(result: dict[str, Any]) -> str:
    """Frame times by brush."""
    lines = [
        "| brush | on the screen | frames | frame to frame: p50, p95, most "
        "| scripts in a frame: p50, p95, most | a pointer event: p95, most |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in result["series"]:
        cells = [f"{one['size']} px", f"{one['size'] * one['zoom']:.0f} px", str(one["frames"])]
        for name, places in (
            ("between", ("p50", "p95", "max")),
            ("work", ("p50", "p95", "max")),
            ("events", ("p95", "max")),
        ):
            cells.append(" · ".join(f"{one[name][place]:.1f}" for place in places))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory_table(result: dict[str, Any]) -> str:
    """Memory by moment."""
    lines = ["| MiB | objects | buffers | whole process |", "| --- | ---: | ---: | ---: |"]
    for moment, used in result["memory_mebibytes"].items():
        lines.append(f"| {moment} | {used['objects']:.1f} | {used['buffers']:.1f} | {used['process']:.0f} |")
    return "\n".join(lines)


def page_of(result: dict[str, Any]) -> str:
    """The page of a full run, docs/results/painting.md."""
    machine = f"{os.cpu_count()} cores without a graphics card, {platform.machine()}, Chromium {result['chromium']}"
    side, strokes = result["side"], result["strokes"]
    late, frames = result["late_frames"], result["frames"]
    worst = max(one["work"]["p95"] for one in result["series"])
    spent, save = {name: result[name] for name in ("undo", "redo")}, result["autosave"]
    undo, redo = (f"p50 {one['p50']:.0f}, p95 {one['p95']:.0f} ms" for one in spent.values())
    return f"""# Painting on {side} × {side} pixels

`python -m benchmarks.painting`: the labelling page in headless Chromium on a region of {side} × {side} pixels with a
pre-fill, at `alframe label serve` on the loopback ({machine}). {strokes} strokes by pointer events at
{result["hertz"]} a second, with autosave going on. Milliseconds:

{frames_table(result)}

A screen that refreshes 60 times a second leaves 16.7 ms a frame. The page's own scripts (pointer events, painting, drawing)
need at most {worst:.1f} ms of that in 95 of 100 frames, with every brush. {late} of {frames} frames came later than 25 ms
after the one before: there the screen skipped a picture. The scripts alone explain few of them: Chromium draws without
a graphics card on the cores that also send the events and serve the page.

## Undo

{strokes} undos gave each of the {result["states"]} states of the labels again, by SHA-256, and {strokes} redos went through all of
them forth. From sending the key until Playwright is told of the next frame: undo {undo}; redo {redo}.

## Memory

After a collection, in MiB; the labels alone are {side * side / 2**20:.0f} MiB:

{memory_table(result)}

The process holds, besides, the layers as large as the screen, the overlay and what Chromium has not given back yet. The
{strokes} strokes are kept in {result["history_bytes"] / 1024:,.0f} KiB (the cap is 64 MiB; beyond it the oldest
strokes are forgotten).

## Autosave

From the end of a stroke until browser and server have it and the page says “Saved”: p50 {save["p50"] / 1000:.1f} s, most
{save["max"] / 1000:.1f} s, of which 1.2 s is the page waiting for more strokes. A draft is at most
{result["draft_bytes"] / 1024:,.0f} KiB. The task opened {result["opened_seconds"]:.1f} s after the link was followed.
"""
