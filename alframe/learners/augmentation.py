"""Random changes of a batch of training patches; masks follow the image, and 255 fills what comes from outside.

Legend: ``B`` batch, ``C`` channels, ``L`` label maps (classes, then contours), ``S`` spatial axes ``(Z) Y X``, ``D``
their number. All draws come from a NumPy generator, so that they are the same on every device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from alframe.learners.settings import Augmentation
from alframe.types import UNANNOTATED

__all__ = ["augment_geometry", "augment_intensity", "augment_stain", "source_shape"]

# optical densities (red, green, blue) of haematoxylin, eosin and the residual: Ruifrok & Johnston 2001, as in scikit-image
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
GRID = 4
"""Nodes per axis of the coarse grid of elastic displacements."""


def source_shape(patch: Sequence[int], settings: Augmentation) -> tuple[int, ...]:
    """The shape (S) to cut so that a turned and magnified patch needs (almost) nothing from beyond it."""
    if settings.affine_probability == 0:
        return tuple(patch)
    angles = np.deg2rad(np.linspace(0, min(settings.rotation, 90), 19))
    others = [max((other for j, other in enumerate(patch) if j != axis), default=0) for axis in range(len(patch))]
    reach = [
        max(side * math.cos(a) + other * math.sin(a) for a in angles) / settings.scale[0]
        for side, other in zip(patch, others, strict=True)
    ]
    return tuple(max(side, math.ceil(wide)) for side, wide in zip(patch, reach, strict=True))


def augment_geometry(
    image: torch.Tensor, labels: torch.Tensor, patch: Sequence[int], settings: Augmentation, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of shape `patch` from the middle of `image` (B, C, S) and `labels` (B, L, S; uint8): turned, bent, mirrored."""
    images, maps = [], []
    for x, y in zip(image, labels, strict=True):
        if rng.random() < settings.affine_probability or settings.elastic > 0:
            x, y = _resample(x, y, _coordinates(patch, settings, rng))
        else:
            x, y = _centre(x, patch), _centre(y, patch)
        axes = [axis for axis in settings.flip_axes if -axis <= len(patch) and rng.random() < 0.5]
        if axes:
            x, y = x.flip(axes), y.flip(axes)
        if settings.quarter_turns and patch[-1] == patch[-2]:
            turns = int(rng.integers(4))
            x, y = torch.rot90(x, turns, (-2, -1)), torch.rot90(y, turns, (-2, -1))
        images.append(x)
        maps.append(y)
    return torch.stack(images), torch.stack(maps)


def _centre(x: torch.Tensor, patch: Sequence[int]) -> torch.Tensor:
    starts = [(wide - side) // 2 for wide, side in zip(x.shape[1:], patch, strict=True)]
    return x[(slice(None), *(slice(a, a + side) for a, side in zip(starts, patch, strict=True)))]


def _coordinates(patch: Sequence[int], settings: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where each pixel of the patch comes from: (S, D), in pixels from the source's centre."""
    dims = len(patch)
    matrix = np.eye(dims)
    for a, b in itertools.combinations(range(dims), 2):
        angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
        turn = np.eye(dims)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    low, high = np.log(settings.scale)
    matrix = matrix / math.exp(rng.uniform(low, high))
    axes = [np.arange(side) - (side - 1) / 2 for side in patch]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    moved: NDArray[np.float64] = offsets @ matrix.T
    if settings.elastic > 0:
        coarse = torch.from_numpy(rng.normal(0, settings.elastic, (1, dims, *[GRID] * dims)))
        mode = "bilinear" if dims == 2 else "trilinear"
        smooth = functional.interpolate(coarse, size=tuple(patch), mode=mode, align_corners=True)
        moved += smooth[0].movedim(0, -1).numpy()
    return moved


def _resample(x: torch.Tensor, y: torch.Tensor, at: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (C, S) linearly and labels (L, S) by nearest neighbour at `at` (S, D); outside: mirrored and unannotated."""
    extent = np.array(x.shape[1:])
    # grid_sample wants −1 … 1 from the first edge to the last (align_corners=False), the last axis first
    unit = np.ascontiguousarray((2 * at / extent)[..., ::-1], dtype=np.float32)
    grid = torch.from_numpy(unit).to(x.device)[None]
    moved = functional.grid_sample(x[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)[0]
    shifted = y.to(torch.float32) - UNANNOTATED
    mask = functional.grid_sample(shifted[None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[0]
    return moved, (mask + UNANNOTATED).to(torch.uint8)


def augment_stain(image: torch.Tensor, white: float, settings: Augmentation, rng: np.random.Generator) -> torch.Tensor:
    """RGB patches (B, 3, S; 0 … `white`) with each stain's density scaled and shifted (Tellez et al. 2018, eq. 1)."""
    batch = image.shape[0]
    scale = rng.uniform(1 - settings.stain, 1 + settings.stain, (batch, 3))
    shift = rng.uniform(-settings.stain, settings.stain, (batch, 3)) * 0.2
    inverse = np.linalg.inv(STAINS)
    # densities d (row vectors): d' = (d · inverse · diag(scale) + shift) · STAINS
    matrix = np.einsum("ij,bj,jk->bik", inverse, scale, STAINS).astype(np.float32)
    offset = (shift @ STAINS).astype(np.float32)
    density = -torch.log((image / white).clamp(min=1 / 255))
    flat = density.flatten(2)
    moved = torch.einsum("bin,bik->bkn", flat, torch.from_numpy(matrix).to(image.device))
    moved = moved + torch.from_numpy(offset).to(image.device)[..., None]
    return (torch.exp(-moved).clamp(max=1) * white).view_as(image)


def augment_intensity(image: torch.Tensor, settings: Augmentation, rng: np.random.Generator) -> torch.Tensor:
    """Normalised patches (B, C, S) with other contrast and brightness (each channel its own), blur and noise."""
    batch, channels = image.shape[:2]
    ones = (1,) * (image.ndim - 2)
    contrast = rng.uniform(1 - settings.contrast, 1 + settings.contrast, (batch, channels, *ones))
    brightness = rng.uniform(-settings.brightness, settings.brightness, (batch, channels, *ones))
    amount = rng.uniform(0, settings.noise, (batch, 1, *ones))
    image = image * _like(contrast, image) + _like(brightness, image)
    if settings.blur > 0:
        image = torch.stack([_blur(x, rng.uniform(0, settings.blur)) if rng.random() < 0.5 else x for x in image])
    if settings.noise > 0:
        image = image + _like(rng.standard_normal(image.shape, np.float32) * amount, image)
    return image


def _like(values: NDArray[np.floating], image: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(image.device)


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (C, S) along each spatial axis, edges repeated."""
    radius = max(1, math.ceil(3 * sigma))
    steps = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2)
    kernel = kernel / kernel.sum()
    for axis in range(1, x.ndim):
        line = x.movedim(axis, -1)
        shape = line.shape
        padded = functional.pad(line.reshape(-1, 1, shape[-1]), (radius, radius), mode="replicate")
        x = functional.conv1d(padded, kernel[None, None]).reshape(shape).movedim(-1, axis)
    return x
