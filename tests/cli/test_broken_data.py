"""`alframe ingest` on broken data: every problem by the item's name, exit code 2, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from alframe.cli import main
from alframe.testing.data import write_histology

CAMPAIGN = """\
name: broken
workdir: work
data: {root: data, images: "images/*", masks: "masks/*", classes: [background, gland], instances: INSTANCES}
learner: {type: mc_dropout}
strategy: {type: random, window: 16}
batch: 3
oracle: {type: simulated}
budget: {rounds: 2}
"""
ITEM = "tissue0003"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "data"
    write_histology(folder, count=8, size=48, seed=3)
    (folder / "manifest.csv").unlink()
    return folder


def image(data: Path) -> Path:
    return data / "images" / f"{ITEM}.png"


def mask(data: Path) -> Path:
    return data / "masks" / f"{ITEM}.png"


def other_size(data: Path) -> None:
    Image.new("RGB", (47, 48)).save(image(data))


def unknown_class(data: Path) -> None:
    Image.fromarray(np.full((48, 48), 7, np.uint8)).save(mask(data))


def truncated(data: Path) -> None:
    image(data).write_bytes(image(data).read_bytes()[:200])


def not_an_image(data: Path) -> None:
    image(data).write_text("hello")


def duplicate(data: Path) -> None:
    shutil.copy(image(data), data / "images" / f"{ITEM}.bmp")


def without_mask(data: Path) -> None:
    mask(data).unlink()


def not_a_number(data: Path) -> None:
    image(data).unlink()
    pixels = np.ones((48, 48, 3), np.float32)
    pixels[4, 4] = np.nan
    tifffile.imwrite(image(data).with_suffix(".tif"), pixels, photometric="rgb")


def another_dimension(data: Path) -> None:
    image(data).unlink()
    tifffile.imwrite(image(data).with_suffix(".tif"), np.zeros((5, 48, 48), np.uint8), photometric="minisblack")


def other_channels(data: Path) -> None:
    Image.new("L", (48, 48)).save(image(data))


def bomb(data: Path) -> None:
    Image.new("1", (40_000, 40_000)).save(image(data))


def a_link_elsewhere(data: Path) -> None:
    secret = data.parent / "secret.png"
    image(data).rename(secret)
    image(data).symlink_to(secret)


BREAKAGES = [
    other_size,
    unknown_class,
    truncated,
    not_an_image,
    duplicate,
    without_mask,
    not_a_number,
    another_dimension,
    other_channels,
    bomb,
    a_link_elsewhere,
]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda one: one.__name__)
def test_a_broken_set_is_explained_and_leaves_nothing(
    tmp_path: Path, sound: Path, capsys: pytest.CaptureFixture[str], breakage: Callable[[Path], None]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sound, data)
    breakage(data)
    campaign = tmp_path / "c.yaml"
    campaign.write_text(CAMPAIGN.replace("INSTANCES", str(breakage is not unknown_class).lower()))
    before = sorted(tmp_path.rglob("*"))
    assert main(["ingest", str(campaign)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    line = next(line for line in said.err.splitlines() if ITEM in line)
    assert "expected" in line
    assert "found" in line
    assert sorted(tmp_path.rglob("*")) == before
