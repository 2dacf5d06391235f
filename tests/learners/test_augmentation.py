"""Augmentation: the mask goes where the image goes, nothing is invented, and each draw comes from the generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import combine_stains, hed_from_rgb, rgb_from_hed, separate_stains

from alframe.learners.augmentation import (
    STAINS,
    augment_geometry,
    augment_intensity,
    augment_stain,
    source_shape,
)
from alframe.learners.settings import Augmentation
from alframe.types import UNANNOTATED

NOTHING = Augmentation(
    flip_axes=(), quarter_turns=False, affine_probability=0, contrast=0, brightness=0, noise=0, stain=0
)


def batch(shape: tuple[int, ...], seed: int = 0, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images whose label is 1 where they are above 0: image and mask can be compared after any movement."""
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=shape), 4) for _ in range(count)]
    image = torch.from_numpy(np.stack(smooth)[:, None].astype(np.float32) * 50)
    return image, (image > 0).to(torch.uint8)


def test_without_settings_nothing_changes_but_the_cut() -> None:
    image, labels = batch((12, 14))
    x, y = augment_geometry(image, labels, (8, 10), NOTHING, np.random.default_rng(0))
    assert torch.equal(x, image[..., 2:10, 2:12])
    assert torch.equal(y, labels[..., 2:10, 2:12])
    assert torch.equal(augment_intensity(x, NOTHING, np.random.default_rng(0)), x)


