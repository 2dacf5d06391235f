"""What the page says, against what the ledger holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from alframe.errors import InvalidValue, NotFound
from alframe.report import render
from alframe.report.costs import allowances, by_class, cost
from alframe.report.costs import comparison as compared
from alframe.report.curves import BRIER_PARTS, decomposition, gaps, reliability
from alframe.report.fitting import training
from alframe.report.reading import read_arm
from alframe.strategies import Random, RandomForeground, Uncertainty
from alframe.testing.fake_campaign import Recorded, describe, glands, open_campaign, record
from alframe.types import ArtifactRef, Metric, Phase


class Elements(HTMLParser):
    """All start tags with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.raw:
            self.raw[self._inside].append(data)


def embedded(page: Path) -> list[dict[str, object]]:
    found = re.search(r'<script type="application/json" id="alframe-data">(.*?)</script>', page.read_text(), re.S)
    assert found
    data: list[dict[str, object]] = json.loads(found[1])
    return data


def test_it_refers_to_nothing_outside_itself(comparison: Path, volumes_page: Path) -> None:
    for page in (comparison, volumes_page):
        for tag, attributes in Elements(page.read_text()).tags:
            for name, value in attributes.items():
                if name in ("src", "href", "srcset", "action", "data", "poster"):
                    assert value is not None
                    assert value.startswith(("#", "data:")), (tag, name, value)
            assert "style" not in attributes  # the policy would refuse it
            assert not [name for name in attributes if name.startswith("on")]
        assert "url(" not in page.read_text()
        assert "@import" not in page.read_text()


