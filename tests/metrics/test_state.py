"""The state is a commutative monoid to the last bit, and travels without loss."""

from __future__ import annotations

import functools
import itertools
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics import EvaluationState, MetricSpec, observe, reliability, summarise
from alframe.metrics.exact import carry, fixed, floats
from alframe.types import Box, LabelMap

SPEC = MetricSpec(classes=("a", "b", "c"), objects=True, min_object=3)


def observed(item: str, seed: int, spec: MetricSpec = SPEC) -> EvaluationState:
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(3, 14, 2))
    p = random.dirichlet([0.4, 0.3, 0.3], size=shape).transpose(2, 0, 1)
    label = random.integers(0, 3, shape).astype(np.uint8)
    instances = np.where(label > 0, random.integers(1, 4, shape), 0).astype(np.int32)
    label[random.random(shape) < 0.1] = 255
    return observe(spec, item=item, mean=p, truth=LabelMap(classes=label, instances=instances))


def same(a: EvaluationState, b: EvaluationState) -> bool:
    left, right = a.to_arrays(), b.to_arrays()
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


PARTS = tuple(observed(f"item{n % 9}", n) for n in range(12))
WHOLE = EvaluationState.empty(SPEC).merge(*PARTS)


@settings(deadline=None)
@given(order=st.permutations(range(len(PARTS))), cuts=st.sets(st.integers(1, len(PARTS) - 1)))
def test_any_order_and_any_sharding_give_the_same_bits(order, cuts):
    edges = [0, *sorted(cuts), len(PARTS)]
    shards = [
        functools.reduce(EvaluationState.merge, [PARTS[i] for i in order[a:b]], EvaluationState.empty(SPEC))
        for a, b in itertools.pairwise(edges)
    ]
    merged = shards[0].merge(*shards[1:])
    assert same(merged, WHOLE)
    assert summarise(SPEC, merged) == summarise(SPEC, WHOLE)
    assert reliability(SPEC, merged) == reliability(SPEC, WHOLE)


def test_the_empty_state_is_neutral():
    empty = EvaluationState.empty(SPEC)
    assert same(empty.merge(PARTS[0]), PARTS[0])
    assert same(PARTS[0].merge(empty), PARTS[0])


@pytest.mark.parametrize("shape", [(20, 17), (6, 9, 8)])
def test_boxes_of_one_item_add_up_to_the_item(draw, shape):
    spec = MetricSpec(classes=("a", "b", "c"))
    p, truth = draw(3, shape=shape)
    whole = observe(spec, item="x", mean=p, truth=truth)
    boxes = [
        Box(start=(0,) * len(shape), stop=(4, *shape[1:])),
        Box(start=(4,) + (0,) * (len(shape) - 1), stop=shape),
    ]
    parts = [observe(spec, item="x", mean=p[:, *box.slices], truth=truth.crop(box)) for box in boxes]
    for one, two in zip(summarise(spec, whole), summarise(spec, parts[0].merge(parts[1])), strict=True):
        assert (one.name, one.label, one.statistic) == (two.name, two.label, two.statistic)
        assert one.value == pytest.approx(two.value, abs=1e-9)


def test_pooled_and_per_item_statistics_equal_their_definition(draw, look):
    spec = MetricSpec(classes=("a", "b", "c"))
    cases = [draw(seed, shape=(seed + 4, 9)) for seed in range(11)]
    states = [observe(spec, item=f"i{n}", mean=p, truth=truth) for n, (p, truth) in enumerate(cases)]
    together = summarise(spec, states[0].merge(*states[1:]))
    alone = [summarise(spec, state) for state in states]
    sizes = [truth.annotated.sum() for _, truth in cases]
    for name, label in (("nll", ""), ("ece", ""), ("brier", ""), ("dice", ""), ("dice", "b"), ("jaccard", "c")):
        values = [look(metrics, name, label=label) for metrics in alone]
        assert look(together, name, label=label, statistic="mean") == pytest.approx(np.mean(values), abs=1e-9)
        for percent in (10, 90):
            got = look(together, name, label=label, statistic=f"p{percent}")
            assert got == pytest.approx(np.percentile(values, percent), abs=1e-9)
        if name in ("nll", "brier"):
            assert look(together, name) == pytest.approx(np.average(values, weights=sizes), abs=1e-9)


def test_a_state_survives_arrays_and_pickle():
    arrays = WHOLE.to_arrays()
    assert all(array.dtype in (np.int64, np.uint8) for array in arrays.values())
    assert same(EvaluationState.from_arrays(arrays), WHOLE)
    assert EvaluationState.from_arrays(arrays).spec == SPEC
    assert same(pickle.loads(pickle.dumps(WHOLE)), WHOLE)  # noqa: S301 - our own bytes
    odd = observed("ünïcode / 雪", 3)
    assert EvaluationState.from_arrays(odd.to_arrays()).items == odd.items


def test_damaged_arrays_and_foreign_states_are_refused():
    arrays = WHOLE.to_arrays()
    with pytest.raises(InvalidValue, match="overlap"):
        EvaluationState.from_arrays(arrays | {"overlap": arrays["overlap"][1:]})
    with pytest.raises(InvalidValue, match="needs the arrays \\['top'\\]"):
        EvaluationState.from_arrays({name: array for name, array in arrays.items() if name != "top"})
    other = MetricSpec(classes=("a", "b", "c"))
    with pytest.raises(InvalidValue, match="cannot merge"):
        WHOLE.merge(EvaluationState.empty(other))
    with pytest.raises(InvalidValue, match="made for"):
        summarise(other, WHOLE)
    with pytest.raises(InvalidValue, match="made for"):
        reliability(other, WHOLE)


@given(st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=30), st.randoms())
def test_exact_sums_round_each_term_once_and_ignore_order(values, random):
    shuffled = random.sample(values, len(values))
    total, again = (carry(fixed(v).sum(axis=0)) for v in (values, shuffled))
    assert np.array_equal(total, again)
    assert 0 <= total[1] < 2**40
    exact = math.fsum(values)
    assert float(floats(total)) == pytest.approx(exact, rel=1e-15, abs=len(values) * 2**-41 + abs(exact) * 2**-52)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**62])
def test_exact_sums_refuse_what_they_cannot_hold(value):
    with pytest.raises(NonFiniteError):
        fixed([1.0, value])


def test_the_door_is_light():
    code = "import json, sys, alframe.metrics as m; m.MetricSpec; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"scipy", "skimage", "torch"}.isdisjoint(json.loads(out))
    import alframe.metrics as door

    assert all(getattr(door, name) is not None for name in door.__all__)
    assert callable(door.observe)
    with pytest.raises(AttributeError):
        _ = door.absent
