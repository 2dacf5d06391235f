"""Painting a region of 2048 × 2048 pixels in headless Chromium: frame times, undo of 200 strokes, memory, autosave.

Run ``python -m benchmarks.painting [--quick]``. It starts `alframe label serve` on generated histology, signs in by an
invite and paints with the mouse: Playwright sends real pointer events, several to a frame, and does not wait for one
before it sends the next, as a hand does not. Before the page's own scripts a probe goes in that times its pointer
handlers and animation callbacks, and the distance from one frame to the next. After each stroke the label buffer is
hashed; 200 undos must give every hash again on the way back, 200 redos on the way forth. The full run writes
docs/results/painting.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from alframe import compose, config
from alframe.labelling import NewTask, Roster
from alframe.testing.data import write_histology
from alframe.testing.label_servers import LabelServer
from alframe.testing.synthetic import histology
from alframe.types import Box
from benchmarks.annotator import resident
from benchmarks.painting_page import frames_table, memory_table, page_of

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, FloatRect, Page

PAGE = Path(__file__).parents[1] / "docs" / "results" / "painting.md"
SIZES = (4, 24, 100, 400)
HERTZ = 250
CAMPAIGN = """\
name: painting
workdir: work
data: {root: data, manifest: manifest.csv, classes: [background, gland], instances: true}
learner: {type: mc_dropout}
strategy: {type: uncertainty, measure: bald, window: 40, stride: 8}
initial: {queries: 2}
batch: 3
oracle: {type: human}
budget: {rounds: 2}
"""
PROBE = """
window.probe = { on: false, work: 0, frames: [], handlers: [] };
const timed = (run, note) => function (...given) {
  const began = performance.now();
  try { return run.apply(this, given); } finally {
    const took = performance.now() - began;
    probe.work += took;
    if (note && probe.on) probe.handlers.push(took);
  }
};
const listen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (name, run, options) {
  return listen.call(this, name, /^pointer/.test(name) && typeof run === "function" ? timed(run, true) : run, options);
};
const frame = requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => frame(timed(run, false));
window.watch = () => {
  Object.assign(probe, { on: true, work: 0, last: null });
  const step = (now) => {
    if (!probe.on) return;
    // queued first, so this runs before the page's callbacks: what they take is counted with the next frame
    if (probe.last !== null) probe.frames.push([now - probe.last, probe.work]);
    Object.assign(probe, { last: now, work: 0 });
    frame(step);
  };
  frame(step);
};
window.rest = () => {
  const { frames, handlers } = probe;
  Object.assign(probe, { on: false, frames: [], handlers: [] });
  return { frames, handlers };
};
"""
CATCH = """async () => {
  const { Editor } = await import("/static/core/editor.js"), { down } = Editor.prototype;
  Editor.prototype.down = function (...given) { window.editor = this; return down.apply(this, given); };
}"""
HASH = """async () => {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", editor.labels.data));
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}"""
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SAVED = """() => new Promise((done) => {
  const began = performance.now();
  const saved = () => document.querySelector(".saved").dataset.state === "saved";
  const look = () => (saved() ? done(performance.now() - began) : setTimeout(look, 4));
  look();
})"""


@dataclass
class Series:
    """Milliseconds of the frames while one brush painted: from frame to frame, the page's scripts within, each pointer event."""

    size: int
    zoom: float
    between: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)


def prepare(folder: Path, side: int) -> Path:
    """An ingested campaign with one image of `side` × `side` pixels and one task: all of it, with a pre-fill like a model's."""
    write_histology(folder / "data", count=16, size=48, seed=3)
    (sample,) = histology(1, size=side, seed=2)
    first = sorted((folder / "data" / "images").glob("*.png"))[0]
    Image.fromarray(np.moveaxis(sample.image, 0, -1)).save(first)
    objects = sample.labels.instances
    assert objects is not None
    Image.fromarray(objects.astype(np.uint16)).save(folder / "data" / "masks" / first.name)
    path = folder / "painting.yaml"
    path.write_text(CAMPAIGN)
    settings = config.load(path)
    compose.ingest(settings)
    soft = ndimage.gaussian_filter((sample.labels.classes == 1).astype(np.float32), 3)
    shown: dict[str, Any] = {
        "classes": (ndimage.shift(soft, (2, 3)) > 0.45).astype(np.uint8),
        "uncertainty": (1 - np.abs(2 * soft - 1)).astype(np.float16),
        "mean": np.stack([1 - soft, soft]).astype(np.float32),
    }
    desk = compose.open_desk(settings)
    with desk.ledger:
        ref = desk.artifacts.put_arrays("prefill", shown)
        box = Box(start=(0, 0), stop=(side, side))
        classes = ("background", "gland")
        task = NewTask(id="whole", campaign="painting", item=first.stem, box=box, classes=classes, prefill=ref)
        desk.ask([task])
    return path


