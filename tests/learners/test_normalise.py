"""Normalisation against NumPy, for the types that images come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.errors import NonFiniteError
from alframe.learners.normalise import intensity_affine, white_level


def image(dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(90, 30, (2, 7, 9)).clip(0, 255).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_zscore_gives_each_channel_mean_0_and_deviation_1(dtype: str) -> None:
    pixels = image(dtype)
    out = intensity_affine(pixels, "zscore").apply(pixels)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535)])
def test_the_range_of_unsigned_integers_is_that_of_their_type(dtype: str, white: int) -> None:
    pixels = np.array([[[0, white // 2, white]]], dtype)
    assert white_level(pixels.dtype) == white
    np.testing.assert_allclose(intensity_affine(pixels, "range").apply(pixels), [[[-1, 0, 1]]], atol=0.01)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_range_of_other_types_is_the_images_own(dtype: str) -> None:
    pixels = image(dtype) - 1000
    assert white_level(pixels.dtype) is None
    out = intensity_affine(pixels, "range").apply(pixels)
    assert out.min() == pytest.approx(-1, abs=1e-5)
    assert out.max() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", ["range", "zscore"])
@given(value=st.floats(-1e4, 1e4))
def test_a_constant_image_is_only_shifted(method: str, value: float) -> None:
    pixels = np.full((1, 4, 4), value, np.float32)
    out = intensity_affine(pixels, method).apply(pixels)  # type: ignore[arg-type]
    np.testing.assert_allclose(out, 0, atol=0.05)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_zscore_does_not_see_the_scale_of_a_scanner(scale: float) -> None:
    pixels = image("float32")
    base = intensity_affine(pixels, "zscore").apply(pixels)
    scaled = pixels * np.float32(scale)
    np.testing.assert_allclose(intensity_affine(scaled, "zscore").apply(scaled), base, atol=1e-4)


def test_a_crop_is_normalised_like_its_image() -> None:
    pixels = image("uint8")
    affine = intensity_affine(pixels, "zscore")
    np.testing.assert_array_equal(affine.apply(pixels[:, 2:5, 3:]), affine.apply(pixels)[:, 2:5, 3:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["range", "zscore"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_is_an_error(method: str, bad: float) -> None:
    pixels = image("float32")
    pixels[0, 3, 3] = bad
    with pytest.raises(NonFiniteError):
        intensity_affine(pixels, method)  # type: ignore[arg-type]
