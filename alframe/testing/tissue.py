"""The painter behind synthetic histology: stroma, glands with their nuclei, and what only looks like a gland.

A :class:`Canvas` holds how much of each stain lies on every pixel (optical densities) and the object numbers. Lengths are
in pixels; a nucleus is about five long, a gland 20 to 60 wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Canvas", "Gland", "paint_gland", "paint_lookalike", "paint_stroma", "place_glands"]

Map = NDArray[np.float64]

_GLANDS = {"tubular": 4.0, "crowded": 11.0, "solid": 5.0, "mucinous": 4.0, "lookalike": 2.0}
_RADII = {"tubular": (13, 25), "crowded": (10, 19), "solid": (12, 22), "mucinous": (14, 24), "lookalike": (12, 20)}
_SMALLEST = 60
_GAPS = {"tubular": 4.0, "crowded": -3.0, "solid": 0.0, "mucinous": 2.0, "lookalike": 5.0}


@dataclass(slots=True, kw_only=True, eq=False)
class Canvas:
    """What has been painted: densities of the two stains and `objects` (int32, 0 = none), each (Y, X)."""

    haematoxylin: Map
    eosin: Map
    objects: NDArray[np.int32]

    @classmethod
    def blank(cls, size: int) -> Canvas:
        """A square without tissue."""
        empty = np.zeros((size, size))
        return cls(haematoxylin=empty, eosin=empty.copy(), objects=np.zeros((size, size), np.int32))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.objects.shape[0], self.objects.shape[1])

    def window(self, centre: tuple[float, float], reach: float) -> tuple[Canvas, tuple[int, int]]:
        """The part within `reach` of `centre` (it shares the pixels; it may be empty), and where its corner lies."""
        rows, columns = (
            slice(min(max(math.floor(at - reach), 0), size), min(max(math.ceil(at + reach) + 1, 0), size))
            for at, size in zip(centre, self.shape, strict=True)
        )
        part = (rows, columns)
        view = Canvas(haematoxylin=self.haematoxylin[part], eosin=self.eosin[part], objects=self.objects[part])
        return view, (rows.start, columns.start)

    def blend(self, weight: Map, haematoxylin: Map | float, eosin: Map | float) -> None:
        """Cover the canvas with these densities, as opaquely as `weight` (0 to 1) says."""
        self.haematoxylin += weight * (haematoxylin - self.haematoxylin)
        self.eosin += weight * (eosin - self.eosin)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gland:
    """A closed outline around `centre`: ``r(θ) = radius (1 + Σ_k a_k cos(kθ + φ_k))`` on an ellipse turned by `angle`.

    `lumen` is the share of the radius without cells (0 = solid), `mucin` how much of the cells is pale.
    """

    centre: tuple[float, float]
    radius: float
    stretch: float
    angle: float
    waves: tuple[tuple[int, float, float], ...]
    lumen: float
    mucin: float

    def outline(self, theta: Map) -> Map:
        """Radius of the outline in the directions `theta`."""
        turned = theta - self.angle
        ellipse = 1 / np.sqrt((np.cos(turned) / self.stretch) ** 2 + (np.sin(turned) * self.stretch) ** 2)
        waves = np.ones_like(theta)
        for order, amplitude, phase in self.waves:
            waves += amplitude * np.cos(order * theta + phase)
        return self.radius * ellipse * waves

    def depth(self, rows: Map, columns: Map) -> tuple[Map, Map]:
        """Relative radius (1 on the outline, 0 in the centre) and direction of the given pixels."""
        dy, dx = rows - self.centre[0], columns - self.centre[1]
        theta = np.arctan2(dy, dx)
        return np.hypot(dy, dx) / self.outline(theta), theta


def _noise(rng: np.random.Generator, shape: tuple[int, int], scale: float | tuple[float, float]) -> Map:
    """Smooth noise with mean 0 and standard deviation 1."""
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, shape), scale, mode="wrap")
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-12))


def _edge(distance: Map, softness: float = 0.7) -> Map:
    """1 inside (distance < 0), 0 outside, with an edge of about `softness` pixels."""
    return 1 / (1 + np.exp(np.clip(distance / softness, -30, 30)))


def _fibres(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Wavy bundles that run in one main direction."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    angle = rng.uniform(0, math.pi)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    phase = 2 * math.pi * across / rng.uniform(6, 10) + 4.0 * _noise(rng, shape, 10) + 1.6 * _noise(rng, shape, 3)
    return np.asarray(np.sin(phase) * np.clip(0.5 + 0.6 * _noise(rng, shape, 7), 0, 1.4))


def paint_stroma(canvas: Canvas, rng: np.random.Generator) -> None:
    """Pink connective tissue: fibres, clefts, spindle-shaped fibroblasts and scattered lymphocytes."""
    shape = canvas.shape
    thickness = 0.42 + 0.07 * _noise(rng, shape, 12) + 0.06 * _fibres(rng, shape) + 0.03 * _noise(rng, shape, 1.2)
    canvas.blend(np.ones(shape), 0.07 + 0.02 * _noise(rng, shape, 6), np.clip(thickness, 0.12, None))
    clefts = _edge(1.75 - _noise(rng, shape, (2.2, 5.0) if rng.random() < 0.5 else (5.0, 2.2)), 0.12)
    canvas.blend(0.85 * clefts, 0.01, 0.04)
    area = shape[0] * shape[1]
    angle = rng.uniform(0, math.pi)
    for _ in range(rng.poisson(area / 520)):
        _nucleus(canvas, rng, _anywhere(rng, shape), angle + rng.normal(0, 0.4), (3.6, 1.1), 0.75)
    for _ in range(rng.poisson(area / 1500)):
        _nucleus(canvas, rng, _anywhere(rng, shape), 0, (1.7, 1.7), 1.1)


def _ellipse(
    canvas: Canvas, centre: tuple[float, float], angle: float, axes: tuple[float, float]
) -> tuple[Canvas, Map]:
    """The part of the canvas around an ellipse, and the relative radius there (1 on its outline).

    `axes` are half lengths along and across `angle`, which is measured from the columns' direction.
    """
    part, corner = canvas.window(centre, max(axes) + 2)
    dy = np.arange(part.shape[0])[:, None] + (corner[0] - centre[0])
    dx = np.arange(part.shape[1])[None, :] + (corner[1] - centre[1])
    along = dx * math.cos(angle) + dy * math.sin(angle)
    across = dy * math.cos(angle) - dx * math.sin(angle)
    return part, np.sqrt((along / axes[0]) ** 2 + (across / axes[1]) ** 2)


def _nucleus(
    canvas: Canvas,
    rng: np.random.Generator,
    centre: tuple[float, float],
    angle: float,
    axes: tuple[float, float],
    darkness: float,
) -> None:
    """An ellipse of chromatin, a little darker at its rim."""
    spread, shade = np.exp(rng.normal(0, 0.13, 2)), math.exp(rng.normal(0, 0.14))
    long, short = float(axes[0] * spread[0]), float(axes[1] * spread[1])
    part, relative = _ellipse(canvas, centre, angle, (long, short))
    chromatin = darkness * shade * (0.82 + 0.24 * np.minimum(relative, 1) ** 2)
    part.blend(0.92 * _edge((relative - 1) * short, 0.45), chromatin, 0.16)


def _anywhere(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[float, float]:
    return float(rng.uniform(0, shape[0])), float(rng.uniform(0, shape[1]))


def place_glands(canvas: Canvas, kind: str, rng: np.random.Generator) -> list[Gland]:
    """Glands that keep the kind's distance from each other (negative = they may press into each other)."""
    size = canvas.shape[0]
    wanted = max(1, rng.poisson(_GLANDS[kind] * (size / 128) ** 2)) if kind != "lookalike" else rng.poisson(1.5)
    low, high = _RADII[kind]
    main = rng.uniform(0, math.pi)
    glands: list[Gland] = []
    for _ in range(12 * wanted):
        if len(glands) == wanted:
            break
        radius = float(rng.uniform(low, high))
        centre = rng.uniform(-0.05 * size, 1.05 * size, 2)
        near = [math.dist(centre, other.centre) - radius - other.radius for other in glands]
        if near and min(near) < _GAPS[kind]:
            continue
        irregular = {"solid": 2.0, "crowded": 1.4}.get(kind, 1.0)
        orders = ((2, 0.06), (3, 0.05), (4, 0.035), (5, 0.025), (7, 0.015))
        waves = tuple(
            (order, float(rng.normal(0, irregular * spread)), float(rng.uniform(0, 2 * math.pi)))
            for order, spread in orders
        )
        glands.append(
            Gland(
                centre=(float(centre[0]), float(centre[1])),
                radius=radius,
                stretch=float(np.exp(rng.normal(0.12, 0.12))),
                angle=main + float(rng.normal(0, 0.5)),
                waves=waves,
                lumen=_lumen(kind, rng),
                mucin=float(rng.uniform(0.75, 1.0)) if kind == "mucinous" else float(rng.beta(1.2, 3.5)),
            )
        )
    return glands


