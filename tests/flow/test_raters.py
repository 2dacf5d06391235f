"""Campaigns whose images have several raters: what each round records of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alframe import integrity
from alframe.campaign import Budget
from alframe.jobs import fused_truth
from alframe.metrics import RaterSpec, fuse, raters
from alframe.oracles import Simulated
from alframe.runtime import InlineExecutor
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import LabelMap, Split

SPEC = RaterSpec(classes=("background", "blob"), samples=6)


def rows(campaign, round: int, scope: str) -> dict[tuple[str, str, str], float | None]:
    found = campaign.parts.ledger.metrics(campaign.name)
    return {(m.name, m.label, m.statistic): m.value for t, m in found if (t, m.scope) == (round, scope)}


def test_each_round_compares_its_model_with_every_rater(tmp_path: Path) -> None:
    pool = blobs(raters=3)
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, budget=Budget(rounds=1), replicas=3, raters=SPEC)
    campaign.run()
    for scope in ("test", "val"):
        for round in (1, 2):
            found = rows(campaign, round, scope)
            assert 0 <= found["ged", "", "pooled"] < 1
            assert found["ncc", "", "pooled"] > 0
            assert {label for name, label, _ in found if name == "rater_nll"} == {"", "rater0", "rater1", "rater2"}
    assert not any(name == "ged" for name, *_ in rows(campaign, 0, "test"))
    assert not any(name == "ged" for name, *_ in rows(campaign, 1, "pool"))
    cost = rows(campaign, 2, "campaign")
    assert cost["rated_pixels", "", "pooled"] == 3 * cost["annotated_pixels", "", "pooled"]
    assert cost["answers", "", "pooled"] == 3 * cost["queries", "", "pooled"]


def test_the_recorded_distance_is_that_of_the_stored_model(tmp_path: Path) -> None:
    pool = blobs(raters=3)
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, budget=Budget(rounds=1), raters=SPEC)
    campaign.run()
    ledger, parts = campaign.parts.ledger, campaign.parts
    from alframe.jobs import Model

    stored = ledger.artifacts(campaign.name, 2)
    model = Model(
        learner=parts.learner,
        artifacts=parts.artifacts,
        checkpoints=(stored["member/0"],),
        compute=parts.compute,
        seed=campaign.settings.seed,
        round=2,
    )
    expected = []
    for info in pool.items(Split.TEST):
        drawn = raters.segmentations(model.samples(pool, info.id, SPEC.samples))
        truth = np.stack([pool.truth(info.id, rater).classes for rater in info.raters])
        expected.append(raters.energy_distance(drawn, truth, classes=2)[0])
    assert rows(campaign, 2, "test")["ged", "", "pooled"] == pytest.approx(np.mean(expected), abs=1e-9)


def test_replay_and_fsck_know_the_sums_of_raters(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=blobs(raters=2), budget=Budget(rounds=1), raters=SPEC)
    campaign.run()
    parts = campaign.parts
    replayed = integrity.replay(campaign.settings, parts, metrics=True)
    assert replayed.clean, replayed.findings
    checked = integrity.check(parts.ledger, parts.artifacts, parts.pool, campaign.name)
    assert checked.clean, checked.findings


def test_truth_is_fused_by_majority_or_staple() -> None:
    rng = np.random.default_rng(0)
    base = np.zeros((20, 20), bool)
    base[5:15, 5:15] = True
    maps = {f"r{n}": LabelMap(classes=(base ^ (rng.random(base.shape) < 0.02 * n)).astype(np.uint8)) for n in range(4)}
    pool = MemoryPool([pool_item("a", np.zeros((1, 20, 20), np.uint8), maps)])
    stack = np.stack([one.classes for one in maps.values()])
    for how in ("majority", "staple"):
        expected, as_asked = fuse(stack, classes=2, how=how)
        assert as_asked
        assert np.array_equal(fused_truth(pool, "a", how).classes, expected)


def test_a_random_one_of_four_raters_answers(tmp_path: Path) -> None:
    pool = blobs(raters=4)
    oracle = Simulated(rater="random").bind(pool)
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, oracle=oracle, batch=8, budget=Budget(rounds=1))
    campaign.run()
    given = campaign.parts.ledger.answers(campaign.name)
    assert len({answer.rater for answer in given}) > 1
    assert len(given) == len({answer.query for answer in given})


def test_raters_who_share_images_are_judged_and_the_last_round_is_what_is_known(tmp_path: Path) -> None:
    pool = blobs(raters=3)
    campaign = small_campaign(tmp_path, InlineExecutor(), pool=pool, budget=Budget(rounds=2), replicas=3)
    campaign.run()
    ledger = campaign.parts.ledger
    asked = {t: sum(query.replicas for query in ledger.queries("small", t)) for t in range(3)}
    for index in range(3):
        cells = [one for t, one in ledger.confusions("small") if t == index]
        assert {one.rater for one in cells} == {"rater0", "rater1", "rater2"}
        found = {(m.name, m.label): m.value for t, m in ledger.metrics("small") if (t, m.scope) == (index, "raters")}
        assert found["shared_boxes", "rater1"] == sum(asked[t] for t in range(index + 1)) / 3
        # rater1 draws between the other two, who are tied wherever they differ
        disputed = sum(one.pixels for one in cells if one.rater == "rater1" and one.agreed != one.chosen)
        assert disputed == 0
        assert found["agreement", "rater1"] == 1.0
        assert found["agreement", "rater2"] < 1.0


def test_raters_who_share_nothing_are_not_judged(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, InlineExecutor(), budget=Budget(rounds=1))
    campaign.run()
    assert campaign.parts.ledger.confusions("small") == ()
    assert not any(metric.scope == "raters" for _, metric in campaign.parts.ledger.metrics("small"))
