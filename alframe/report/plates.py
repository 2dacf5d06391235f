"""Plates: what raters drew and what the model made of it, image by image in one drawing, on scales that all its images share.

Legend: ``R`` raters, ``C`` classes, ``N`` samples, ``Y X`` the plane that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alframe.metrics import fuse, vote_fractions
from alframe.metrics import raters as measure
from alframe.metrics.blobs import confidence
from alframe.panels import Panel
from alframe.ports import Artifacts, Ledger, Pool
from alframe.report import raster
from alframe.report.figure import Cell, Figure, Key, Table
from alframe.report.frame import Frame
from alframe.report.reading import Arm
from alframe.report.svg import compact, num, tag, text
from alframe.types import UNANNOTATED, Box

__all__ = ["plates"]

PLATES = 8
"""Rounds that get a plate: the last one, and others spread evenly before it."""
SIDE, GAP, HEAD, CAPTION, BARS = 158.0, 12.0, 22.0, 21.0, 34.0
MOSAIC = 1.5 * SIDE
TITLES = ("raters", "votes, fused label", "prediction", "epistemic", "aleatoric", "samples")
COLOURS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """One image of a plate: its panel, the raters' maps of the plane (Y, X; 255 = said nothing), and words for it."""

    panel: Panel
    drawn: Mapping[str, NDArray[np.uint8]]
    title: str
    spacing: tuple[float, ...]
    photo: NDArray[np.generic]

    @property
    def plane(self) -> Box:
        """The box of the plane, two-dimensional."""
        box = self.panel.job.box
        return Box(start=box.start[-2:], stop=box.stop[-2:])

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


def plates(arm: Arm, ledger: Ledger, artifacts: Artifacts, pool: Pool) -> list[tuple[int, Figure]]:
    """A plate for each chosen round that kept panels, by round."""
    kept = {
        record.index: [ref for key, ref in ledger.artifacts(arm.name, record.index).items() if key.startswith("panel/")]
        for record in arm.rounds
    }
    rounds = [index for index, refs in kept.items() if refs]
    if len(rounds) > PLATES:
        rounds = [rounds[int(place)] for place in np.linspace(0, len(rounds) - 1, PLATES).round()]
    found = []
    for index in rounds:
        panels = [Panel.from_arrays(artifacts.get_arrays(ref)) for ref in kept[index]]
        rows = [_row(panel, arm, index, artifacts, pool) for panel in panels]
        temperature = arm.series("blob_temperature", "val").get(index)
        found.append((index, _plate(arm, index, rows, temperature)))
    return found


def _row(panel: Panel, arm: Arm, index: int, artifacts: Artifacts, pool: Pool) -> _Row:
    job, info = panel.job, pool.info(panel.job.item)
    slab, inside = job.box, job.box.slices
    if len(info.shape) == 3:
        slab = Box(start=(panel.plane, *job.box.start[1:]), stop=(panel.plane + 1, *job.box.stop[1:]))
        inside = (slice(panel.plane, panel.plane + 1), *job.box.slices[1:])
    if job.query:
        drawn = {}
        for answer in arm.answers:
            same = (answer.item, answer.box) == (job.item, job.box)
            if same and answer.mask is not None and answer.round <= index:
                classes = artifacts.get_arrays(answer.mask)["classes"]
                drawn[answer.rater] = classes[panel.plane - job.box.start[0]] if classes.ndim == 3 else classes
    else:
        drawn = {rater: pool.truth(job.item, rater).classes[inside].reshape(slab.shape[-2:]) for rater in info.raters}
    rank = next((query.rank for query in arm.queries[index] if query.id == job.query), None)
    what = "test image" if rank is None else f"query {rank + 1} of round {index}, answered"
    where = f", slice {panel.plane}" if len(info.shape) == 3 else ""
    return _Row(
        panel=panel,
        drawn=drawn,
        title=f"{job.item}{where} · {what}",
        spacing=info.spacing[-2:] if len(info.spacing) == len(info.shape) else (1.0, 1.0),
        photo=raster.plane(pool.image(job.item, slab), len(info.shape)),
    )


