"""Plates of raters and model in the report, and the tables of raters."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alframe.campaign import Budget, CampaignLoop
from alframe.metrics import RaterSpec
from alframe.panels import Panel
from alframe.report import raster, render
from alframe.report.plate_rows import read_row, zoom
from alframe.report.plates import _plate, plates
from alframe.report.raters import agreement, confusion, quality
from alframe.report.reading import read_arm
from alframe.runtime import InlineExecutor
from alframe.strategies import Uncertainty
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Box

SPEC = RaterSpec(classes=("background", "blob"), samples=4)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> CampaignLoop:
    """Whole images with three raters' answers, two images and queries a round kept for the report."""
    campaign = small_campaign(
        tmp_path_factory.mktemp("rated"),
        InlineExecutor(),
        pool=blobs(raters=3),
        replicas=3,
        panels=2,
        raters=SPEC,
        strategy=Uncertainty(measure="entropy"),
        batch=2,
        budget=Budget(rounds=2),
    )
    campaign.run()
    return campaign


def figures(campaign: CampaignLoop) -> dict[int, object]:
    parts = campaign.parts
    arm = read_arm(parts.ledger, parts.pool, campaign.name)
    return dict(plates(arm, parts.ledger, parts.artifacts, parts.pool))


def test_a_plate_has_every_part_of_every_image(rated: CampaignLoop) -> None:
    found = figures(rated)
    assert sorted(found) == [1, 2, 3]
    for index, rows in ((1, 4), (2, 4), (3, 2)):
        figure = found[index]
        drawing = str(figure.drawing)
        assert len(figure.table.rows) == rows
        assert [key.name for key in figure.keys] == ["rater0", "rater1", "rater2"]
        for place in range(3):
            assert drawing.count(f'class="rater{place}"') == rows
        assert drawing.count('class="fused"') == rows
        assert drawing.count('class="guessed"') == rows
        # photo; votes, prediction, two variances and six samples; four colour bars below
        assert drawing.count('class="photo"') == rows
        assert drawing.count('class="map"') == rows * (4 + 6) + 4
        assert "share of votes" in drawing
        assert drawing.count(">variance<") == 2


def test_numbers_of_a_plate_are_those_of_its_images(rated: CampaignLoop) -> None:
    from alframe.metrics import raters

    pool = rated.parts.pool
    for title, names, apart, dice, epistemic, aleatoric, blobs_ in figures(rated)[3].table.rows:
        item = title.partition(" ")[0]
        maps = np.stack([pool.truth(item, name).classes for name in names.split(", ")])
        assert apart == pytest.approx(raters.disagreement(maps, classes=2))
        assert 0 < dice <= 1
        assert 0 <= epistemic < aleatoric < 1
        assert blobs_ == ""


def test_the_page_shows_plates_agreement_and_quality(rated: CampaignLoop, tmp_path: Path) -> None:
    parts = rated.parts
    path = render(parts.ledger, parts.artifacts, parts.pool, ["small"], tmp_path / "report.html")
    text = path.read_text()
    assert 'id="campaign-0-raters"' in text
    assert "Raters and model, round 3" in text
    assert "Distance to the raters" in text
    assert "Confusion of the raters" in text
    assert not re.search(r"\sstyle=", text)
    arm = read_arm(parts.ledger, parts.pool, "small")
    assert {figure.title for figure in agreement(arm)} >= {"Distance to the raters", "Variance where raters differ"}


def test_tables_of_raters_hold_the_last_round(rated: CampaignLoop) -> None:
    parts = rated.parts
    arm = read_arm(parts.ledger, parts.pool, "small")
    table = quality(arm)
    assert table is not None
    assert [row[0] for row in table.rows] == ["rater0", "rater1", "rater2"]
    boxes = sum(len(parts.ledger.queries("small", index)) for index in range(3))
    assert {row[1] for row in table.rows} == {float(boxes)}
    cells = confusion(arm, parts.pool.classes)
    assert cells is not None
    for row in cells.rows:
        assert sum(row[3:]) == pytest.approx(100.0)  # type: ignore[arg-type]


def test_without_panels_or_raters_there_is_no_such_section(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, InlineExecutor(), budget=Budget(rounds=1))
    campaign.run()
    parts = campaign.parts
    path = render(parts.ledger, parts.artifacts, parts.pool, ["small"], tmp_path / "report.html")
    assert "campaign-0-raters" not in path.read_text()


