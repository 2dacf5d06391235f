from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alframe.cli import main
from alframe.testing.data import write_histology
from alframe.testing.plugins import installed_plugins

CAMPAIGN = """\
name: tiny
seed: 1
workdir: work
data: {root: data, manifest: manifest.csv, classes: [background, gland], instances: true}
learner: {type: pixels, passes: 2, steps: 20}
strategy: {type: uncertainty, measure: bald, window: 16, stride: 8}
initial: {queries: 2}
batch: 3
oracle: {type: simulated}
budget: {rounds: 2}
runtime: {device: cpu}
"""
ENTRIES = {"alframe.learners": {"pixels": "alframe.testing.pixel_learner:PixelLearner"}}


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A learner without torch, installed as another package would install one; its folder."""
    folder = tmp_path_factory.mktemp("plugins")
    with installed_plugins(folder, "pixels", ENTRIES, {}):
        yield folder / "pixels"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated histology."""
    folder = tmp_path_factory.mktemp("images") / "data"
    write_histology(folder, count=24, size=48, seed=3)
    return folder


@pytest.fixture
def campaign(tmp_path: Path, images: Path, pixels: Path) -> Path:
    """A fresh campaign's YAML, ingested."""
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN.replace("root: data", f"root: {images}"))
    assert main(["ingest", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, images: Path, pixels: Path) -> Path:
    """A campaign that ran to its end; tests only read it."""
    path = tmp_path_factory.mktemp("finished") / "c.yaml"
    path.write_text(CAMPAIGN.replace("root: data", f"root: {images}"))
    assert main(["ingest", str(path)]) == 0
    assert main(["run", str(path)]) == 0
    return path


@pytest.fixture
def spawn(pixels: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command line in a process of its own."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        code = "import sys; from alframe.cli import main; sys.exit(main())"
        variables = os.environ | {"PYTHONPATH": str(pixels), "OMP_NUM_THREADS": "1", "COLUMNS": "120"} | environment
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )

    return start