def _plate(arm: Arm, index: int, rows: Sequence[_Row], temperature: float | None) -> Figure:
    names = list(dict.fromkeys(name for row in rows for name in row.drawn))
    highest = {name: _highest(rows, name) for name in ("epistemic", "aleatoric")}
    lefts = [column * (SIDE + GAP) for column in range(len(TITLES))]
    width = lefts[-1] + MOSAIC
    parts = [text(left, 13, title, class_="axis") for left, title in zip(lefts, TITLES, strict=True)]
    top = HEAD
    for row in rows:
        frame = Frame.of(row.plane, row.spacing, SIDE)
        parts.append(text(0, top + 14, f"{row.title}{_said(row)}", class_="tick"))
        top += CAPTION
        panes = _panes(row, frame, names, highest, temperature)
        parts += [_placed(left, top, pane) for left, pane in zip(lefts, panes, strict=True)]
        top += frame.height + 8
    parts += _bars(lefts, top, highest)
    drawing = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {num(width)} {num(top + BARS)}",
        class_="plate",
        role="img",
        aria_label=f"Round {index}, {len(rows)} images: {', '.join(TITLES)}.",
    )
    note = "Variances of a drawn label, scaled to 0 … 1 and on the same scale in all images of the plate."
    if any("blobs" in row.panel.arrays for row in rows):
        note += " Numbers: the confidence of a blob" + (
            f", sigmoid(mean logit / {compact(temperature)})."
            if temperature is not None
            else " before its scale is known."
        )
    return Figure(
        id=f"{arm.name}-plate-{index}",
        title=f"Raters and model, round {index}",
        drawing=Markup(drawing),
        table=_table(rows, temperature),
        note=note,
        keys=tuple(Key(name=name, drawing=_swatch(position)) for position, name in enumerate(names)),
        wide=True,
    )


def _highest(rows: Sequence[_Row], name: str) -> float:
    """Full scale of a map: what all but 2 in 1000 pixels of each image stay below."""
    maps = [found for row in rows if (found := row.map(name)) is not None]
    return min(1.0, max((float(np.percentile(one, 99.8)) for one in maps), default=0.0))


def _placed(left: float, top: float, pane: str) -> str:
    return tag("g", pane, transform=f"translate({num(left)} {num(top)})") if pane else ""


def _panes(
    row: _Row, frame: Frame, names: Sequence[str], highest: Mapping[str, float], temperature: float | None
) -> list[str]:
    """The six parts of a row, each drawn from its own origin."""
    box, factor = row.plane, frame.factor
    small = raster.picture(raster.shrink(row.photo, factor), raster.display_window(row.photo))
    photo = frame.image(raster.photograph(small), box, "photo")
    lines = {name: frame.outline(row.drawn[name], box, f"rater{names.index(name) % COLOURS}") for name in row.drawn}
    mean = np.asarray(row.panel.arrays["mean"], np.float64)
    best = mean.argmax(axis=0).astype(np.uint8)
    votes, fused = "", row.fused
    if fused is not None:
        soft, known = vote_fractions(np.stack(list(row.drawn.values())), classes=row.classes)
        share = np.where(known, 1.0 - soft[0], 0.0)
        votes = frame.image(raster.grey(raster.shrink(share, factor)), box, "map") + frame.outline(fused, box, "fused")
    guess = frame.image(raster.grey(raster.shrink(1.0 - mean[0], factor)), box, "map")
    guess += frame.outline(best, box, "guessed") + _blobs(row, frame, temperature)
    maps = []
    for name in ("epistemic", "aleatoric"):
        values = row.map(name)
        address = "" if values is None else raster.coloured(raster.shrink(values, factor), highest[name])
        nothing = text(0, 14, "one pass only: no such part", class_="tick")
        maps.append(frame.image(address, box, "map") if address else nothing)
    return [photo + "".join(lines.values()), votes, guess, *maps, _mosaic(row, frame)]


