"""Predictions with a known shape, and a way to look one number up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.types import LabelMap, Metric

Case = tuple[NDArray[np.float64], LabelMap]
Draw = Callable[..., Case]
Look = Callable[..., float]


@pytest.fixture
def draw() -> Draw:
    """A random prediction (C, S) and a truth that follows it loosely, with a share of pixels not annotated."""

    def make(seed: int, *, classes: int = 3, shape: Sequence[int] = (24, 31), ignored: float = 0.1) -> Case:
        random = np.random.default_rng(seed)
        logits = random.normal(size=(classes, *shape)) * 2.5
        p = np.exp(logits) / np.exp(logits).sum(axis=0)
        truth = (p**0.7 / (p**0.7).sum(axis=0)).cumsum(axis=0) < random.random(shape)
        label = truth[:-1].sum(axis=0).astype(np.uint8)
        label[random.random(shape) < ignored] = 255
        return p, LabelMap(classes=label)

    return make


@pytest.fixture
def look() -> Look:
    """The value of one metric among many; fails when it is absent, ambiguous or undefined."""

    def find(metrics: Sequence[Metric], name: str, *, label: str = "", statistic: str = "pooled") -> float:
        found = [m for m in metrics if (m.name, m.label, m.statistic) == (name, label, statistic)]
        assert len(found) == 1, f"{name}/{label}/{statistic} occurs {len(found)} times"
        assert found[0].value is not None, f"{name}/{label}/{statistic} is undefined"
        return found[0].value

    return find


@pytest.fixture
def glas_masks() -> list[tuple[str, NDArray[np.int32]]]:
    """Some object maps of the GlaS test set."""
    import imageio.v3 as iio

    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("ALFRAME_DATA", default)) / "glas" / "masks"
    paths = sorted(folder.glob("test*.png"))[:12]
    if not paths:
        pytest.skip(f"no GlaS masks in {folder}; set ALFRAME_DATA to the folder that holds glas/")
    return [(path.stem, np.asarray(iio.imread(path)).astype(np.int32)) for path in paths]