async def stroke(page: Page, box: FloatRect, draw: random.Random, seconds: float) -> None:
    """A curved stroke over the middle of the stage: events at `HERTZ`, none awaited before the next is sent."""
    x, y = (draw.uniform(0.25, 0.75) for _ in range(2))
    turn, bend = draw.uniform(0, 2 * math.pi), draw.uniform(-2.5, 2.5)
    count = int(seconds * HERTZ)
    await page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    await page.mouse.down()
    sent, began = [], time.perf_counter()
    for number in range(1, count + 1):
        x = min(0.95, max(0.05, x + 0.35 / count * math.cos(turn)))
        y = min(0.95, max(0.05, y + 0.35 / count * math.sin(turn)))
        turn += bend / count
        sent.append(asyncio.ensure_future(page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])))
        await asyncio.sleep(max(0.0, began + number / HERTZ - time.perf_counter()))
    await asyncio.gather(*sent)
    await page.mouse.up()


async def memory(session: CDPSession, renderer: int) -> dict[str, float]:
    """MiB after a collection: scripts' objects, their buffers, the whole process that draws the page."""
    await session.send("HeapProfiler.collectGarbage")
    used = await session.send("Runtime.getHeapUsage")
    mebi = 2.0**20
    return {
        "objects": used["usedSize"] / mebi,
        "buffers": used.get("backingStorageSize", math.nan) / mebi,
        "process": resident(renderer),
    }


async def renderer_of(session: CDPSession) -> int:
    """The process that shows the page: of all that draw, the largest."""
    found = await session.send("SystemInfo.getProcessInfo")
    drawing = [int(one["id"]) for one in found["processInfo"] if one["type"] == "renderer"]
    return max(drawing, key=resident)


async def resized(page: Page, size: int) -> None:
    """Set the brush through the page's own slider."""
    await page.get_by_role("slider", name="Brush").evaluate(
        "(one, root) => { one.value = root; one.dispatchEvent(new Event('input')); }", math.sqrt(size)
    )
    await page.evaluate(SETTLED)
    said = await page.locator(".slider", has_text="Brush").locator("output").inner_text()
    if said != f"{size} px":
        raise SystemExit(f"expected a brush of {size} px, the page says {said}")


async def zoomed(page: Page) -> float:
    """Screen pixels an image pixel takes."""
    return float(await page.locator(".bench .stage").get_attribute("data-scale") or 0)