def _blobs(row: _Row, frame: Frame, temperature: float | None) -> str:
    """The confidence of every blob of the plane, beside its middle."""
    if "blobs" not in row.panel.arrays or temperature is None:
        return ""
    numbers, found = row.panel.arrays["blobs"], []
    sure = confidence(row.panel.arrays["blob_logit"], temperature)
    for number in np.unique(numbers[numbers > 0]):
        y, x = np.argwhere(numbers == number).mean(axis=0)
        left, top = (x + 0.5) * frame.pixel[1], (y + 0.5) * frame.pixel[0]
        words = f"{sure[number - 1]:.2f}"
        found.append(text(left, top + 4, words, class_="blob", anchor="middle"))
    return "".join(found)


def _mosaic(row: _Row, frame: Frame) -> str:
    """Samples in two rows of three, each half as high as the image."""
    samples, parts = row.panel.arrays["samples"], []
    scale = max(row.classes - 1, 1)
    for number, sample in enumerate(samples[:6]):
        values = raster.shrink(np.where(sample == UNANNOTATED, 0, sample) / scale, frame.factor)
        left, top = (number % 3) * SIDE / 2, (number // 3) * frame.height / 2
        size = {"width": frame.width / 2 - 2, "height": frame.height / 2 - 2}
        parts.append(
            tag(
                "image",
                href=raster.grey(values),
                x=left,
                y=top,
                **size,
                class_="map",
                preserveAspectRatio="none",
            )
        )
    return "".join(parts)


def _bars(lefts: Sequence[float], top: float, highest: Mapping[str, float]) -> list[str]:
    """A colour bar below each column that has a scale."""
    ramp = np.tile(np.linspace(0, 1, 64), (2, 1))
    bars = [(1, raster.grey(ramp), "share of votes", 1.0), (2, raster.grey(ramp), "p(foreground)", 1.0)]
    bars += [(3 + n, raster.coloured(ramp, 1.0), "variance", highest[name]) for n, name in enumerate(highest)]
    parts = []
    for column, address, words, limit in bars:
        left = lefts[column]
        if limit > 0:
            parts.append(
                tag(
                    "image",
                    href=address,
                    x=left,
                    y=top + 2,
                    width=SIDE,
                    height=8.0,
                    class_="map",
                    preserveAspectRatio="none",
                )
            )
            parts.append(text(left, top + 23, "0"))
            parts.append(text(left + SIDE / 2, top + 23, words, anchor="middle"))
            parts.append(text(left + SIDE, top + 23, compact(limit), anchor="end"))
    return parts


def _swatch(position: int) -> Markup:
    line = tag("path", d="M1 6H21", class_=f"rater{position % COLOURS}")
    return Markup(tag("svg", line, viewBox="0 0 22 12", class_="swatch contour", aria_hidden="true"))


def _said(row: _Row) -> str:
    words = []
    if (apart := _apart(row)) is not None:
        words.append(f"raters apart {compact(apart)}")
    if (dice := _dice(row)) is not None:
        words.append(f"Dice with the fused label {compact(dice)}")
    return "".join(f" · {one}" for one in words)


def _apart(row: _Row) -> float | None:
    if len(row.drawn) < 2:
        return None
    return measure.disagreement(np.stack(list(row.drawn.values())), classes=row.classes)


def _dice(row: _Row) -> float | None:
    """Dice of the most probable classes with the fused label, mean of the foreground classes (both empty = 1)."""
    fused = row.fused
    if fused is None:
        return None
    best = row.panel.arrays["mean"].argmax(axis=0).astype(np.uint8)
    apart = measure.disagreement(np.stack([fused, best]), classes=row.classes)
    return None if apart is None else 1.0 - apart


def _table(rows: Sequence[_Row], temperature: float | None) -> Table:
    columns = ("image", "raters", "raters apart", "Dice", "mean epistemic", "mean aleatoric", "blob confidences")
    found: list[tuple[Cell, ...]] = []
    for row in rows:
        means = [None if (one := row.map(name)) is None else float(one.mean()) for name in ("epistemic", "aleatoric")]
        logit = row.panel.arrays.get("blob_logit")
        blobs = (
            ""
            if logit is None or temperature is None
            else ", ".join(f"{one:.2f}" for one in confidence(logit, temperature))
        )
        found.append((row.title, ", ".join(row.drawn), _apart(row), _dice(row), *means, blobs))
    return Table(columns=columns, rows=tuple(found))
