"""Recorded campaigns that the report's tests read, and the page they give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alframe.report import render
from alframe.strategies import Random, Uncertainty
from alframe.testing import fake_campaign
from alframe.testing.fake_campaign import Recorded


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Two arms on two-dimensional images with instances."""
    arms = {
        "region-bald": Uncertainty(measure="bald", window=(16, 16), stride=8),
        "region-random": Random(window=(16, 16), stride=8),
    }
    home = fake_campaign.record(
        tmp_path_factory.mktemp("slides"), fake_campaign.glands(16, 48), arms, rounds=3, batch=5
    )
    yield home
    home.ledger.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """One arm on volumes of two classes, without instances."""
    arms = {"boxes": Uncertainty(measure="entropy", window=(6, 8, 8), stride=4)}
    pool = fake_campaign.volumes(8, (12, 20, 20))
    home = fake_campaign.record(tmp_path_factory.mktemp("scans"), pool, arms, rounds=2, batch=4)
    yield home
    home.ledger.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def page(slides: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the first arm."""
    return render(
        slides.ledger, slides.artifacts, slides.pool, slides.names[:1], tmp_path_factory.mktemp("one") / "report.html"
    )


@pytest.fixture(scope="session")
def comparison(slides: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of both arms."""
    return render(
        slides.ledger, slides.artifacts, slides.pool, slides.names, tmp_path_factory.mktemp("two") / "report.html"
    )


@pytest.fixture(scope="session")
def volumes_page(scans: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the three-dimensional campaign."""
    return render(
        scans.ledger, scans.artifacts, scans.pool, scans.names, tmp_path_factory.mktemp("vol") / "report.html"
    )
