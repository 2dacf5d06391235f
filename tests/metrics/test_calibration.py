"""Calibration against pixel-by-pixel loops, netcal, torchmetrics, scikit-learn and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics import EvaluationState, MetricSpec, observe, reliability, summarise
from alframe.metrics.calibration import brier_terms, cells
from alframe.types import LabelMap, Metric

NAMES = ("background", "gland", "vessel")
SPEC = MetricSpec(classes=NAMES)


def evaluate(spec: MetricSpec, p: NDArray[np.floating], truth: LabelMap) -> tuple[Metric, ...]:
    return summarise(spec, observe(spec, item="one", mean=p, truth=truth))


def flat(p: NDArray[np.floating], truth: LabelMap) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    keep = truth.annotated.ravel()
    return p.reshape(len(p), -1)[:, keep].T, truth.classes.ravel()[keep].astype(np.int64)


def brute_bins(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int
) -> list[list[tuple[float, bool]]]:
    out: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for c, hit in zip(confidence, correct, strict=True):
        out[min(int(c * bins), bins - 1)].append((float(c), bool(hit)))
    return out


def brute_gaps(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int) -> list[tuple[int, float]]:
    return [
        (len(b), abs(sum(c for c, _ in b) / len(b) - sum(h for _, h in b) / len(b)))
        for b in brute_bins(confidence, correct, bins)
        if b
    ]


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_ece_and_mce_equal_a_loop_over_pixels(draw, look, bins):
    p, truth = draw(1)
    rows, y = flat(p, truth)
    gaps = brute_gaps(rows.max(axis=1), rows.argmax(axis=1) == y, bins)
    metrics = evaluate(MetricSpec(classes=NAMES, bins=bins), p, truth)
    assert look(metrics, "ece") == pytest.approx(sum(n * g for n, g in gaps) / len(y), abs=1e-9)
    assert look(metrics, "mce") == pytest.approx(max(g for _, g in gaps), abs=1e-9)


def test_ece_and_mce_equal_netcal_and_torchmetrics(draw, look):
    import torch
    from netcal.metrics import ECE, MCE
    from torchmetrics.functional.classification import multiclass_calibration_error

    p, truth = draw(2, shape=(60, 70))
    rows, y = flat(p, truth)
    metrics = evaluate(SPEC, p, truth)
    assert look(metrics, "ece") == pytest.approx(ECE(10).measure(rows, y), abs=1e-6)
    assert look(metrics, "mce") == pytest.approx(MCE(10).measure(rows, y), abs=1e-6)
    for name, norm in (("ece", "l1"), ("mce", "max")):
        other = multiclass_calibration_error(
            torch.from_numpy(rows), torch.from_numpy(y), num_classes=3, n_bins=10, norm=norm
        )
        assert look(metrics, name) == pytest.approx(float(other), abs=1e-6)


def test_classwise_ece_equals_a_loop_netcal_and_monai(draw, look):
    import torch
    from monai.metrics import calibration_binning
    from netcal.metrics import ECE

    p, truth = draw(3, ignored=0.0, shape=(50, 40))
    rows, y = flat(p, truth)
    metrics = evaluate(SPEC, p, truth)
    one_hot = np.moveaxis(np.eye(3)[truth.classes], -1, 0)
    mean_p, mean_y, count = (
        t[0].numpy() for t in calibration_binning(torch.tensor(p)[None], torch.tensor(one_hot)[None], 10)
    )
    values = []
    for c, label in enumerate(NAMES):
        value = look(metrics, "classwise_ece", label=label)
        gaps = brute_gaps(rows[:, c], y == c, 10)
        assert value == pytest.approx(sum(n * g for n, g in gaps) / len(y), abs=1e-9)
        assert value == pytest.approx(ECE(10).measure(rows[:, c], (y == c).astype(int)), abs=1e-6)
        filled = count[c] > 0
        monai = (count[c] * np.abs(mean_p[c] - mean_y[c]))[filled].sum() / len(y)
        assert value == pytest.approx(monai, abs=1e-6)
        values.append(value)
    assert look(metrics, "classwise_ece") == pytest.approx(np.mean(values[1:]), abs=1e-12)


def test_likelihood_brier_and_accuracy_equal_scikit_learn(draw, look):
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    p, truth = draw(4)
    rows, y = flat(p, truth)
    metrics = evaluate(SPEC, p, truth)
    assert look(metrics, "nll") == pytest.approx(log_loss(y, rows, labels=[0, 1, 2]), abs=1e-6)
    full = brier_score_loss(y, rows, labels=[0, 1, 2], scale_by_half=False)
    assert look(metrics, "brier") == pytest.approx(full, abs=1e-6)
    assert look(metrics, "brier") == pytest.approx(np.mean(((rows - np.eye(3)[y]) ** 2).sum(axis=1)), abs=1e-9)
    assert look(metrics, "brier_normalised") == pytest.approx(full / 3, abs=1e-6)
    assert look(metrics, "accuracy") == pytest.approx(accuracy_score(y, rows.argmax(axis=1)), abs=1e-12)


def test_two_class_brier_is_twice_the_binary_one(draw, look):
    from sklearn.metrics import brier_score_loss

    p, truth = draw(5, classes=2)
    rows, y = flat(p, truth)
    metrics = evaluate(MetricSpec(classes=("a", "b")), p, truth)
    assert look(metrics, "brier") == pytest.approx(2 * brier_score_loss(y, rows[:, 1], scale_by_half=True), abs=1e-6)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), bins=st.integers(1, 30))
def test_brier_identity_is_exact(binning, seed, classes, bins):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(classes, random.uniform(0.05, 2)), size=(9, 8)).transpose(2, 0, 1)
    truth = LabelMap(classes=random.integers(0, classes, (9, 8)).astype(np.uint8))
    spec = MetricSpec(classes=tuple(f"c{c}" for c in range(classes)), bins=bins, binning=binning)
    value = {m.name: m.value for m in evaluate(spec, p, truth) if m.statistic == "pooled" and not m.label}
    rebuilt = (
        value["brier_reliability"]
        - value["brier_resolution"]
        + value["brier_uncertainty"]
        + value["brier_within_variance"]
        - value["brier_within_covariance"]
    )
    direct = np.mean(((p - np.moveaxis(np.eye(classes)[truth.classes], -1, 0)) ** 2).sum(axis=0))
    assert value["brier"] == pytest.approx(direct, abs=1e-9)
    assert rebuilt == pytest.approx(direct, abs=1e-9)


def test_brier_terms_equal_a_loop_over_bins(draw, look):
    p, truth = draw(6)
    rows, y = flat(p, truth)
    terms = dict.fromkeys(("reliability", "resolution", "uncertainty", "within_variance", "within_covariance"), 0.0)
    for c in range(3):
        overall = float((y == c).mean())
        terms["uncertainty"] += overall * (1 - overall)
        for members in brute_bins(rows[:, c], y == c, 10):
            if not members:
                continue
            f, o = np.mean([m[0] for m in members]), np.mean([m[1] for m in members])
            terms["reliability"] += len(members) * (f - o) ** 2 / len(y)
            terms["resolution"] += len(members) * (o - overall) ** 2 / len(y)
            terms["within_variance"] += sum((q - f) ** 2 for q, _ in members) / len(y)
            terms["within_covariance"] += 2 * sum((q - f) * (h - o) for q, h in members) / len(y)
    metrics = evaluate(SPEC, p, truth)
    for name, value in terms.items():
        assert look(metrics, f"brier_{name}") == pytest.approx(value, abs=1e-9)


def test_a_calibrated_predictor_has_almost_no_reliability_error(look):
    random = np.random.default_rng(7)
    q = random.random((500, 500))
    truth = LabelMap(classes=(random.random(q.shape) < q).astype(np.uint8))
    metrics = evaluate(MetricSpec(classes=("a", "b")), np.stack([1 - q, q]), truth)
    assert look(metrics, "brier_reliability") < 5e-5
    assert look(metrics, "ece") < 5e-3
    assert look(metrics, "brier") == pytest.approx(1 / 3, abs=2e-3)  # 2·E[q(1 − q)] for uniform q


def test_confidence_one_belongs_to_the_last_bin(look):
    truth = LabelMap(classes=np.array([[0, 0, 0, 1]], np.uint8))
    p = np.array([[[1.0] * 4], [[0.0] * 4]])
    spec = MetricSpec(classes=("a", "b"))
    state = observe(spec, item="one", mean=p, truth=truth)
    last = reliability(spec, state)[-1]
    assert (last.index, last.count, last.confidence, last.correct) == (9, 4.0, 4.0, 3.0)
    assert look(summarise(spec, state), "ece") == pytest.approx(0.25, abs=1e-12)
    slightly = np.array([[[1.0000002] * 4], [[-0.0000002] * 4]], np.float32)
    assert reliability(spec, observe(spec, item="one", mean=slightly, truth=truth))[-1].count == 4


def test_equal_mass_bins_hold_equal_mass_and_equal_netcal(look):
    from netcal.metrics import ECE

    random = np.random.default_rng(8)
    # 40 confidences in the middle of fine bins, each equally often: quantile edges then fall between them
    level = np.repeat((np.arange(40) * 12 + 510.5) / 1000, 50)
    truth = np.where(random.random(level.size) < level**1.5, 0, random.integers(1, 3, level.size)).astype(np.uint8)
    p = np.stack([level, (1 - level) / 2, (1 - level) / 2])[:, None]
    spec = MetricSpec(classes=NAMES, binning="equal_mass")
    state = observe(spec, item="one", mean=p, truth=LabelMap(classes=truth[None]))
    bins = reliability(spec, state)
    assert [b.count for b in bins] == [200.0] * 10
    assert all(b.lower <= b.confidence / b.count < b.upper for b in bins)
    expected = ECE(10, equal_intervals=False).measure(p[:, 0].T, truth)
    assert look(summarise(spec, state), "ece") == pytest.approx(expected, abs=1e-6)
    wide = MetricSpec(classes=NAMES)
    state = observe(wide, item="one", mean=p, truth=LabelMap(classes=truth[None]))
    assert look(summarise(wide, state), "ace") == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 12))
def test_equal_mass_cells_follow_the_middle_rank(counts, bins):
    count = np.array(counts, np.float64)
    got = cells(count, bins, "equal_mass")
    below = 0
    for cell, n in zip(got, counts, strict=True):
        if n:
            assert cell == min(int((below + n / 2) / count.sum() * bins), bins - 1)
        below += n
    assert np.all(np.diff(got) >= 0)


def test_reliability_bins_equal_a_loop(draw):
    p, truth = draw(9)
    rows, y = flat(p, truth)
    expected = brute_bins(rows.max(axis=1), rows.argmax(axis=1) == y, 10)
    for got, members in zip(reliability(SPEC, observe(SPEC, item="one", mean=p, truth=truth)), expected, strict=True):
        assert got.count == len(members)
        assert got.confidence == pytest.approx(sum(c for c, _ in members), abs=1e-9)
        assert got.correct == sum(h for _, h in members)
        assert (got.lower, got.upper) == pytest.approx((got.index / 10, (got.index + 1) / 10))


def test_log_probabilities_survive_underflow(look):
    truth = LabelMap(classes=np.array([[1]], np.uint8))
    log_p = np.array([[[0.0]], [[-500.0]]])
    p = np.exp(log_p).astype(np.float32)
    spec = MetricSpec(classes=("a", "b"))
    exact = summarise(spec, observe(spec, item="one", mean=p, log_mean=log_p, truth=truth))
    clipped = evaluate(spec, p, truth)
    assert look(exact, "nll") == pytest.approx(500, abs=1e-9)
    assert look(clipped, "nll") == pytest.approx(-np.log(np.finfo(np.float32).tiny), abs=1e-9)
    assert "log-probabilities" in exact[0].convention
    assert "clipped" in clipped[0].convention


def test_unannotated_pixels_take_part_in_nothing(draw):
    p, truth = draw(10, shape=(12, 13), ignored=0.3)
    other = p.copy()
    other[:, ~truth.annotated] = np.array([0.01, 0.01, 0.98])[:, None]
    assert evaluate(SPEC, p, truth) == evaluate(SPEC, other, truth)


def test_nothing_annotated_is_undefined_and_never_nan(draw):
    p, _ = draw(11, shape=(5, 6))
    blank = evaluate(SPEC, p, LabelMap.blank((5, 6)))
    empty = summarise(SPEC, EvaluationState.empty(SPEC))
    for metrics in (blank, empty):
        assert all(m.value is None for m in metrics if m.name != "both_empty")
        assert all(m.value == 0 for m in metrics if m.name == "both_empty")
    assert brier_terms(np.zeros((3, 10, 5))) is None


def test_wrong_input_is_named(draw):
    p, truth = draw(12, shape=(5, 6))
    with pytest.raises(InvalidValue, match=r"i7: mean must have the shape .*\(3, 5, 6\).*\(2, 5, 6\)"):
        observe(SPEC, item="i7", mean=p[:2], truth=truth)
    with pytest.raises(InvalidValue, match="pass probabilities, not logits"):
        observe(SPEC, item="i7", mean=np.log(p), truth=truth)
    with pytest.raises(InvalidValue, match=r"class ids must be 0\.\.2 or 255, found 3"):
        observe(SPEC, item="i7", mean=p, truth=LabelMap(classes=np.full((5, 6), 3, np.uint8)))
    broken = p.copy()
    broken[0, 2, 2] = np.nan
    with pytest.raises(NonFiniteError, match="i7"):
        observe(SPEC, item="i7", mean=broken, truth=LabelMap(classes=np.zeros((5, 6), np.uint8)))
    with pytest.raises(NonFiniteError, match="i7"):
        observe(SPEC, item="i7", mean=p, log_mean=np.full_like(p, -np.inf), truth=truth)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("only",)},
        {"classes": ("a", "a")},
        {"bins": 0},
        {"binning": "quantile"},
        {"both_empty": "zero"},
        {"min_object": -1},
    ],
)
def test_a_specification_is_checked_at_birth(change):
    with pytest.raises(InvalidValue):
        MetricSpec(**{"classes": ("a", "b")} | change)
