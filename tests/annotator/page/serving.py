"""A campaign served by `alframe label serve` in a process of its own, and raters who sit before a browser."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alframe import compose, config
from alframe.annotator.serving import address_of
from alframe.labelling import Credential, LabellingDesk, NewTask, Roster, Scope, Submission
from alframe.testing.annotating import tasks_of

from . import shapes

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

PATIENCE = 60.0


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What `found` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)
    return value


@dataclass
class Campaign:
    """A campaign's files, and the server that serves it."""

    yaml: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.settings = config.load(self.yaml)
        self.desk: LabellingDesk = compose.open_desk(self.settings)
        self.roster = Roster(self.desk.ledger)
        self.pool = compose.open_pool(self.settings)

    @property
    def name(self) -> str:
        """The campaign's."""
        return self.settings.name

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """The command line in a process of its own."""
        code = "import sys; from alframe.cli import main; sys.exit(main())"
        with (self.yaml.parent / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdout=output,
                stderr=output,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | self.environment | environment,
            )

    def serve(self, **environment: str) -> None:
        """Start the server, on the port that it had before if it had one."""
        self.process = self.spawn("label", "serve", str(self.yaml), "--port", str(self.port), **environment)
        process = self.process

        def listening() -> Any:
            assert process.poll() is None, (self.yaml.parent / "output.txt").read_text()
            there = address_of(self.settings.workdir_path)
            return there if there is not None and there.pid == process.pid else None

        self.url = until(listening, "serving").url
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def fallen(self) -> None:
        """Wait for the server to die by itself (a failpoint)."""
        assert self.process is not None
        assert self.process.wait(timeout=PATIENCE) == -signal.SIGKILL

    def stop(self) -> None:
        """End the server, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE)
        self.desk.ledger.close()

    def ask(self, prefix: str, *, count: int = 1, side: int = 40, **fields: Any) -> list[NewTask]:
        """Put up tasks."""
        tasks = tasks_of(self.pool, self.desk.artifacts, self.name, count=count, side=side, prefix=prefix, **fields)
        self.desk.ask(tasks)
        return tasks

    def rater(self, name: str, scopes: Sequence[Scope] = (Scope.ANNOTATE,)) -> Credential:
        """Somebody who may label."""
        self.roster.add(name, *scopes)
        return self.roster.authenticate(self.roster.token(name))

    def link(self, name: str, scopes: Sequence[Scope] = (Scope.ANNOTATE,)) -> str:
        """An invitation."""
        self.roster.add(name, *scopes)
        return f"{self.url}#invite={self.roster.invite(name)}"

    def submissions(self, task: str) -> tuple[Submission, ...]:
        """All that was handed in for a task."""
        return tuple(self.desk.ledger.submissions(self.name, tasks=[task]))

    def mask(self, submission: Submission) -> NDArray[np.uint8]:
        """What was drawn."""
        labels = self.desk.labels(submission)
        assert labels is not None
        return labels.classes

    def overdue(self, rater: str) -> None:
        """Let the time of a rater's lease run out: the clock goes on for that lease alone."""
        file = self.settings.ledger_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            changed = connection.execute(
                "UPDATE leases SET until = until - 100000 WHERE rater = ? AND state = 'active'", (rater,)
            )
            assert changed.rowcount == 1


@dataclass
class Desk:
    """A rater's browser page, and what a person does with it: paints by moving the pointer, and looks at what is said."""

    page: Page

    @property
    def stage(self) -> Locator:
        """Where one draws."""
        return self.page.locator(".bench .stage")

    def opened(self, item: str | None = None) -> Desk:
        """Wait for a task."""
        self.stage.wait_for(timeout=1000 * PATIENCE)
        self.page.wait_for_function("() => document.querySelector('.bench .stage').dataset.scale")
        if item is not None:
            assert item in (self.stage.get_attribute("aria-label") or "")
        return self

    def place(self, x: float, y: float) -> tuple[int, int]:
        """The whole pixel of the screen that is nearest to an image point."""
        box, view = self.stage.bounding_box(), self.view()
        assert box is not None
        return round(box["x"] + view[1] + x * view[0]), round(box["y"] + view[2] + y * view[0])

    def view(self) -> tuple[float, float, float]:
        """Scale and place of the image in the stage."""
        found = self.stage.evaluate("one => [one.dataset.scale, one.dataset.x, one.dataset.y].map(Number)")
        return (found[0], found[1], found[2])

    def image_point(self, place: tuple[int, int]) -> tuple[float, float]:
        """The image point under a pixel of the screen."""
        box, (scale, x, y) = self.stage.bounding_box(), self.view()
        assert box is not None
        return ((place[0] - box["x"] - x) / scale, (place[1] - box["y"] - y) / scale)

    def stroke(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        """Press, move through image points, let go; returns the image points that the pointer really touched."""
        places = [self.place(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up()
        return [self.image_point(place) for place in places]

    def paint(self, labels: NDArray[np.uint8], value: int, *points: tuple[float, float]) -> None:
        """A stroke on the page, and the same on `labels`, worked out apart from it."""
        touched = self.stroke(*points)
        labels[shapes.stroke(touched, self.size(), (labels.shape[-2], labels.shape[-1]))] = value

    def size(self) -> int:
        """The diameter of the brush, as the panel says it."""
        self.drawn()
        return int(self.page.locator(".slider", has_text="Brush").locator("output").inner_text().split()[0])

    def drawn(self) -> None:
        """Let the page draw what it has to draw: wheels turn and panels change with the next frame."""
        self.page.evaluate(
            "() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 60))"
        )

    def saved(self) -> Desk:
        """Wait until the page says that all is saved."""
        self.page.locator(".saved[data-state=saved]").wait_for(timeout=1000 * PATIENCE)
        return self

    def submit(self) -> Desk:
        """Press the button."""
        self.page.locator(".submit").click()
        return self

    def note(self, words: str) -> None:
        """Wait for a short note."""
        self.page.locator("#notes .note", has_text=words).first.wait_for(timeout=1000 * PATIENCE)


@contextmanager
def watched(context: BrowserContext, expected: Sequence[str] = ()) -> Iterator[list[str]]:
    """Fails when a page of the context throws, or logs an error that does not hold one of the `expected` words."""
    trouble: list[str] = []
    context.on("weberror", lambda error: trouble.append(str(error.error)))
    context.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
    yield trouble
    unexpected = [one for one in trouble if not any(word in one for word in expected)]
    assert unexpected == []


def kill_browser(profile: Path) -> None:
    """Kill every process of the Chromium that runs on a profile's folder."""
    mark = f"--user-data-dir={profile}".encode()
    mine = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _read(path)]
    assert mine
    for process in mine:
        with suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)
    until(lambda: not any(mark in _read(path / "cmdline") for path in mine), "the browser is gone")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
