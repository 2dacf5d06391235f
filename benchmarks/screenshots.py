"""The pictures of the labelling page in docs/images: labelling, keys, review, campaign; each light and dark.

Run ``python -m benchmarks.screenshots [--quick]``. A real campaign on generated histology (the demo's network, three
simulated raters with habits of their own, a reviewer) is run into its fifth round, served, and looked at by a
browser in which real pointer strokes correct a suggestion. `--quick` trains and draws less and leaves docs/images as it is.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from alframe import compose, config
from alframe.config import Config
from alframe.labelling import Assignment, LabellingDesk, Roster, Scope, TaskState, Work
from alframe.ports import Pool
from alframe.seeding import generator
from alframe.testing.data import write_histology
from alframe.testing.desks import ScriptedRater, enrolled, work_of
from alframe.testing.label_servers import LabelServer
from alframe.testing.raters import Habits, redraw

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).parents[1] / "docs" / "images"
VIEWS = ("label", "keys", "review", "campaign")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PEOPLE = {
    "Dr. Chen": Habits(shift=0.5, wobble=1.5),
    "Dr. Osei": Habits(shift=-1.5, wobble=2.0, miss=0.06),
    "Dr. Weber": Habits(shift=2.5, wobble=2.5, split=0.05),
}
LATE = "Dr. Weber"
BRUSH = 7
MOST_BYTES = 250 * 1024


def prepare(folder: Path, quick: bool) -> Path:
    """An ingested campaign: regions of generated histology, three raters each."""
    write_histology(folder / "data", count=36, size=384, seed=11)
    said = {
        "name": "glands",
        "seed": 3,
        "workdir": "work",
        "data": {"root": "data", "manifest": "manifest.csv", "classes": ["background", "gland"], "instances": True},
        "learner": {
            "type": "mc_dropout",
            "warm_start": True,
            "passes": 6,
            "network": {"type": "dcan_resnet", "width": 0.25, "stem_stride": 2, "norm": "batch", "dropout": 0.1},
            "training": {"steps": 20 if quick else 60, "batch_size": 8, "patch": [96, 96], "learning_rate": 0.003},
        },
        "strategy": {"type": "uncertainty", "measure": "bald", "window": 192, "stride": 24},
        "initial": {"queries": 1, "strategy": {"type": "random", "window": 192, "stride": 24}},
        "batch": 6,
        "oracle": {"type": "human", "replicas": 3, "blind_share": 0.1, "adjudicate_above": 0.15},
        "budget": {"rounds": 6},
        "runtime": {"threads": 1, "device": "cpu"},
    }
    path = folder / "glands.yaml"
    path.write_text(yaml.safe_dump(said))
    compose.ingest(config.load(path))
    return path


def drawer(pool: Pool, name: str) -> Callable[[Assignment], Work]:
    """Draws the truth as `name` sees it, in a minute or so."""

    def draw(given: Assignment) -> Work:
        item = given.task.item
        seen = redraw(pool.truth(item), PEOPLE[name], name, item).crop(given.task.box)
        seconds = generator("pace", name, given.task.id).uniform(35, 95)
        return work_of(seen, active_ms=int(1000 * seconds))

    return draw


def decide(desk: LabellingDesk, pool: Pool, campaign: str) -> None:
    """The reviewer settles what is disputed."""
    (chief,) = enrolled(desk, "Prof. Rossi", scopes=(Scope.ANNOTATE, Scope.REVIEW, Scope.ADMIN))
    for task in desk.ledger.tasks(campaign, state=TaskState.DISPUTED):
        truth = pool.truth(task.item).crop(task.box)
        desk.adjudicate(chief, task.id, work_of(truth, id=str(uuid.uuid4()), active_ms=42_000))


def rounds(settings: Config, finished: int) -> None:
    """Run `finished` rounds to their end, and the next until a part of it is labelled."""
    desk, pool = compose.open_desk(settings), compose.open_pool(settings)
    with desk.ledger:
        credentials = enrolled(desk, *PEOPLE)
        raters = [ScriptedRater(desk, who, drawer(pool, who.rater)) for who in credentials]
        for number in range(finished + 1):
            with compose.open_campaign(settings) as campaign:
                campaign.run()
            for rater in raters:
                # in the last round one of them has only begun: half of the tasks have all their labels
                begun = number == finished and rater.who.rater == LATE
                rater.work(settings.name, 3 if begun else 10_000)
                if begun:
                    stop_at_a_suggestion(rater, settings.name)
            if number < finished:
                decide(desk, pool, settings.name)


def stop_at_a_suggestion(rater: ScriptedRater, campaign: str) -> None:
    """Label on until the task in hand shows what the model suggests; which tasks are blind depends on what was asked for."""
    while (given := rater.desk.claim(rater.who, campaign)) is not None and rater.desk.prefill(given.task) is None:
        rater.turn(campaign)
    if given is None:
        raise SystemExit(
            f"expected a task with a suggestion for {rater.who.rater}, got none: all that is left is blind"
        )


def fault(shown: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, NDArray[np.bool_]]:
    """The largest piece where the suggestion is wrong, and the class that it should have."""
    found = []
    for value in (1, 0):
        parts, _ = ndimage.label(ndimage.binary_opening((truth == value) & (shown != value)))
        sizes = np.bincount(parts.ravel(), minlength=2)[1:]
        found.append((int(sizes.max()), value, parts == 1 + int(np.argmax(sizes))))
    size, value, where = max(found, key=lambda one: one[0])
    if not size:
        raise SystemExit("expected a suggestion with a fault, got one that is all true")
    return value, np.asarray(where)


def correct(page: Page, wrong: NDArray[np.bool_], size: int) -> None:
    """Paint over a wrong piece with the mouse, in lines a brush apart; the pointer rests on the last."""
    stage = page.locator(".bench .stage")
    box = stage.bounding_box()
    scale, x, y = stage.evaluate("s => [s.dataset.scale, s.dataset.x, s.dataset.y].map(Number)")
    assert box is not None
    inner = ndimage.binary_erosion(wrong, iterations=max(1, size // 2 - 1))
    inner = inner if inner.any() else wrong
    rows = np.flatnonzero(inner.any(axis=1))
    for row in rows[:: max(1, size // 2)]:
        columns = np.flatnonzero(inner[row])
        ends = [(box["x"] + x + scale * (at + 0.5), box["y"] + y + scale * (row + 0.5)) for at in columns[[0, -1]]]
        page.mouse.move(*ends[0])
        page.mouse.down()
        page.mouse.move(*ends[1], steps=6)
        page.mouse.up()


def thinner_brush(page: Page) -> int:
    """Take a brush of `BRUSH` pixels or less; its size, which the page shows a moment after the key."""
    shown = page.locator(".slider", has_text="Brush").locator("output")
    while (size := int((said := shown.inner_text()).split()[0])) > BRUSH:
        page.keyboard.press("[")
        page.wait_for_function("([output, old]) => output.innerText !== old", arg=[shown.element_handle(), said])
    return size


def labelling(page: Page, settings: Config) -> None:
    """A task with a suggestion, half corrected."""
    page.locator(".bench .stage").wait_for()
    page.wait_for_function("() => document.querySelector('.bench .stage').dataset.scale")
    desk, pool = compose.open_desk(settings), compose.open_pool(settings)
    with desk.ledger:
        (task,) = [
            task
            for task in desk.ledger.tasks(settings.name)
            if any(lease.state.value == "active" for lease in desk.ledger.leases(task.id, LATE))
        ]
        shown = desk.prefill(task)
        assert shown is not None
        truth = pool.truth(task.item).crop(task.box).classes
    size = thinner_brush(page)
    value, wrong = fault(shown["classes"], truth)
    page.keyboard.press(str(value))
    correct(page, wrong, size)
    page.locator(".saved[data-state=saved]").wait_for()
    page.wait_for_timeout(400)


def reviewing(page: Page, url: str) -> None:
    """A disputed task, side by side."""
    page.goto(f"{url}/#/review")
    page.locator(".task").first.wait_for()
    page.locator(".task").first.click()
    page.locator(".gallery .seen").first.wait_for()
    page.wait_for_timeout(800)


def campaign(page: Page, url: str) -> None:
    """Curves, people, what is asked now."""
    page.goto(f"{url}/#/admin")
    page.locator(".cards img").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.mouse.move(2, 400)


def keep(page: Page, name: str, folder: Path) -> None:
    """Write the picture, in as many colours as `MOST_BYTES` allow."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 192, 128, 96, 64):
        packed = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= MOST_BYTES:
            break
    (folder / f"{name}.png").write_bytes(packed.getvalue())
    print(f"{name}.png {packed.tell() / 1024:.0f} KiB, {colours} colours", flush=True)