def test_volumes_show_one_slice_and_one_pass_has_no_epistemic_map(tmp_path: Path) -> None:
    campaign = small_campaign(
        tmp_path,
        InlineExecutor(),
        pool=blobs(axes=3, raters=2),
        replicas=2,
        panels=1,
        learner=PixelLearner(passes=1),
        strategy=Uncertainty(measure="entropy", window=(4, 9, 9), stride=4),
        budget=Budget(rounds=1),
    )
    campaign.run()
    found = figures(campaign)[1]
    assert "slice" in str(found.table.rows[0][0])
    assert "one pass only" in str(found.drawing)
    assert found.table.rows[0][4] is None


def test_a_long_campaign_gets_a_bounded_number_of_plates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alframe.report.plates.PLATES", 2)
    campaign = small_campaign(tmp_path, InlineExecutor(), panels=1, batch=1, initial=1, budget=Budget(rounds=3))
    campaign.run()
    assert sorted(figures(campaign)) == [1, 4]


def test_a_view_is_a_square_around_all_that_matters_and_inside_the_plane() -> None:
    plane = Box(start=(10, 20), stop=(74, 120))

    def view(*points: tuple[int, int]) -> Box:
        interesting = np.zeros(plane.shape, bool)
        for y, x in points:
            interesting[y, x] = True
        return zoom(interesting, plane)

    assert view() == plane  # nothing to see
    assert view((0, 0), (63, 99)) == plane  # all of it matters
    assert view((30, 50)) == Box(start=(10 + 18, 20 + 38), stop=(10 + 42, 20 + 62))
    corner = view((0, 0), (1, 1))
    assert corner == Box(start=plane.start, stop=(34, 44))
    wide = view((10, 0), (10, 39))
    assert wide.shape == (64, 68)  # cut to the plane's height


def test_the_largest_blobs_are_numbered_with_their_confidence(rated: CampaignLoop) -> None:
    parts = rated.parts
    arm = read_arm(parts.ledger, parts.pool, "small")
    stored = parts.ledger.artifacts("small", 3)
    panel = Panel.from_arrays(parts.artifacts.get_arrays(next(ref for key, ref in stored.items() if "panel/" in key)))
    numbers = np.zeros(panel.arrays["samples"].shape[1:], np.int32)
    for number, side in enumerate((1, 4, 2, 3)):
        numbers[5 : 5 + side, 6 * number : 6 * number + side] = number + 1
    found = {"blobs": numbers, "blob_logit": np.array([9.0, 0.0, np.log(3.0), np.log(9.0)])}
    row = replace(
        read_row(panel, arm, 3, parts.artifacts, parts.pool), panel=replace(panel, arrays=panel.arrays | found)
    )
    figure = _plate(arm, 3, [row], 1.0)
    assert re.findall(r'class="blob"[^>]*>([^<]+)<', str(figure.drawing)) == ["0.50", "0.90", "0.75"]  # by size
    assert figure.table.rows[0][-1] == "1.00, 0.50, 0.75, 0.90"
    assert "sigmoid(mean logit / 1)" in figure.note
    for temperature, words in ((None, "no confidence"), (1e4, "outweigh")):
        none = _plate(arm, 3, [row], temperature)
        assert 'class="blob"' not in str(none.drawing)
        assert words in none.note


def test_the_caption_says_who_drew_nothing(rated: CampaignLoop) -> None:
    parts = rated.parts
    arm = read_arm(parts.ledger, parts.pool, "small")
    stored = parts.ledger.artifacts("small", 3)
    panel = Panel.from_arrays(parts.artifacts.get_arrays(next(ref for key, ref in stored.items() if "panel/" in key)))
    row = read_row(panel, arm, 3, parts.artifacts, parts.pool)
    assert "nothing drawn" not in row.caption
    assert row.apart is not None
    empty = replace(row, drawn=dict(row.drawn) | {"rater1": np.zeros_like(row.drawn["rater1"])})
    assert empty.caption.endswith("nothing drawn by rater1")
    assert empty.apart > row.apart  # type: ignore[operator]


@pytest.mark.parametrize("make", [raster.grey, lambda values: raster.coloured(values, 1.0)])
def test_pictures_of_maps_have_as_many_levels_as_they_say(make) -> None:
    import base64
    import io

    from PIL import Image

    ramp = np.tile(np.linspace(-0.5, 1.5, 400), (3, 1))
    image = Image.open(io.BytesIO(base64.b64decode(make(ramp).partition(",")[2]))).convert("RGB")
    pixels = np.asarray(image, np.int64)
    assert pixels.shape == (3, 400, 3)
    assert len(np.unique(pixels[0], axis=0)) == 64
    brightness = pixels[0].sum(axis=1)
    assert (np.diff(brightness) >= 0).all()
    assert (brightness[:100] == brightness[0]).all()  # below 0 is as 0