def test_the_policy_allows_exactly_the_inline_style_and_script(page: Path) -> None:
    elements = Elements(page.read_text())
    policy = next(a["content"] for t, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    for kind, text in (("style", "".join(elements.raw["style"])), ("script", elements.raw["script"][-1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_every_metric_and_bin_of_the_ledger_is_in_the_embedded_data(slides: Recorded, comparison: Path) -> None:
    found = embedded(comparison)
    assert [one["campaign"] for one in found] == list(slides.names)
    for name, one in zip(slides.names, found, strict=True):
        stored = [
            [r, m.scope, m.name, m.label, m.statistic, m.value, m.convention] for r, m in slides.ledger.metrics(name)
        ]
        assert one["metrics"] == stored
        bins = [[r, b.scope, b.lower, b.upper, b.count, b.confidence, b.correct] for r, b in slides.ledger.bins(name)]
        assert one["bins"] == bins


def test_every_figure_has_a_title_axes_words_and_its_numbers(comparison: Path) -> None:
    text = comparison.read_text()
    figures = re.findall(r"<figure.*?</figure>", text, re.S)
    assert len(figures) > 20
    for figure in figures:
        title = re.search(r'<h4 id="([^"]+)">[^<]+</h4>', figure)
        assert title
        assert f'aria-labelledby="{title[1]}"' in figure
        assert re.search(r'<svg [^>]*role="img"[^>]*aria-label="[^"]{20,}"', figure)
        assert 'class="axis"' in figure
        assert re.search(r"<details.*<table.*<td", figure, re.S)
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))


def test_models_stand_at_the_pixels_they_were_trained_on(slides: Recorded) -> None:
    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    training = sum(info.size for info in slides.pool.items() if info.split == "train")
    for index, share in arm.trained_share().items():
        pixels = {(a.item, y, x) for a in slides.ledger.answers(arm.name, before_round=index) if a.mask
                  for y in range(a.box.start[0], a.box.stop[0]) for x in range(a.box.start[1], a.box.stop[1])}  # fmt: skip
        assert share == pytest.approx(100 * len(pixels) / training)


def test_the_cost_adds_up_to_the_union_of_all_answers(slides: Recorded) -> None:
    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    table = cost(arm)
    assert table is not None
    pixels = {(a.item, y, x) for a in arm.answers if a.mask
              for y in range(a.box.start[0], a.box.stop[0]) for x in range(a.box.start[1], a.box.stop[1])}  # fmt: skip
    total = dict(zip(table.columns, table.rows[-1], strict=True))
    assert total["new pixels"] == len(pixels) == arm.spent()["pixels"]
    assert total["queries"] == len(slides.ledger.queries(arm.name)) == arm.spent()["queries"]
    assert total["rater's seconds"] == pytest.approx(sum(a.seconds or 0 for a in arm.answers))
    rounds = next(one for one in allowances(arm) if one.name == "rounds")
    assert (rounds.used, rounds.limit, rounds.left, rounds.percent) == ("3", "3", "0", 100.0)


def test_the_drawn_terms_of_the_brier_score_add_up_to_it(slides: Recorded) -> None:
    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    for index, total in arm.series("brier").items():
        assert sum(sign * arm.series(name)[index] for name, _, _, sign in BRIER_PARTS) == pytest.approx(total, abs=1e-6)
    figure = decomposition(arm)
    assert figure is not None
    assert figure.drawing.count("mark total") == len(arm.series("brier"))


def test_gaps_and_diagrams_show_every_measured_round(slides: Recorded) -> None:
    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    for figure in gaps(arm):
        for row in figure.table.rows:
            index, test, acquired, gap = row
            assert isinstance(index, int)
            assert gap == pytest.approx(float(acquired or 0) - float(test or 0))
        assert len(figure.table.rows) == len(arm.series("ece", "acquired"))
    shown = {index: len(figures) for index, figures in reliability(arm)}
    scopes = {index: len({one.scope for at, one in arm.bins if at == index}) for index, _ in arm.bins}
    assert shown == scopes
    classes = by_class(arm)
    assert classes is not None
    assert [row[0] for row in classes.rows] == list(slides.pool.classes)


def test_every_query_that_fits_the_limit_has_a_card_with_its_layers(slides: Recorded, page: Path) -> None:
    text = page.read_text()
    queries = slides.ledger.queries(slides.names[0])
    answered = {answer.query for answer in slides.ledger.answers(slides.names[0]) if answer.mask}
    assert text.count('class="thumb"') == len(queries)
    assert text.count('class="layer-heat"') == sum(query.prefill is not None for query in queries)
    assert text.count('class="case layer-truth"') == len(answered)
    assert text.count("data:image/jpeg") == len(queries)


def test_volumes_show_the_middle_slice_in_the_proportions_of_their_spacing(scans: Recorded, volumes_page: Path) -> None:
    text = volumes_page.read_text()
    assert text.count('class="thumb"') == len(scans.ledger.queries(scans.names[0]))
    assert re.search(r"Z \d+–\d+ · Y \d+–\d+ · X \d+–\d+", text)
    assert "Object F1" not in text


def test_hostile_names_and_reasons_are_text(slides: Recorded, tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"

    class Bent:
        """The recorded ledger, with hostile words wherever a person could write them."""

        def __getattr__(self, name: str) -> object:
            return getattr(slides.ledger, name)

        def campaign(self, name: str) -> object:
            return replace(
                slides.ledger.campaign(name), reason=bad, config=f"name: x\nnote: '{bad}'\n", status="failed"
            )

        def answers(self, name: str) -> object:
            return tuple(replace(answer, rater=bad) for answer in slides.ledger.answers(name))

        def metrics(self, name: str) -> object:
            return tuple((r, replace(m, convention=bad)) for r, m in slides.ledger.metrics(name))

    path = render(Bent(), slides.artifacts, slides.pool, slides.names[:1], tmp_path / "bad.html")  # type: ignore[arg-type]
    elements = Elements(path.read_text())
    assert len([tag for tag, _ in elements.tags if tag == "script"]) == 2
    assert not [tag for tag, _ in elements.tags if tag == "img"]
    assert embedded(path)[0]["reason"] == bad


@pytest.mark.parametrize("until", [Phase.PLANNED, Phase.ASKED, Phase.CALIBRATED])
def test_an_unfinished_campaign_has_a_report(until: Phase, tmp_path: Path) -> None:
    home = record(tmp_path / "home", glands(8, 48), {})
    strategy = Uncertainty(measure="entropy", window=(16, 16))
    config = describe("half", strategy, rounds=3, batch=3)
    loop = open_campaign(home, "half", strategy, config=config, rounds=3, batch=3, answering=until is not Phase.ASKED)
    if until is Phase.ASKED:
        assert loop.step().status == "waiting"
    elif until is Phase.CALIBRATED:
        loop.step()
    text = render(home.ledger, home.artifacts, home.pool, ["half"], tmp_path / "half.html").read_text()
    expected = {
        Phase.PLANNED: "Nothing has run yet.",
        Phase.ASKED: ">waiting</span>",
        Phase.CALIBRATED: "no model has been measured",
    }
    assert expected[until] in text
    assert ('id="learning"' in text) is False
    assert (text.count('class="thumb"') > 0) is (until is not Phase.PLANNED)


def test_a_metric_that_is_undefined_or_missing_leaves_its_figure_out(slides: Recorded, tmp_path: Path) -> None:
    class Poor:
        def __getattr__(self, name: str) -> object:
            return getattr(slides.ledger, name)

        def metrics(self, name: str) -> tuple[tuple[int, Metric], ...]:
            rows = slides.ledger.metrics(name)
            return tuple(
                (r, replace(m, value=None) if m.name == "ece" else m) for r, m in rows if m.name != "object_f1"
            )

        def bins(self, name: str) -> tuple[()]:
            return ()

    poor = render(Poor(), slides.artifacts, slides.pool, slides.names[:1], tmp_path / "a.html").read_text()  # type: ignore[arg-type]
    assert "learning-dice" in poor
    assert "learning-object_f1" not in poor
    assert "Expected calibration error" not in poor
    assert "Reliability diagrams" not in poor


def test_a_control_that_looks_at_labels_says_so(slides: Recorded, tmp_path: Path) -> None:
    home = record(tmp_path / "home", glands(8, 48), {})
    config = "strategy:\n  type: random_foreground\n"
    open_campaign(home, "control", RandomForeground(window=(16, 16)), config=config, rounds=1, batch=2)
    assert (
        "looks at the oracle"
        in render(home.ledger, home.artifacts, home.pool, ["control"], tmp_path / "a.html").read_text()
    )


def test_it_appears_at_once_or_not_at_all(slides: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    assert render(slides.ledger, slides.artifacts, slides.pool, slides.names[:1], path) == path
    before = path.read_bytes()
    with pytest.raises(NotFound, match="region-bald"):
        render(slides.ledger, slides.artifacts, slides.pool, ["nobody"], path)
    with pytest.raises(InvalidValue, match="at least one campaign"):
        render(slides.ledger, slides.artifacts, slides.pool, [], path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_long_campaign_shows_fewer_cards_a_round(tmp_path: Path) -> None:
    home = record(tmp_path / "home", glands(8, 48), {"many": Random(window=(4, 4), stride=4)}, rounds=1, batch=30)
    text = render(home.ledger, home.artifacts, home.pool, ["many"], tmp_path / "many.html").read_text()
    assert "30 queries on" in text
    assert "the first 12 shown" in text
    assert text.count('class="thumb"') == 12 + 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("strategy: {type: uncertainty, measure: bald, window: 32}", "bald, regions of 32"),
        ("strategy: {type: random, window: [8, 16]}", "random, regions of 8 × 16"),
        ("strategy: {type: uncertainty, measure: entropy, window: }", "entropy"),
        ("strategy: ripu", "ripu"),
        ("name: only", ""),
        (": no [yaml", ""),
    ],
)
def test_the_strategy_is_named_in_a_few_words(config: str, words: str, slides: Recorded) -> None:
    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    from alframe.report.reading import _settings

    assert replace(arm, settings=_settings(config)).strategy == words


def test_the_area_under_the_curve_is_over_the_budgets_that_all_reached(slides: Recorded) -> None:
    arms = [read_arm(slides.ledger, slides.pool, name) for name in slides.names]
    table = compared(arms)
    areas = [row[table.columns.index("Dice, AUBC")] for row in table.rows]
    grids = [([arm.trained_share()[i] for i in arm.series("dice")], list(arm.series("dice").values())) for arm in arms]
    low, high = max(x[0] for x, _ in grids), min(x[-1] for x, _ in grids)
    fine = np.linspace(low, high, 20001)
    for area, (x, y) in zip(areas, grids, strict=True):
        assert area == pytest.approx(float(np.interp(fine, x, y).mean()), abs=1e-4)


def test_training_shows_the_restart_that_was_kept(slides: Recorded, tmp_path: Path) -> None:
    class Trained:
        """The recorded ledger, but with two restarts in round 1: the second was kept."""

        def __getattr__(self, name: str) -> object:
            return getattr(slides.ledger, name)

        def artifacts(self, name: str, index: int) -> dict[str, ArtifactRef]:
            if index != 1:
                return {}
            put = slides.artifacts
            losses = {"0": [0.9, 0.8, 0.7], "1": [0.6, float("nan"), 0.3]}
            refs = {}
            for restart, values in losses.items():
                columns = {"epoch": np.arange(3.0), "val_loss": np.array(values)}
                refs[f"history/0/{restart}"] = put.put_table("history", columns)
                refs[f"checkpoint/0/{restart}"] = put.put("checkpoint", f"weights {restart}".encode())
            return refs | {"member/0": refs["checkpoint/0/1"]}

    arm = read_arm(slides.ledger, slides.pool, slides.names[0])
    figure = training(arm, Trained(), slides.artifacts)  # type: ignore[arg-type]
    assert figure is not None
    assert figure.table.rows == ((1, 0, 0.0, 0.6), (1, 0, 2.0, 0.3))
    assert training(arm, slides.ledger, slides.artifacts) is None  # the pixel learner records one epoch