def _lumen(kind: str, rng: np.random.Generator) -> float:
    if kind == "solid":
        return 0.0
    return float(rng.uniform(0.12, 0.35) if kind == "mucinous" else rng.uniform(0.26, 0.56))


def paint_gland(canvas: Canvas, gland: Gland, rng: np.random.Generator) -> None:
    """Epithelium with a ring of nuclei at its base around a lumen; or a solid nest with nuclei everywhere.

    Where it meets a gland painted before, the older one keeps its pixels. Nothing is painted when hardly a pixel is left.
    """
    number = int(canvas.objects.max()) + 1
    part, corner = canvas.window(gland.centre, 2.2 * gland.radius)
    if 0 in part.shape:
        return
    local = replace(gland, centre=(gland.centre[0] - corner[0], gland.centre[1] - corner[1]))
    rows, columns = (axis.astype(float) for axis in np.indices(part.shape))
    depth, theta = local.depth(rows, columns)
    outline = local.outline(theta)
    free = ndimage.binary_erosion(part.objects == 0, iterations=1, border_value=1)
    inside = (depth < 1) & free
    pieces, found = ndimage.label(inside)
    if found > 1:
        inside = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    if inside.sum() < _SMALLEST:
        return
    distance = np.where(free, (depth - 1) * outline, 5.0)
    weight = _edge(np.where(inside, distance, np.abs(distance) + 0.2))
    part.blend(_edge(np.abs(distance) - 0.9, 0.5) * free * 0.6, 0.08, 0.75)
    cytoplasm = 0.34 - 0.2 * gland.mucin + 0.03 * _noise(rng, part.shape, 2)
    part.blend(weight, 0.17 - 0.08 * gland.mucin + 0.02 * _noise(rng, part.shape, 3), cytoplasm)
    part.objects[inside] = number
    if gland.lumen > 0:
        wobble = 1 + 0.10 * np.sin(9 * theta + rng.uniform(0, 6)) + 0.05 * np.sin(14 * theta + rng.uniform(0, 6))
        lumen = _edge((depth - gland.lumen * wobble) * outline, 0.6) * inside
        secretion = max(0.0, float(rng.normal(0.0, 0.11)))
        part.blend(lumen, 0.015, 0.03 + secretion * (1 + 0.4 * _noise(rng, part.shape, 2.5)))
        _goblets(part, local, number, rng)
    _nuclei(part, local, number, rng)