def shoot(browser: Browser, settings: Config, url: str, folder: Path) -> None:
    """All views in both schemes."""
    desk = compose.open_desk(settings)
    with desk.ledger:
        roster = Roster(desk.ledger)
        for scheme in SCHEMES:
            links = [f"{url}/#invite={roster.invite(name)}" for name in (LATE, "Prof. Rossi")]
            for link, views in zip(links, (VIEWS[:2], VIEWS[2:]), strict=True):
                context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
                page = context.new_page()
                page.goto(link)
                page.locator("#who .rater").wait_for()
                for view in views:
                    if view == "label":
                        labelling(page, settings)
                    elif view == "keys":
                        page.keyboard.press("?")
                        page.locator("dialog h2").wait_for()
                    elif view == "review":
                        reviewing(page, url)
                    else:
                        campaign(page, url)
                    keep(page, f"page-{view}-{scheme}", folder)
                context.close()


def main() -> int:
    """Run the campaign, serve it, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, few steps, pictures thrown away")
    parser.add_argument("--folder", type=Path, help="a folder for the campaign, kept and used again")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("ALFRAME_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        path = folder / "glands.yaml"
        if not path.exists():
            rounds(config.load(prepare(folder, given.quick)), 1 if given.quick else 4)
        settings = config.load(path)
        server = LabelServer(path, settings.workdir_path)
        server.start()
        try:
            with sync_playwright() as playwright:
                options = ["--no-sandbox", "--disable-dev-shm-usage"]
                browser = playwright.chromium.launch(executable_path=chromium, args=options)
                shoot(browser, settings, server.url, Path(temporary) if given.quick else IMAGES)
                browser.close()
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
