"""What each round keeps for the report: a bounded number of images, the same in every round, found again by fsck."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alframe import integrity
from alframe.campaign import Budget, CampaignLoop
from alframe.errors import InvalidValue
from alframe.learners import StochasticEnsemble, Training, UNet
from alframe.panels import SAMPLES, Panel
from alframe.runtime import InlineExecutor
from alframe.strategies import Uncertainty
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Split


def panels(campaign: CampaignLoop, index: int) -> list[Panel]:
    stored = campaign.parts.ledger.artifacts("small", index)
    refs = [ref for key, ref in stored.items() if key.startswith("panel/")]
    return [Panel.from_arrays(campaign.parts.artifacts.get_arrays(ref)) for ref in refs]


@pytest.mark.parametrize("axes", [2, 3])
def test_test_images_and_queries_are_kept_and_no_more_than_asked_for(tmp_path: Path, axes: int) -> None:
    pool = blobs(raters=2, axes=axes)
    window = 9 if axes == 2 else (5, 9, 9)
    campaign = small_campaign(
        tmp_path,
        InlineExecutor(),
        pool=pool,
        panels=2,
        strategy=Uncertainty(measure="entropy", window=window, stride=5),
        budget=Budget(rounds=2),
    )
    campaign.run()
    assert panels(campaign, 0) == []  # no model yet
    shown = {index: panels(campaign, index) for index in (1, 2, 3)}
    for index, kept in shown.items():
        of_test = [panel.job.item for panel in kept if not panel.job.query]
        assert of_test == [panel.job.item for panel in shown[1] if not panel.job.query]
        assert {pool.info(item).split for item in of_test} == {Split.TEST}
        assert len(of_test) == 2
        queries = {query.id: query for query in campaign.parts.ledger.queries("small", index)}
        asked = [panel for panel in kept if panel.job.query]
        assert len(asked) == (2 if index < 3 else 0)
        for panel in asked:
            assert (panel.job.item, panel.job.box) == (queries[panel.job.query].item, queries[panel.job.query].box)
        for panel in kept:
            plane = panel.job.box.shape[-2:]
            assert panel.arrays["mean"].shape == (2, *plane)
            assert panel.arrays["samples"].shape == (SAMPLES, *plane)
            assert panel.arrays["epistemic"].shape == panel.arrays["aleatoric"].shape == plane
            assert panel.arrays["epistemic"].min() >= 0
            if axes == 3:
                assert panel.job.box.start[0] <= panel.plane < panel.job.box.stop[0]


def test_the_maps_are_those_of_the_rounds_model(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, InlineExecutor(), panels=1, budget=Budget(rounds=1))
    campaign.run()
    (query,) = (query for query in campaign.parts.ledger.queries("small", 1) if query.rank == 0)
    assert query.prefill is not None
    prefill = campaign.parts.artifacts.get_arrays(query.prefill)
    (panel,) = (panel for panel in panels(campaign, 1) if panel.job.query)
    np.testing.assert_allclose(panel.arrays["mean"].astype(np.float32), prefill["mean"], atol=1e-3)


def test_panels_change_no_decision_and_are_made_again_by_repair(tmp_path: Path) -> None:
    plain = small_campaign(tmp_path / "plain", InlineExecutor(), budget=Budget(rounds=1))
    plain.run()
    campaign = small_campaign(tmp_path / "kept", InlineExecutor(), panels=3, budget=Budget(rounds=1))
    campaign.run()
    assert campaign.digest() == plain.digest()
    parts = campaign.parts
    assert integrity.replay(campaign.settings, parts, metrics=True).clean
    for path in (tmp_path / "kept" / "artifacts" / "panel").rglob("*"):
        if path.is_file():
            path.unlink()
    report = integrity.check(parts.ledger, parts.artifacts, parts.pool, "small")
    assert {finding.code for finding in report.findings} == {"missing"}
    repaired = integrity.repair(campaign.settings, parts, report)
    assert {finding.outcome for finding in repaired.findings} == {"repaired"}
    assert integrity.check(parts.ledger, parts.artifacts, parts.pool, "small").clean


def test_one_pass_has_no_epistemic_part(tmp_path: Path) -> None:
    campaign = small_campaign(
        tmp_path, InlineExecutor(), panels=1, learner=PixelLearner(passes=1), budget=Budget(rounds=1)
    )
    campaign.run()
    assert all("epistemic" not in panel.arrays for panel in panels(campaign, 1))
    with pytest.raises(InvalidValue, match="panels"):
        small_campaign(tmp_path / "wrong", InlineExecutor(), panels=-1)


@pytest.mark.slow
def test_blobs_and_their_confidence_are_kept_of_learners_that_have_them(tmp_path: Path) -> None:
    learner = StochasticEnsemble(
        network=UNet(features=(4, 8), dropout=0.0),
        sizes=(16, 28),
        copies=2,
        training=Training(steps=60, batch_size=4, learning_rate=1e-2, validate_every=60, contour_weight=0.0),
    )
    campaign = small_campaign(
        tmp_path,
        InlineExecutor(),
        panels=2,
        learner=learner,
        strategy=Uncertainty(measure="entropy"),
        initial=6,
        budget=Budget(rounds=1),
    )
    campaign.run()
    kept = panels(campaign, 2)
    for panel in kept:
        numbers, logit = panel.arrays["blobs"], panel.arrays["blob_logit"]
        assert numbers.shape == panel.job.box.shape
        assert int(numbers.max()) == len(logit)
        assert (logit > 0).all()
    assert any(len(panel.arrays["blob_logit"]) for panel in kept)
    found = {m.name: m.value for t, m in campaign.parts.ledger.metrics("small") if t == 2 and m.scope == "val"}
    assert found["blob_temperature"] > 0
    assert "blob_auroc" in found
