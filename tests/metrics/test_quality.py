"""How raters are judged: against the majority of the others, and by STAPLE."""

from __future__ import annotations

import numpy as np
import pytest

from alframe.metrics.fusion import staple
from alframe.metrics.quality import consensus_of_others, rater_quality


def test_the_consensus_leaves_the_own_vote_and_ties_out():
    maps = np.array([[[1, 1, 1, 255]], [[1, 0, 255, 255]], [[1, 1, 255, 0]]], np.uint8)
    assert consensus_of_others(maps, 0, classes=2).tolist() == [[1, 255, 255, 0]]
    assert consensus_of_others(maps, 1, classes=2).tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("classes", [2, 3])
def test_confusion_and_agreement_equal_loops_over_pixels(classes):
    random = np.random.default_rng(classes)
    boxes = []
    for size in (3, 2, 4, 1):
        drawn = {f"r{k}": random.integers(0, classes, (5, 6)).astype(np.uint8) for k in range(size)}
        drawn["r0"][0, :2] = 255
        boxes.append(drawn)
    found = {one.rater: one for one in rater_quality(boxes, classes=classes)}
    assert sorted(found) == ["r0", "r1", "r2", "r3"]
    for name, one in found.items():
        confusion, dice = np.zeros((classes, classes), int), []
        for drawn in boxes:
            if name not in drawn or len(drawn) < 2:
                continue
            cells = np.zeros((classes, classes), int)
            for y in range(5):
                for x in range(6):
                    votes = [m[y, x] for other, m in drawn.items() if other != name and m[y, x] != 255]
                    counts = sorted(((votes.count(c), c) for c in set(votes)), reverse=True)
                    clear = counts and (len(counts) == 1 or counts[0][0] > counts[1][0])
                    if clear and drawn[name][y, x] != 255:
                        cells[counts[0][1], drawn[name][y, x]] += 1
            confusion += cells
            per_class = []
            for c in range(1, classes):
                total = cells[c].sum() + cells[:, c].sum()
                per_class.append(2 * cells[c, c] / total if total else 1.0)
            dice.append(np.mean(per_class))
        assert one.confusion.tolist() == confusion.tolist()
        assert one.agreement == pytest.approx(np.mean(dice))
        assert one.boxes == len(dice)


def test_staple_judges_where_it_applies():
    y, x = np.mgrid[:30, :30]
    drawn = {f"r{k}": (np.hypot(y - 15, x - 15 - k) < 8).astype(np.uint8) for k in range(3)}
    two = {name: drawn[name] for name in ("r0", "r1")}
    found = {one.rater: one for one in rater_quality([drawn, two], classes=2)}
    expected = staple(np.stack([drawn[name] for name in sorted(drawn)]), label=1)
    assert [found[name].sensitivity for name in sorted(found)] == pytest.approx(expected.sensitivity)
    assert [found[name].specificity for name in sorted(found)] == pytest.approx(expected.specificity)
    alone = rater_quality([two], classes=2)
    assert [one.sensitivity for one in alone] == [None, None]


def test_a_worse_rater_agrees_less():
    random = np.random.default_rng(1)
    truth = (random.random((40, 40)) < 0.3).astype(np.uint8)
    noise = {"good": 0.02, "fair": 0.1, "poor": 0.4}
    boxes = [{name: truth ^ (random.random(truth.shape) < level) for name, level in noise.items()} for _ in range(4)]
    found = {one.rater: one.agreement for one in rater_quality(boxes, classes=2)}
    assert found["good"] > found["fair"] > found["poor"]


def test_nobody_is_judged_alone():
    one = np.ones((3, 3), np.uint8)
    silent = np.full((3, 3), 255, np.uint8)
    assert rater_quality([{"a": one}, {"a": one, "b": silent}], classes=2) == ()
