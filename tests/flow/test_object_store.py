"""One YAML, whatever keeps its data: files and SQLite, or S3 and PostgreSQL, give the same queries and the same digest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alframe import compose, config
from alframe.errors import NotFound
from alframe.storage.objects import ObjectFolder
from alframe.testing.data import write_histology
from alframe.testing.plugins import installed_plugins

CAMPAIGN = """\
name: flow
seed: 4
data: {root: data, images: "images/*.png", masks: "masks/*.png", classes: [background, gland], instances: true}
learner: {type: pixels, passes: 2, steps: 20}
strategy: {type: uncertainty, measure: bald, window: 16, stride: 8}
initial: {queries: 2}
batch: 3
oracle: {type: simulated}
budget: {rounds: 2}
runtime: {device: cpu}
"""
ENTRIES = {"alframe.learners": {"pixels": "alframe.testing.pixel_learner:PixelLearner"}}
COUNT = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with images, and a learner of a second."""
    made = tmp_path_factory.mktemp("flow")
    write_histology(made / "data", count=20, size=48, seed=3)
    with installed_plugins(made / "plugins", "pixels", ENTRIES, {}):
        yield made


def _run(folder: Path, name: str, lines: str) -> tuple[str, list[object]]:
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN + f"workdir: runs/{name}\n" + lines)
    settings = config.load(path)
    compose.ingest(settings)
    with compose.open_campaign(settings) as campaign, closing(campaign.parts.ledger):  # type: ignore[type-var]
        assert campaign.run().status == "done"
        return campaign.digest(), [(query.item, query.box) for query in campaign.parts.ledger.queries("flow")]


@pytest.fixture(scope="module")
def embedded(folder: Path) -> tuple[str, list[object]]:
    """What the defaults give."""
    return _run(folder, "embedded", "")


def test_pool_and_store_in_s3_change_nothing(folder: Path, embedded: tuple[str, list[object]], s3: str) -> None:
    place = f"{s3}/flow-{next(COUNT)}"
    assert _run(folder, "objects", f"pool: {place}/pool\nstore: {place}/store\n") == embedded
    assert len(embedded[1]) == 2 + 2 * 3
    assert sorted(entry.name for entry in (folder / "runs" / "objects").iterdir() if entry.is_dir()) == []
    kinds = {status.key.split("/")[0] for status in ObjectFolder(f"{place}/store").listing()}
    assert {"checkpoint", "mask", "scores"} <= kinds


@pytest.mark.postgres
def test_with_postgresql_and_s3_together(
    folder: Path, embedded: tuple[str, list[object]], s3: str, postgres_url: str
) -> None:
    place = f"{s3}/flow-{next(COUNT)}"
    lines = f"ledger: {postgres_url}\npool: {place}/pool\nstore: {place}/store\n"
    assert _run(folder, "servers", lines) == embedded
    assert list((folder / "runs" / "servers").rglob("*")) == []


def test_file_addresses_are_folders(folder: Path, embedded: tuple[str, list[object]], tmp_path: Path) -> None:
    lines = f"pool: file://{tmp_path}/pool\nstore: file://{tmp_path}/store\n"
    assert _run(folder, "file", lines) == embedded
    assert (tmp_path / "pool" / "manifest.json").is_file()
    assert (tmp_path / "store" / "mask").is_dir()


def test_a_campaign_without_its_pool_says_what_to_do(folder: Path, s3: str) -> None:
    path = folder / "none.yaml"
    path.write_text(CAMPAIGN + f"workdir: runs/none\npool: {s3}/flow-none\n")
    with pytest.raises(NotFound, match="alframe ingest"):
        compose.open_campaign(config.load(path))