def _along(gland: Gland, theta: Map, depth: Map) -> list[tuple[float, float]]:
    """Pixel positions at these directions and relative radii."""
    radius = gland.outline(theta) * depth
    rows, columns = gland.centre[0] + radius * np.sin(theta), gland.centre[1] + radius * np.cos(theta)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _goblets(canvas: Canvas, gland: Gland, number: int, rng: np.random.Generator) -> None:
    """Pale drops of mucin between base and lumen."""
    theta = rng.uniform(0, 2 * math.pi, int(gland.mucin * 2 * math.pi * gland.radius / 5.5))
    depth = np.full(theta.shape, gland.lumen + 0.45 * (1 - gland.lumen))
    for centre in _along(gland, theta, depth):
        size = float(rng.uniform(1.8, 3.0))
        part, relative = _ellipse(canvas, centre, 0, (size, size))
        part.blend(0.8 * _edge((relative - 1) * size, 0.6) * (part.objects == number), 0.05, 0.07)


def _nuclei(canvas: Canvas, gland: Gland, number: int, rng: np.random.Generator) -> None:
    """Nuclei point to the lumen and sit at the base; in solid nests they lie anywhere, larger and darker."""
    solid = gland.lumen == 0
    ring = int(2 * math.pi * gland.radius / 3.4)
    theta = 2 * math.pi * (np.arange(ring) + rng.uniform(-0.3, 0.3, ring)) / ring
    depth = np.minimum(rng.normal(0.86, 0.035, ring), 0.95)
    if solid:
        within = int(ring * 1.1)
        theta = np.concatenate([theta, rng.uniform(0, 2 * math.pi, within)])
        depth = np.concatenate([depth, np.sqrt(rng.uniform(0, 0.7, within))])
    angles = rng.uniform(0, math.pi, theta.size) if solid else theta + rng.normal(0, 0.2, theta.size)
    for centre, angle in zip(_along(gland, theta, depth), angles.tolist(), strict=True):
        row, column = round(centre[0]), round(centre[1])
        if 0 <= row < canvas.shape[0] and 0 <= column < canvas.shape[1] and canvas.objects[row, column] == number:
            _nucleus(canvas, rng, centre, angle, (2.7, 1.9) if solid else (2.5, 1.35), 0.95 if solid else 0.85)


