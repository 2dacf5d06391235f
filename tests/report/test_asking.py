"""Why a query went to whom it went: the reasons in the report are those of the policy, from the ledger alone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from alframe.campaign import Budget, CampaignLoop
from alframe.report import render
from alframe.report.asking import Asked, asked, by_round, latest
from alframe.report.reading import Arm, read_arm
from alframe.report.selection import galleries
from alframe.runtime import InlineExecutor
from alframe.strategies import Uncertainty
from alframe.strategies.opinions import Opinions
from alframe.testing.campaigns import blobs, small_campaign

POLICY = Opinions(first="need", again=2, most=3, closeness=0.3, then="quality", trial=1)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> CampaignLoop:
    one = small_campaign(
        tmp_path_factory.mktemp("asked"),
        InlineExecutor(),
        pool=blobs(raters=3),
        opinions=POLICY,
        strategy=Uncertainty(measure="entropy"),
        initial=3,
        budget=Budget(rounds=3),
    )
    one.run()
    return one


def arm_of(campaign: CampaignLoop) -> Arm:
    arm = read_arm(campaign.parts.ledger, campaign.parts.pool, campaign.name)
    return replace(arm, settings={"raters": asdict(POLICY)})


def rows_of(campaign: CampaignLoop) -> list[Asked]:
    return asked(arm_of(campaign), campaign.parts.artifacts, 2)


def test_every_query_has_its_reason_and_its_numbers_are_true(campaign: CampaignLoop) -> None:
    rows, ledger = rows_of(campaign), campaign.parts.ledger
    assert [row.query.id for row in rows] == [query.id for query in ledger.queries("small")]
    answers, quality = ledger.answers("small"), Counter[str]()
    judged = {(t, m.label, m.name): m.value for t, m in ledger.metrics("small") if m.scope == "raters"}
    for row in rows:
        (name,) = row.query.raters
        placed = [one for one in rows if one.round == row.round and bool(one.before) == bool(row.before)]
        batch = Counter(one.query.raters[0] for one in placed[: placed.index(row)])
        load = Counter(one.rater for one in answers if one.round < row.round) + batch
        if not row.before:
            assert row.why == f"fewest answers ({load[name]})"
            assert load[name] == min(load[rater] for rater in ("rater0", "rater1", "rater2"))
            assert row.box.startswith("new, score")
            continue
        boxes = judged.get((row.round - 1, name, "shared_boxes"), 0)
        quality[row.why.partition(" ")[0]] += 1
        if boxes < POLICY.trial:
            assert row.why == f"on trial ({boxes:g} of 1 shared boxes), fewest answers ({load[name]})"
        else:
            agreement = judged[row.round - 1, name, "agreement"]
            assert row.why == f"agrees best with the others ({agreement:.2f})"
    assert set(quality) == {"on", "agrees"}


def test_other_opinions_are_compared_with_those_before(campaign: CampaignLoop) -> None:
    rows, pool = rows_of(campaign), campaign.parts.pool
    again = [row for row in rows if row.before]
    assert again
    for row in again:
        assert row.query.raters[0] not in row.before
        assert row.box.endswith("labelled by " + ", ".join(row.before))
        maps = {name: pool.truth(row.query.item, name).classes == 1 for name in (*row.before, row.query.raters[0])}
        if len(row.before) == 1:
            old, new = maps[row.before[0]], maps[row.query.raters[0]]
            assert row.apart == pytest.approx(1 - 2 * np.sum(old & new) / (old.sum() + new.sum()))
    assert all(row.apart is None for row in rows if not row.before)


def test_cards_say_who_was_asked_and_that_it_is_another_opinion(campaign: CampaignLoop, tmp_path: Path) -> None:
    parts = campaign.parts
    words = {
        row.query.id: ("another opinion: " if row.before else "for ") + row.query.raters[0] for row in rows_of(campaign)
    }
    shown = galleries(arm_of(campaign), parts.artifacts, parts.pool)
    assert [card.asked for gallery in shown for card in gallery.cards] == list(words.values())
    text = render(parts.ledger, parts.artifacts, parts.pool, ["small"], tmp_path / "report.html").read_text()
    assert set(words.values()) <= set(re.findall("<span>((?:for|another) [^<]+)</span>", text))
    assert "Whom the rounds asked" in text


def test_the_tables_add_up(campaign: CampaignLoop) -> None:
    rows = rows_of(campaign)
    table, listed = by_round(rows), latest(rows)
    assert table is not None
    assert listed is not None
    assert sum(row[1] + row[2] for row in table.rows) == len(rows)  # type: ignore[operator]
    given = Counter(one.rater for one in campaign.parts.ledger.answers("small"))
    assert {name: sum(row[5 + n] for row in table.rows) for n, name in enumerate(sorted(given))} == given  # type: ignore[misc]
    assert len(listed.rows) == len(rows)
    many = latest(rows * 10)
    assert many is not None
    assert len(many.rows) == 30
    assert re.search(r"the latest 30 of \d+$", many.title)


def test_without_names_there_is_nothing_to_explain(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, InlineExecutor(), budget=Budget(rounds=1))
    campaign.run()
    rows = rows_of(campaign)
    assert rows == []
    assert by_round(rows) is None
    assert latest(rows) is None
