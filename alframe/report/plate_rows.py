"""One image of a plate: what raters drew on it, what the model made of it, and the part that is worth a look.

Legend: ``R`` raters, ``C`` classes, ``Y X`` the plane that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.metrics import fuse
from alframe.metrics import raters as measure
from alframe.panels import Panel
from alframe.ports import Artifacts, Pool
from alframe.report import raster
from alframe.report.reading import Arm
from alframe.report.svg import compact
from alframe.types import UNANNOTATED, Box, display_window

__all__ = ["Row", "read_row", "zoom"]

LIKELY, SMALLEST, ROOM = 0.25, 24, 1.7
"""A pixel is worth a look from this probability of foreground; the least side of a view; its side in extents of what it shows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One image of a plate: its panel, the raters' maps of the plane (Y, X; 255 = said nothing), and words for it.

    `photo` (C, Y, X) is the plane itself, `window` what of it is black and white, `view` the box of the item's plane that is drawn.
    """

    panel: Panel
    drawn: Mapping[str, NDArray[np.uint8]]
    title: str
    spacing: tuple[float, ...]
    photo: NDArray[np.generic]
    window: tuple[float, float]
    view: Box

    @property
    def plane(self) -> Box:
        """The box of the plane, two-dimensional."""
        return _plane(self.panel)

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """The part of a map of the plane (…, Y, X) that is drawn."""
        corner = self.plane.start
        y, x = (slice(a - o, b - o) for a, b, o in zip(self.view.start, self.view.stop, corner, strict=True))
        return array[..., y, x]

    def map(self, name: str) -> NDArray[np.float64] | None:
        """A stored map (Y, X), None where the model has none."""
        found = self.panel.arrays.get(name)
        return None if found is None else np.asarray(found, np.float64)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.panel.arrays["mean"])

    @property
    def fused(self) -> NDArray[np.uint8] | None:
        """The majority of the raters, None without any."""
        if not self.drawn:
            return None
        return fuse(np.stack(list(self.drawn.values())), classes=self.classes)[0]

    @property
    def apart(self) -> float | None:
        """How far the raters are apart; None with fewer than two."""
        if len(self.drawn) < 2:
            return None
        return measure.disagreement(np.stack(list(self.drawn.values())), classes=self.classes)

    @property
    def dice(self) -> float | None:
        """Dice of the most probable classes with the fused label, mean of the foreground classes (both empty = 1)."""
        fused = self.fused
        if fused is None:
            return None
        best = self.panel.arrays["mean"].argmax(axis=0).astype(np.uint8)
        apart = measure.disagreement(np.stack([fused, best]), classes=self.classes)
        return None if apart is None else 1.0 - apart

    @property
    def caption(self) -> str:
        """The line above the image."""
        words = [self.title]
        if self.view != self.plane:
            sides = zip("YX", self.view.start, self.view.stop, strict=True)
            words.append("enlarged " + ", ".join(f"{axis} {a}–{b}" for axis, a, b in sides))
        if (apart := self.apart) is not None:
            words.append(f"raters apart {compact(apart)}")
        if (dice := self.dice) is not None:
            words.append(f"Dice with the fused label {compact(dice)}")
        if empty := [name for name, classes in self.drawn.items() if not _foreground(classes).any()]:
            words.append(f"nothing drawn by {', '.join(empty)}")
        return " · ".join(words)


def read_row(panel: Panel, arm: Arm, index: int, artifacts: Artifacts, pool: Pool) -> Row:
    """The row of one panel of round `index`: of a query, its raters are those who had answered by then."""
    job, info = panel.job, pool.info(panel.job.item)
    slab, inside = job.box, job.box.slices
    if len(info.shape) == 3:
        slab = Box(start=(panel.plane, *job.box.start[1:]), stop=(panel.plane + 1, *job.box.stop[1:]))
        inside = (slice(panel.plane, panel.plane + 1), *job.box.slices[1:])
    if job.query:
        drawn = _answers(panel, arm, index, artifacts)
    else:
        drawn = {rater: pool.truth(job.item, rater).classes[inside].reshape(slab.shape[-2:]) for rater in info.raters}
    rank = next((query.rank for query in arm.queries[index] if query.id == job.query), None)
    what = "test image" if rank is None else f"query {rank + 1} of round {index}"
    where = f", slice {panel.plane}" if len(info.shape) == 3 else ""
    return Row(
        panel=panel,
        drawn=drawn,
        title=f"{job.item}{where} · {what}",
        spacing=info.spacing[-2:] if len(info.spacing) == len(info.shape) else (1.0, 1.0),
        photo=raster.plane(pool.image(job.item, slab), len(info.shape)),
        window=display_window(info, pool.intensities(job.item)),
        view=zoom(_interesting(panel, drawn), _plane(panel)),
    )


def _answers(panel: Panel, arm: Arm, index: int, artifacts: Artifacts) -> dict[str, NDArray[np.uint8]]:
    drawn, job = {}, panel.job
    for answer in arm.answers:
        same = (answer.item, answer.box) == (job.item, job.box)
        if same and answer.mask is not None and answer.round <= index:
            classes = artifacts.get_arrays(answer.mask)["classes"]
            drawn[answer.rater] = classes[panel.plane - job.box.start[0]] if classes.ndim == 3 else classes
    return drawn


def _plane(panel: Panel) -> Box:
    box = panel.job.box
    return Box(start=box.start[-2:], stop=box.stop[-2:])


def _foreground(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((classes > 0) & (classes != UNANNOTATED))


def _interesting(panel: Panel, drawn: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Where somebody drew something or the model finds something likely (Y, X)."""
    found = np.asarray(1.0 - np.asarray(panel.arrays["mean"][0], np.float64) >= LIKELY)
    for classes in drawn.values():
        found |= _foreground(classes)
    return found


def zoom(interesting: NDArray[np.bool_], plane: Box) -> Box:
    """The part of `plane` to draw: a square around all that is interesting (Y, X), or all of it when that is not much less."""
    where = np.argwhere(interesting)
    if not len(where):
        return plane
    low, high = where.min(axis=0), where.max(axis=0) + 1
    side = max(SMALLEST, round(ROOM * int((high - low).max())))
    if side > 0.75 * max(plane.shape):
        return plane
    start, stop = [], []
    for corner, extent, a, b in zip(plane.start, plane.shape, low.tolist(), high.tolist(), strict=True):
        length = min(side, extent)
        first = min(max(0, (a + b - length) // 2), extent - length)
        start.append(corner + first)
        stop.append(corner + first + length)
    return Box(start=tuple(start), stop=tuple(stop))
