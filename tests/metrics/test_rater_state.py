"""The mergeable state of several raters: any sharding gives the same bits, and its numbers are those of the plain functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics import RaterSpec, RaterState, observe_raters, raters, summarise_raters
from alframe.types import Metric

SPEC = RaterSpec(classes=("background", "nodule"), samples=5)
THREE = RaterSpec(classes=("background", "body", "cap"), samples=4)


def case(seed: int, spec: RaterSpec = SPEC, *, names: int = 4, shape: tuple[int, ...] = (9, 8)) -> dict:
    random = np.random.default_rng(seed)
    classes = len(spec.classes)
    samples = random.dirichlet(np.ones(classes), (spec.samples, *shape)).astype(np.float32)
    samples = np.moveaxis(samples, -1, 1)
    mean = samples.mean(axis=0, dtype=np.float64)
    drawn = {f"rater{r}": random.integers(0, classes, shape).astype(np.uint8) for r in range(names)}
    uncertainty = random.random(shape)
    return {"mean": mean, "log_mean": np.log(mean), "samples": samples, "uncertainty": uncertainty, "truth": drawn}


def value(metrics: tuple[Metric, ...], name: str, label: str = "", statistic: str = "pooled") -> float | None:
    found = [one.value for one in metrics if (one.name, one.label, one.statistic) == (name, label, statistic)]
    assert len(found) == 1, f"{name}/{label}/{statistic} occurs {len(found)} times"
    return found[0]


def states(count: int, spec: RaterSpec = SPEC) -> list[RaterState]:
    return [observe_raters(spec, item=f"item{n}", **case(n, spec, names=2 + n % 3)) for n in range(count)]


def same(one: RaterState, other: RaterState) -> bool:
    a, b = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(a[name], b[name]) for name in a)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 6), st.sampled_from([SPEC, THREE]))
def test_any_order_and_any_sharding_give_the_same_bits(order, cut, spec):
    parts = states(6, spec)
    expected = RaterState.empty(spec).merge(*parts)
    shuffled = [parts[k] for k in order]
    halves = [RaterState.empty(spec).merge(*part) for part in (shuffled[:cut], shuffled[cut:])]
    assert same(halves[0].merge(halves[1]), expected)
    assert same(halves[1].merge(halves[0]), expected)
    assert summarise_raters(spec, halves[0].merge(halves[1])) == summarise_raters(spec, expected)


def test_a_state_survives_its_arrays():
    total = RaterState.empty(SPEC).merge(*states(3))
    assert same(RaterState.from_arrays(total.to_arrays()), total)
    arrays = total.to_arrays()
    with pytest.raises(InvalidValue, match="energy"):
        RaterState.from_arrays({name: array for name, array in arrays.items() if name != "energy"})
    with pytest.raises(InvalidValue, match="likelihood must have the shape"):
        RaterState.from_arrays(arrays | {"likelihood": arrays["likelihood"][:1]})


def test_states_of_other_metrics_do_not_mix():
    with pytest.raises(InvalidValue, match="cannot merge"):
        RaterState.empty(SPEC).merge(RaterState.empty(THREE))
    with pytest.raises(InvalidValue, match="not for"):
        summarise_raters(SPEC, RaterState.empty(THREE))
    with pytest.raises(InvalidValue, match="sample"):
        RaterSpec(classes=("a", "b"), samples=0)


@pytest.mark.parametrize("spec", [SPEC, THREE], ids=["two classes", "three classes"])
def test_numbers_are_those_of_the_plain_functions(spec):
    classes, cases = len(spec.classes), [case(n, spec) for n in range(7)]
    total = RaterState.empty(spec).merge(*(observe_raters(spec, item=f"item{n}", **one) for n, one in enumerate(cases)))
    found = summarise_raters(spec, total)
    maps = [np.stack(list(one["truth"].values())) for one in cases]
    soft = [raters.vote_fractions(one, classes=classes)[0] for one in maps]
    energy = [
        raters.energy_distance(raters.segmentations(one["samples"]), drawn, classes=classes)
        for one, drawn in zip(cases, maps, strict=True)
    ]
    assert value(found, "ged") == pytest.approx(np.mean(energy), abs=1e-9)
    assert value(found, "ged", statistic="p90") == pytest.approx(np.percentile(np.mean(energy, axis=1), 90), abs=1e-9)
    if classes > 2:
        assert value(found, "ged", "cap") == pytest.approx(np.mean(energy, axis=0)[1], abs=1e-9)
    ncc = [
        np.corrcoef(raters.spread(one["mean"]).ravel(), raters.spread(y).ravel())[0, 1]
        for one, y in zip(cases, soft, strict=True)
    ]
    assert value(found, "ncc") == pytest.approx(np.mean(ncc), abs=1e-9)
    pixel = [
        np.corrcoef(one["uncertainty"].ravel(), raters.spread(y).ravel())[0, 1]
        for one, y in zip(cases, soft, strict=True)
    ]
    assert value(found, "pixel_agreement") == pytest.approx(np.mean(pixel), abs=1e-9)
    u = np.array([one["uncertainty"].mean() for one in cases])
    apart = np.array([raters.disagreement(one, classes=classes) for one in maps])
    area = np.array([(one > 0).mean() for one in maps])
    assert value(found, "image_agreement") == pytest.approx(np.corrcoef(u, apart)[0, 1], abs=1e-7)
    assert value(found, "image_agreement_partial") == pytest.approx(
        raters.partial_correlation(u, apart, area), abs=1e-7
    )
    assert value(found, "raters_apart") == pytest.approx(apart.mean(), abs=1e-9)
    nll = [raters.nll_of_raters(one["log_mean"], drawn)[0] for one, drawn in zip(cases, maps, strict=True)]
    assert value(found, "rater_nll") == pytest.approx(np.sum(nll) / sum(one.size for one in maps), abs=1e-9)
    assert value(found, "rater_nll", "rater2") == pytest.approx(
        np.sum(nll, axis=0)[2] / sum(one[0].size for one in maps), abs=1e-9
    )


def test_calibration_and_dice_against_raters_equal_loops():
    cases = [case(n) for n in range(4)]
    total = RaterState.empty(SPEC).merge(*(observe_raters(SPEC, item=f"item{n}", **one) for n, one in enumerate(cases)))
    found = summarise_raters(SPEC, total)
    confidence, hit = [], []
    for one in cases:
        for drawn in one["truth"].values():
            confidence.append(one["mean"].max(axis=0).ravel())
            hit.append((one["mean"].argmax(axis=0) == drawn).ravel())
    c, h = np.concatenate(confidence), np.concatenate(hit)
    bins = np.minimum((c * 10).astype(int), 9)
    gaps = [abs(c[bins == k].sum() - h[bins == k].sum()) for k in range(10)]
    assert value(found, "rater_ece") == pytest.approx(sum(gaps) / len(c), abs=1e-9)
    dice = []
    for r in range(4):
        shared = sum(((one["mean"][1] > 0.5) & (one["truth"][f"rater{r}"] == 1)).sum() for one in cases)
        size = sum((one["mean"][1] > 0.5).sum() + (one["truth"][f"rater{r}"] == 1).sum() for one in cases)
        dice.append(2 * shared / size)
    assert value(found, "rater_dice", "rater1") == pytest.approx(dice[1], abs=1e-9)
    assert value(found, "rater_dice") == pytest.approx(np.mean(dice), abs=1e-9)


def test_constant_maps_are_left_out_and_counted():
    usual, still = case(1), case(2)
    still["truth"] = dict.fromkeys(still["truth"], np.zeros((9, 8), np.uint8))
    total = observe_raters(SPEC, item="a", **usual).merge(observe_raters(SPEC, item="b", **still))
    found = summarise_raters(SPEC, total)
    alone = summarise_raters(SPEC, observe_raters(SPEC, item="a", **usual))
    assert value(found, "ncc") == value(alone, "ncc")
    assert value(found, "ncc_undefined") == 1.0
    assert value(found, "pixel_agreement_undefined") == 1.0
    assert value(summarise_raters(SPEC, observe_raters(SPEC, item="b", **still)), "ncc") is None


def test_one_rater_has_an_energy_but_no_agreement():
    found = summarise_raters(SPEC, observe_raters(SPEC, item="a", **case(3, names=1)))
    assert value(found, "ged") is not None
    assert value(found, "image_agreement") is None
    assert value(found, "raters_apart") is None


def test_an_empty_state_has_no_numbers_but_all_names():
    empty = summarise_raters(SPEC, RaterState.empty(SPEC))
    full = summarise_raters(SPEC, states(1)[0])
    assert {one.name for one in empty} == {one.name for one in full}
    assert all(one.value is None or one.value == 0.0 for one in empty)


def test_what_does_not_fit_is_refused():
    one = case(4)
    with pytest.raises(InvalidValue, match="one shape"):
        observe_raters(SPEC, item="a", **one | {"truth": {}})
    with pytest.raises(InvalidValue, match="one shape"):
        observe_raters(THREE, item="a", **one)
    with pytest.raises(NonFiniteError):
        observe_raters(SPEC, item="a", **one | {"uncertainty": np.full((9, 8), np.nan)})