@given(seed=st.integers(0, 999), axes=st.integers(2, 3), elastic=st.sampled_from([0.0, 1.5]))
@settings(max_examples=25)
def test_the_mask_follows_the_image(seed: int, axes: int, elastic: float) -> None:
    shape = (40, 40, 40)[:axes] if axes == 2 else (24, 24, 24)
    patch = tuple(side // 2 for side in shape)
    settings = replace(
        NOTHING,
        flip_axes=(-1, -2, -3),
        quarter_turns=True,
        affine_probability=1.0,
        rotation=90,
        scale=(0.7, 1.4),
        elastic=elastic,
    )
    image, labels = batch(shape, seed)
    x, y = augment_geometry(image, labels, patch, settings, np.random.default_rng(seed))
    assert x.shape == y.shape == (2, 1, *patch)
    known = (y != UNANNOTATED) & (
        x.abs() > x.abs().median() / 2
    )  # away from the border, where both interpolations differ
    agree = ((x > 0) == (y == 1))[known].double().mean()
    assert agree > 0.97


def test_flips_and_turns_are_exact_symmetries_and_all_occur() -> None:
    square = torch.arange(16, dtype=torch.float32).reshape(1, 1, 4, 4)
    wanted = {
        tuple(turned.flatten().tolist())
        for turns in range(4)
        for flipped in (square, square.flip(-1))
        for turned in [torch.rot90(flipped, turns, (-2, -1))]
    }
    rng = np.random.default_rng(0)
    settings = replace(NOTHING, flip_axes=(-2, -1), quarter_turns=True)
    seen = set()
    for _ in range(120):
        x, y = augment_geometry(square, square.to(torch.uint8), (4, 4), settings, rng)
        assert torch.equal(x.to(torch.uint8), y)
        seen.add(tuple(x.flatten().tolist()))
    assert seen == wanted


def test_a_turn_is_that_of_scipy() -> None:
    image, labels = batch((48, 48), count=1)
    settings = replace(NOTHING, affine_probability=1.0, rotation=33.0, scale=(1.0, 1.0))
    rng = np.random.default_rng(5)
    x, _ = augment_geometry(image, labels, (16, 16), settings, rng)
    rng = np.random.default_rng(5)
    rng.random()
    angle = rng.uniform(-33, 33)
    turned = ndimage.rotate(image[0, 0].numpy(), -angle, reshape=False, order=1)[16:32, 16:32]
    np.testing.assert_allclose(x[0, 0].numpy(), turned, atol=1e-3)


def test_what_comes_from_outside_gives_no_loss() -> None:
    image, labels = batch((8, 8))
    settings = replace(NOTHING, affine_probability=1.0, scale=(0.25, 0.25), rotation=0)
    _, y = augment_geometry(image, labels, (8, 8), settings, np.random.default_rng(0))
    assert (y[..., 0, :] == UNANNOTATED).all()
    assert (y[..., 3:5, 3:5] != UNANNOTATED).all()


@given(rotation=st.floats(0, 180), low=st.floats(0.5, 1), patch=st.tuples(st.integers(8, 40), st.integers(8, 40)))
@settings(max_examples=40)
def test_the_source_holds_all_that_a_patch_can_need(rotation: float, low: float, patch: tuple[int, int]) -> None:
    settings = replace(NOTHING, affine_probability=1.0, rotation=rotation, scale=(low, 1.0))
    source = source_shape(patch, settings)
    labels = torch.zeros((1, 1, *source), dtype=torch.uint8)
    rng = np.random.default_rng(0)
    for _ in range(5):
        _, y = augment_geometry(labels.float(), labels, patch, settings, rng)
        assert (y == 0).all()


def test_the_same_generator_gives_the_same_patches() -> None:
    image, labels = batch((40, 40))
    settings = Augmentation(elastic=1.0, blur=1.0)
    first, second = (augment_geometry(image, labels, (24, 24), settings, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    again = [augment_intensity(image, settings, np.random.default_rng(4)) for _ in range(2)]
    assert torch.equal(*again)


def test_stains_are_those_of_scikit_image() -> None:
    np.testing.assert_allclose(STAINS, rgb_from_hed)
    rgb = np.random.default_rng(0).uniform(0.1, 1, (1, 9, 9, 3))
    image = torch.from_numpy(np.moveaxis(rgb, -1, 1).astype(np.float32) * 255)
    settings = replace(NOTHING, stain=0.3)
    ours = augment_stain(image, 255.0, settings, np.random.default_rng(1)).numpy() / 255
    rng = np.random.default_rng(1)
    scale, shift = rng.uniform(0.7, 1.3, (1, 3)), rng.uniform(-0.3, 0.3, (1, 3)) * 0.2
    # scikit-image counts densities in units of −log(1e-6)
    density = separate_stains(rgb, hed_from_rgb) * scale[:, None, None] + shift[:, None, None] / -np.log(1e-6)
    theirs = np.clip(combine_stains(density, rgb_from_hed), 0, 1)
    free = (theirs > 0.05).all(-1) & (separate_stains(rgb, hed_from_rgb) > 0).all(-1)  # it clips negative densities
    assert free.sum() > 5
    np.testing.assert_allclose(np.moveaxis(ours, 1, -1)[free], theirs[free], atol=2e-3)


def test_stain_zero_is_the_identity() -> None:
    image = torch.from_numpy(np.random.default_rng(0).uniform(5, 255, (2, 3, 6, 6)).astype(np.float32))
    out = augment_stain(image, 255.0, NOTHING, np.random.default_rng(0))
    torch.testing.assert_close(out, image, rtol=1e-3, atol=0.05)


def test_blur_is_that_of_scipy() -> None:
    image, _ = batch((20, 24))
    settings = replace(NOTHING, blur=2.0)
    blurred = augment_intensity(image, settings, np.random.default_rng(8))
    rng = np.random.default_rng(8)
    for _ in range(3):
        rng.uniform(size=(2, 1, 1, 1))
    for before, after in zip(image, blurred, strict=True):
        sigma = rng.uniform(0, 2.0) if rng.random() < 0.5 else None
        expected = before[0].numpy()
        if sigma is not None:
            radius = max(1, int(np.ceil(3 * sigma)))
            expected = ndimage.gaussian_filter(expected, sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(after[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["contrast", "brightness", "noise"])
def test_each_intensity_change_is_bounded_by_its_setting(name: str) -> None:
    image = torch.ones(4, 2, 16, 16)
    changed = augment_intensity(image, replace(NOTHING, **{name: 0.1}), np.random.default_rng(0))
    difference = (changed - image).abs()
    assert 0 < difference.mean() <= 0.1
    assert difference.max() <= (0.1 if name != "noise" else 0.6)
