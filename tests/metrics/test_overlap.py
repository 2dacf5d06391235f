"""Dice and Jaccard against sets of pixels, scikit-learn and MONAI, and the convention for empty classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alframe.metrics import EvaluationState, MetricSpec, observe, summarise
from alframe.types import LabelMap

NAMES = ("a", "b", "c")


def one_hot(label: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.moveaxis(np.eye(classes)[label], -1, 0)


def state_of(spec: MetricSpec, item: str, predicted: list[int], truth: list[int]) -> EvaluationState:
    label = LabelMap(classes=np.array([truth], np.uint8))
    return observe(spec, item=item, mean=one_hot(np.array([predicted])), truth=label)


@pytest.mark.parametrize("shape", [(40, 33), (7, 12, 9)])
def test_equal_to_scikit_learn(draw, look, shape):
    from sklearn.metrics import f1_score, jaccard_score

    p, truth = draw(1, shape=shape)
    keep = truth.annotated
    y, predicted = truth.classes[keep], p.argmax(axis=0)[keep]
    spec = MetricSpec(classes=NAMES)
    metrics = summarise(spec, observe(spec, item="one", mean=p, truth=truth))
    dice, jaccard = f1_score(y, predicted, average=None), jaccard_score(y, predicted, average=None)
    for c, label in enumerate(NAMES):
        assert look(metrics, "dice", label=label) == pytest.approx(dice[c], abs=1e-9)
        assert look(metrics, "jaccard", label=label) == pytest.approx(jaccard[c], abs=1e-9)
    assert look(metrics, "dice") == pytest.approx(dice[1:].mean(), abs=1e-9)
    assert look(metrics, "jaccard") == pytest.approx(jaccard[1:].mean(), abs=1e-9)


def test_per_item_values_equal_monai(draw, look):
    import torch
    from monai.metrics import compute_dice, compute_iou

    cases = [draw(seed, ignored=0.0) for seed in range(6)]
    spec = MetricSpec(classes=NAMES)
    states = [observe(spec, item=str(n), mean=p, truth=truth) for n, (p, truth) in enumerate(cases)]
    metrics = summarise(spec, states[0].merge(*states[1:]))
    predicted = torch.tensor(np.stack([one_hot(p.argmax(axis=0)) for p, _ in cases]))
    true = torch.tensor(np.stack([one_hot(truth.classes) for _, truth in cases]))
    for name, other in (("dice", compute_dice(predicted, true)), ("jaccard", compute_iou(predicted, true))):
        for c, label in enumerate(NAMES):
            expected = float(other[:, c].mean())
            assert look(metrics, name, label=label, statistic="mean") == pytest.approx(expected, abs=1e-6)
        expected = float(other[:, 1:].mean(dim=1).mean())
        assert look(metrics, name, statistic="mean") == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_equal_to_sets_of_pixels(pixels):
    predicted, truth = [a for a, _ in pixels], [b for _, b in pixels]
    for both_empty in ("one", "nan"):
        spec = MetricSpec(classes=NAMES, both_empty=both_empty)
        values = {
            (m.name, m.label): m.value
            for m in summarise(spec, state_of(spec, "x", predicted, truth))
            if m.statistic == "pooled"
        }
        dice, jaccard = [], []
        for c, label in enumerate(NAMES):
            p, y = {i for i, v in enumerate(predicted) if v == c}, {i for i, v in enumerate(truth) if v == c}
            empty = 1.0 if both_empty == "one" else None
            dice.append(2 * len(p & y) / (len(p) + len(y)) if p | y else empty)
            jaccard.append(len(p & y) / len(p | y) if p | y else empty)
            assert values["dice", label] == (None if dice[c] is None else pytest.approx(dice[c]))
            assert values["jaccard", label] == (None if jaccard[c] is None else pytest.approx(jaccard[c]))
            assert values["both_empty", label] == float(not p | y)
        defined = [v for v in dice[1:] if v is not None]
        assert values["dice", ""] == (pytest.approx(np.mean(defined)) if defined else None)


def test_items_with_an_empty_class_count_as_one_or_are_left_out(look):
    rows = {"both": ([0, 0], [0, 0]), "half": ([1, 0], [1, 1]), "missed": ([0, 0], [1, 0])}
    expected = {"one": np.mean([1, 2 / 3, 0]), "nan": np.mean([2 / 3, 0])}
    for both_empty, mean in expected.items():
        spec = MetricSpec(classes=("a", "b"), both_empty=both_empty)
        states = [
            observe(
                spec,
                item=name,
                mean=one_hot(np.array([predicted]), 2),
                truth=LabelMap(classes=np.array([truth], np.uint8)),
            )
            for name, (predicted, truth) in rows.items()
        ]
        metrics = summarise(spec, EvaluationState.empty(spec).merge(*states))
        assert look(metrics, "dice", label="b", statistic="mean") == pytest.approx(mean)
        assert look(metrics, "both_empty", label="b") == 1
        assert look(metrics, "both_empty", label="a") == 0
        conventions = {m.convention for m in metrics if m.name == "dice" and m.label}
        assert conventions == {"both empty = 1" if both_empty == "one" else "both empty left out"}


def test_ties_go_to_the_smaller_class(look):
    spec = MetricSpec(classes=("a", "b"))
    truth = LabelMap(classes=np.zeros((2, 2), np.uint8))
    metrics = summarise(spec, observe(spec, item="x", mean=np.full((2, 2, 2), 0.5), truth=truth))
    assert look(metrics, "accuracy") == 1
