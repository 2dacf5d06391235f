"""Plates: what raters drew and what the model made of it, image by image in one drawing, on scales that all its images share.

Legend: ``R`` raters, ``C`` classes, ``N`` samples, ``Y X`` the plane that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alframe.metrics import vote_fractions
from alframe.metrics.blobs import confidence
from alframe.panels import Panel
from alframe.ports import Artifacts, Ledger, Pool
from alframe.report import raster
from alframe.report.figure import Cell, Figure, Key, Table
from alframe.report.frame import Frame
from alframe.report.plate_rows import Row, read_row
from alframe.report.reading import Arm
from alframe.report.svg import compact, num, tag, text

__all__ = ["plates"]

PLATES = 8
"""Rounds that get a plate: the last one, and others spread evenly before it."""
SIDE, GAP, HEAD, CAPTION, BARS = 158.0, 12.0, 22.0, 21.0, 34.0
MOSAIC = 1.5 * SIDE
NAMED = 3
"""Blobs of an image whose confidence is written on it."""
HOPELESS = 5e3
"""A τ above it is the largest that the fit allows."""
TITLES = ("raters", "votes, fused label", "prediction", "epistemic", "aleatoric", "samples")
COLOURS = 8


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
        rows = [read_row(panel, arm, index, artifacts, pool) for panel in panels]
        temperature = arm.series("blob_temperature", "val").get(index)
        found.append((index, _plate(arm, index, rows, temperature)))
    return found


def _plate(arm: Arm, index: int, rows: Sequence[Row], temperature: float | None) -> Figure:
    names = list(dict.fromkeys(name for row in rows for name in row.drawn))
    highest = {name: _highest(rows, name) for name in ("epistemic", "aleatoric")}
    lefts = [column * (SIDE + GAP) for column in range(len(TITLES))]
    width = lefts[-1] + MOSAIC
    parts = [text(left, 13, title, class_="axis") for left, title in zip(lefts, TITLES, strict=True)]
    top = HEAD
    for row in rows:
        frame = Frame.of(row.view, row.spacing, SIDE)
        parts.append(text(0, top + 14, row.caption, class_="tick"))
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
    return Figure(
        id=f"{arm.name}-plate-{index}",
        title=f"Raters and model, round {index}",
        drawing=Markup(drawing),
        table=_table(rows, temperature),
        note=_note(rows, temperature),
        keys=tuple(Key(name=name, drawing=_swatch(position)) for position, name in enumerate(names)),
        wide=True,
    )


def _note(rows: Sequence[Row], temperature: float | None) -> str:
    note = "Variances of a drawn label, scaled to 0 … 1 and on the same scale in all images of the plate."
    if not any("blobs" in row.panel.arrays for row in rows):
        return note
    if temperature is None:
        return f"{note} Blobs have no confidence: there were none to fit its scale on."
    if temperature > HOPELESS:
        return f"{note} False blobs of the validation items outweigh the true ones, so every blob has confidence 0.5."
    return (
        f"{note} Numbers: the confidence of a blob, sigmoid(mean logit / {compact(temperature)}); the {NAMED} largest."
    )


def _highest(rows: Sequence[Row], name: str) -> float:
    """Full scale of a map: what all but 2 in 1000 pixels of each image stay below."""
    maps = [found for row in rows if (found := row.map(name)) is not None]
    return min(1.0, max((float(np.percentile(one, 99.8)) for one in maps), default=0.0))


def _placed(left: float, top: float, pane: str) -> str:
    return tag("g", pane, transform=f"translate({num(left)} {num(top)})") if pane else ""


def _panes(
    row: Row, frame: Frame, names: Sequence[str], highest: Mapping[str, float], temperature: float | None
) -> list[str]:
    """The six parts of a row, each drawn from its own origin."""
    box, factor = row.view, frame.factor

    def shown(values: NDArray[Any]) -> NDArray[np.float64]:
        return raster.shrink(row.cut(values), factor)

    small = raster.picture(shown(row.photo), row.window)
    mean = np.asarray(row.panel.arrays["mean"], np.float64)
    best = mean.argmax(axis=0).astype(np.uint8)
    votes, fused = "", row.fused
    if fused is not None:
        soft, known = vote_fractions(np.stack(list(row.drawn.values())), classes=row.classes)
        share = np.where(known, 1.0 - soft[0], 0.0)
        votes = frame.image(raster.grey(shown(share)), box, "map") + frame.outline(row.cut(fused), box, "fused")
    guess = frame.image(raster.grey(shown(1.0 - mean[0])), box, "map")
    guess += frame.outline(row.cut(best), box, "guessed") + _blobs(row, frame, temperature)
    maps = []
    for name in ("epistemic", "aleatoric"):
        values = row.map(name)
        address = "" if values is None else raster.coloured(shown(values), highest[name])
        nothing = text(0, 14, "one pass only: no such part", class_="tick")
        maps.append(frame.image(address, box, "map") if address else nothing)
    photo = frame.image(raster.photograph(small), box, "photo")
    return [photo + _contours(row, frame, names), votes, guess, *maps, _mosaic(row, frame)]


def _contours(row: Row, frame: Frame, names: Sequence[str]) -> str:
    """Every rater's border, later ones narrower, so that those below show where several agree; one casing below all."""
    paths = [
        (f"rater{names.index(name) % COLOURS}", frame.path(row.cut(classes), row.view))
        for name, classes in row.drawn.items()
    ]
    cased = (tag("path", d=path, class_=f"case {class_}") for class_, path in paths)
    return "".join(cased) + "".join(tag("path", d=path, class_=class_) for class_, path in paths)


def _blobs(row: Row, frame: Frame, temperature: float | None) -> str:
    """The confidence of the largest blobs in view, each at its middle."""
    if "blobs" not in row.panel.arrays or temperature is None or temperature > HOPELESS:
        return ""
    numbers, sizes = np.unique(row.cut(row.panel.arrays["blobs"]), return_counts=True)
    largest = [int(number) for _, number in sorted(zip(-sizes, numbers, strict=True)) if number > 0][:NAMED]
    sure = confidence(row.panel.arrays["blob_logit"], temperature)
    found = []
    for number in largest:
        y, x = np.argwhere(row.cut(row.panel.arrays["blobs"]) == number).mean(axis=0)
        left = min(max((x + 0.5) * frame.pixel[1], 14.0), frame.width - 14.0)
        top = min(max((y + 0.5) * frame.pixel[0] + 4, 12.0), frame.height - 4.0)
        found.append(text(left, top, f"{sure[number - 1]:.2f}", class_="blob", anchor="middle"))
    return "".join(found)


def _mosaic(row: Row, frame: Frame) -> str:
    """Samples in two rows of three, each half as high as the image."""
    samples, parts = row.panel.arrays["samples"], []
    scale = max(row.classes - 1, 1)
    for number, sample in enumerate(samples[:6]):
        values = raster.shrink(row.cut(sample) / scale, frame.factor)
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


def _table(rows: Sequence[Row], temperature: float | None) -> Table:
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
        found.append((row.title, ", ".join(row.drawn), row.apart, row.dice, *means, blobs))
    return Table(columns=columns, rows=tuple(found))