async def paint(page: Page, strokes: int, seconds: float) -> tuple[list[Series], list[str]]:
    """`strokes` strokes, a sixth with each brush, the last third enlarged. The hash before and after each."""
    box = await page.locator(".bench .stage").bounding_box()
    assert box is not None
    draw, plan = random.Random(4), [(size, 0) for size in SIZES] + [(24, 9), (100, 9)]
    series: list[Series] = []
    hashes: list[str] = []
    each = max(1, strokes // len(plan))
    for number, (size, wheel) in enumerate(plan):
        await resized(page, size)
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for _ in range(wheel if wheel and plan[number - 1][1] != wheel else 0):
            await page.mouse.wheel(0, -120)
        await page.evaluate(SETTLED)
        now = Series(size, await zoomed(page))
        if not hashes:
            await page.mouse.click(
                box["x"] + 2, box["y"] + 2
            )  # beside the image: makes the editor known, paints nothing
            hashes.append(await page.evaluate(HASH))
        last = strokes if number == len(plan) - 1 else each * (number + 1)
        while len(hashes) <= last:
            await page.keyboard.press("1u10"[len(hashes) % 4])
            await page.evaluate("watch()")
            await stroke(page, box, draw, seconds)
            found = await page.evaluate("rest()")
            now.between += [one for one, _ in found["frames"][1:]]
            now.work += [one for _, one in found["frames"][1:]]
            now.events += found["handlers"]
            after = await page.evaluate(HASH)
            if after != hashes[-1]:  # background over background is no stroke: there is nothing to undo
                hashes.append(after)
        series.append(now)
    return series, hashes


async def turned(page: Page, keys: str, expected: Sequence[str]) -> tuple[int, list[float]]:
    """Press `keys` until every hash was expected: how many were another, and the milliseconds to the next frame of each."""
    wrong, took = 0, []
    for wanted in expected:
        began = time.perf_counter()
        await page.keyboard.press(keys)
        await page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        took.append(1000 * (time.perf_counter() - began))
        wrong += await page.evaluate(HASH) != wanted
    return wrong, took


async def play(url: str, side: int, strokes: int, seconds: float) -> dict[str, Any]:
    """All that is measured, in one browser."""
    from playwright.async_api import async_playwright

    chromium = os.environ.get("ALFRAME_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        root = await browser.new_browser_cdp_session()
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        page = await context.new_page()
        await page.add_init_script(PROBE)
        sent: list[int] = []
        page.on("request", lambda one: sent.append(len(one.post_data_buffer or b"")) if _draft(one.url) else None)
        began = time.perf_counter()
        await page.goto(url)
        await page.wait_for_function("() => document.querySelector('.bench .stage')?.dataset.scale")
        opened = time.perf_counter() - began
        await page.evaluate(CATCH)
        session = await context.new_cdp_session(page)
        await page.evaluate(SETTLED)
        renderer = await renderer_of(root)
        kept = {"before": await memory(session, renderer)}
        series, hashes = await paint(page, strokes, seconds)
        kept["after the strokes"] = await memory(session, renderer)
        history = await page.evaluate("editor.history.bytes")
        wrong, undo = await turned(page, "Control+z", hashes[-2::-1])
        kept["after undo"] = await memory(session, renderer)
        forth, redo = await turned(page, "Control+y", hashes[1:])
        kept["after redo"] = await memory(session, renderer)
        saves = await autosaves(page, 2 if strokes < 100 else 10)
        version = browser.version
        await browser.close()
    if wrong or forth:
        raise SystemExit(f"{wrong} of {len(undo)} undos and {forth} of {len(redo)} redos gave other labels than before")
    return {
        "benchmark": "painting",
        "side": side,
        "strokes": strokes,
        "hertz": HERTZ,
        "chromium": version,
        "opened_seconds": opened,
        "series": [
            {
                "size": one.size,
                "zoom": one.zoom,
                "frames": len(one.between),
                **{name: spread(getattr(one, name)) for name in ("between", "work", "events")},
            }
            for one in series
        ],
        "late_frames": sum(one > 25 for each in series for one in each.between),
        "frames": sum(len(one.between) for one in series),
        "undo": spread(undo),
        "redo": spread(redo),
        "states": len(set(hashes)),
        "history_bytes": history,
        "memory_mebibytes": kept,
        "autosave": spread(saves),
        "drafts_sent": len(sent),
        "draft_bytes": max(sent),
    }


def _draft(url: str) -> bool:
    return url.endswith("/draft")


async def autosaves(page: Page, count: int) -> list[float]:
    """Milliseconds from the end of a stroke until the page says that browser and server both have it."""
    box = await page.locator(".bench .stage").bounding_box()
    assert box is not None
    draw, took = random.Random(5), []
    for _ in range(count):
        await page.evaluate(SAVED)
        await stroke(page, box, draw, 0.1)
        with suppress(TimeoutError):
            took.append(float(await page.evaluate(SAVED)))
    return took


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile, most."""
    return {
        "p50": float(np.percentile(values, 50)),
        "p95": float(np.percentile(values, 95)),
        "max": float(np.max(values)),
    }


def main() -> None:
    """Run, check, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="512 × 512 pixels and 12 strokes")
    given = parser.parse_args()
    side, strokes, seconds = (512, 12, 0.1) if given.quick else (2048, 200, 0.35)
    with tempfile.TemporaryDirectory() as temporary:
        path = prepare(Path(temporary), side)
        settings = config.load(path)
        with compose.open_labelling(settings) as labelling:
            roster = Roster(labelling)
            roster.add("painter")
            invite = roster.invite("painter")
        server = LabelServer(path, settings.workdir_path)
        server.start()
        try:
            result = asyncio.run(play(f"{server.url}/#invite={invite}", side, strokes, seconds))
        finally:
            server.kill()
    print(frames_table(result), memory_table(result), sep="\n\n")
    print(json.dumps(result))
    if not given.quick:
        PAGE.write_text(page_of(result))
        print(f"wrote {PAGE.relative_to(PAGE.parents[2])}")


if __name__ == "__main__":
    main()