def paint_lookalike(canvas: Canvas, rng: np.random.Generator) -> None:
    """Round things that are no glands: fat cells, vessels with blood, lymphoid follicles."""
    size = canvas.shape[0]
    for _ in range(1 + rng.poisson(1.2 * (size / 128) ** 2)):
        row, column = (float(at) for at in rng.uniform(0.1 * size, 0.9 * size, 2))
        what = rng.choice(["fat", "vessel", "follicle"])
        if what == "follicle":
            spread = float(rng.uniform(8, 15))
            for dy, dx in rng.normal(0, spread * 0.6, (int(spread**2 * 0.75), 2)).tolist():
                _nucleus(canvas, rng, (row + dy, column + dx), 0, (1.6, 1.5), 1.05)
        elif what == "fat":
            for dy, dx in rng.normal(0, 11, (5, 2)).tolist():
                _bubble(canvas, rng, (row + dy, column + dx), float(rng.uniform(6, 11)))
        else:
            radius = float(rng.uniform(8, 14))
            _bubble(canvas, rng, (row, column), radius)
            for dy, dx in rng.normal(0, radius * 0.42, (int(radius * 2), 2)).tolist():
                part, relative = _ellipse(canvas, (row + dy, column + dx), 0, (1.7, 1.7))
                part.blend(0.9 * _edge((relative - 1) * 1.7, 0.5), 0.03, 0.85)


def _bubble(canvas: Canvas, rng: np.random.Generator, centre: tuple[float, float], radius: float) -> None:
    """An empty round space with a thin pink wall."""
    part, relative = _ellipse(canvas, centre, 0, (radius, radius * float(rng.uniform(0.85, 1.15))))
    distance = (relative - 1) * radius
    part.blend(_edge(np.abs(distance) - 0.8, 0.5), 0.1, 0.62)
    part.blend(_edge(distance + 1.0), 0.01, 0.03)
