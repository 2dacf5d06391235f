"""Synthetic data with known truth: H&E-like histology with glands, and volumes with two kinds of blobs.

Everything is drawn from ``(seed, number of the image)``: the same arguments give the same pixels, whatever else is made.
The histology follows the Beer-Lambert law, as in colour deconvolution (Ruifrok and Johnston, Anal. Quant. Cytol. Histol.
23, 2001): optical density = haematoxylin × its vector + eosin × its vector, intensity = light × exp(-density). Each
patient has a stain of its own. Four images in ten are hard: glands without lumen, pale mucinous ones, crowds that touch, and
look-alikes (fat, vessels, lymphoid follicles) that are no glands. So there is something for active learning to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from alframe.errors import InvalidValue
from alframe.seeding import generator
from alframe.testing.tissue import Canvas, paint_gland, paint_lookalike, paint_stroma, place_glands
from alframe.types import LabelMap

__all__ = ["KINDS", "Sample", "histology", "volumes"]

KINDS = ("tubular", "crowded", "solid", "mucinous", "lookalike")
_KIND_SHARES = (0.62, 0.13, 0.09, 0.07, 0.09)
_HAEMATOXYLIN = np.array([0.600, 0.712, 0.345])
_EOSIN = np.array([0.175, 0.880, 0.400])
_IMAGES_A_PATIENT = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One synthetic item: `image` (C, S), its exact `labels`, the patient it comes from, and what was drawn (`kind`)."""

    id: str
    group: str
    kind: str
    image: NDArray[np.uint8] | NDArray[np.float32]
    labels: LabelMap


def histology(count: int, *, size: int = 128, seed: int = 0) -> tuple[Sample, ...]:
    """`count` RGB images (3, size, size; uint8) with glands as objects of class 1, six images a patient.

    Raises:
        InvalidValue: when there is nothing to draw or an image is smaller than 48 pixels.
    """
    if count < 1 or size < 48:
        raise InvalidValue(f"histology needs count >= 1 and size >= 48, got {count} and {size}")
    return tuple(_tissue(index, size, seed) for index in range(count))


def _tissue(index: int, size: int, seed: int) -> Sample:
    rng = generator("histology", seed, index)
    patient = index // _IMAGES_A_PATIENT
    kind = str(rng.choice(KINDS, p=_KIND_SHARES))
    canvas = Canvas.blank(size)
    paint_stroma(canvas, rng)
    if kind == "lookalike":
        paint_lookalike(canvas, rng)
    for gland in place_glands(canvas, kind, rng):
        paint_gland(canvas, gland, rng)
    image = _stained(canvas, rng, generator("stain", seed, patient))
    labels = LabelMap(classes=(canvas.objects > 0).astype(np.uint8), instances=canvas.objects)
    name = f"tissue{index:04d}"
    return Sample(id=name, group=f"patient{patient:03d}", kind=kind, image=image, labels=labels)


def _stained(canvas: Canvas, rng: np.random.Generator, stain: np.random.Generator) -> NDArray[np.uint8]:
    """The RGB image (3, Y, X) of what the canvas holds, in the stain of its patient."""
    h_vector = _HAEMATOXYLIN * np.exp(stain.normal(0, 0.07, 3))
    e_vector = _EOSIN * np.exp(stain.normal(0, 0.09, 3))
    strength = np.exp(stain.normal(0, 0.13, 2))
    light = 244 + stain.normal(0, 3, 3)
    grain = ndimage.gaussian_filter(rng.normal(0, 1, canvas.shape), 0.6)
    density = (
        strength[0] * np.clip(canvas.haematoxylin * (1 + 0.16 * grain), 0, None) * h_vector[:, None, None]
        + strength[1] * np.clip(canvas.eosin * (1 + 0.08 * grain), 0, None) * e_vector[:, None, None]
    )
    blur = float(rng.uniform(0.35, 0.75))
    image = light[:, None, None] * np.exp(-ndimage.gaussian_filter(density, (0, blur, blur)))
    return np.clip(image + rng.normal(0, 2.2, image.shape), 0, 255).astype(np.uint8)


def volumes(count: int, *, shape: Sequence[int] = (24, 32, 32), seed: int = 0) -> tuple[Sample, ...]:
    """`count` one-channel volumes (1, Z, Y, X; float32) with a bright body (class 1) and a darker cap on it (class 2).

    Contrast, noise, a smooth bias field and the intensity scale (over three orders of magnitude, as in MR) differ from volume to
    volume; the truth has no instances.

    Raises:
        InvalidValue: when there is nothing to draw or an axis is shorter than 12 voxels.
    """
    if count < 1 or len(shape) != 3 or min(shape) < 12:
        raise InvalidValue(f"volumes need count >= 1 and three axes of at least 12, got {count} and {tuple(shape)}")
    return tuple(_volume(index, (shape[0], shape[1], shape[2]), seed) for index in range(count))


def _volume(index: int, shape: tuple[int, int, int], seed: int) -> Sample:
    rng = generator("volume", seed, index)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    bend = np.stack([ndimage.gaussian_filter(rng.normal(0, 1, shape), 4) for _ in range(3)])
    bend *= 0.12 / max(float(bend.std()), 1e-12)
    turn, _ = np.linalg.qr(rng.normal(0, 1, (3, 3)))
    local: NDArray[np.float64] = np.tensordot(turn, grid + bend - rng.uniform(-0.2, 0.2, (3, 1, 1, 1)), axes=1)
    radii = rng.uniform([0.55, 0.32, 0.26], [0.75, 0.46, 0.38])
    body = ((local / radii[:, None, None, None]) ** 2).sum(0) < 1
    cap = body & (local[0] > radii[0] * rng.uniform(0.1, 0.4))
    classes = np.where(cap, 2, body).astype(np.uint8)
    base = 0.35 + 0.3 * (classes == 1) * rng.uniform(0.8, 1.2) + 0.17 * (classes == 2) * rng.uniform(0.8, 1.2)
    bias = 1 + 0.25 * np.tensordot(rng.normal(0, 0.5, 3), grid, axes=1)
    noisy = ndimage.gaussian_filter(base, 0.7) * bias + rng.normal(0, rng.uniform(0.03, 0.07), shape)
    image = (10 ** rng.uniform(1.5, 4.5) * np.clip(noisy, 0, None)).astype(np.float32)
    return Sample(
        id=f"volume{index:04d}",
        group=f"patient{index:03d}",
        kind="capped",
        image=image[np.newaxis],
        labels=LabelMap(classes=classes),
    )
