"""GlaS object metrics against masks compared one by one, closed forms, scipy and MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from alframe.errors import InvalidValue
from alframe.metrics import EvaluationState, MetricSpec, observe, summarise
from alframe.metrics.objects import object_sums
from alframe.metrics.shapes import hausdorff
from alframe.types import LabelMap, Metric

SPEC = MetricSpec(classes=("background", "gland"), objects=True, min_object=5)
NAMES = ("object_f1", "object_precision", "object_recall", "object_dice", "object_hausdorff")
Map = NDArray[np.int32]


def blobs(seed: int, shape: tuple[int, ...], level: float = 0.3, smooth: float = 2.0) -> Map:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return np.asarray(ndimage.label(field > level * field.std())[0], np.int32)


def state_of(item: str, found: Map, truth: Map, ignored: NDArray[np.bool_] | None = None) -> EvaluationState:
    label = (truth > 0).astype(np.uint8)
    if ignored is not None:
        label[ignored] = 255
    p = np.where(found > 0, 0.9, 0.1)
    maps = LabelMap(classes=label, instances=truth)
    return observe(SPEC, item=item, mean=np.stack([1 - p, p]), truth=maps, instances=found)


def values_of(metrics: tuple[Metric, ...]) -> dict[str, float | None]:
    return {m.name: m.value for m in metrics if m.statistic == "pooled" and not m.label}


def brute_distance(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    between = cdist(np.argwhere(a), np.argwhere(b))
    return float(max(between.min(axis=1).max(), between.min(axis=0).max()))


def brute_side(objects: Map, others: Map) -> list[tuple[int, float, float]]:
    """(area, Dice, Hausdorff) of each object, mask by mask."""
    masks = [others == n for n in np.unique(others) if n > 0]
    out = []
    for number in (n for n in np.unique(objects) if n > 0):
        mask = objects == number
        shared = [int((mask & other).sum()) for other in masks]
        if not masks:
            out.append((int(mask.sum()), 0.0, math.hypot(*objects.shape)))
        elif max(shared) == 0:
            out.append((int(mask.sum()), 0.0, min(brute_distance(mask, other) for other in masks)))
        else:
            other = masks[shared.index(max(shared))]
            dice = 2 * max(shared) / (mask.sum() + other.sum())
            out.append((int(mask.sum()), float(dice), brute_distance(mask, other)))
    return out


def brute(pairs: list[tuple[Map, Map]]) -> dict[str, float]:
    """The metrics of (found, truth) pairs by their definition."""
    hits = trues = founds = 0
    sides: tuple[list[tuple[int, float, float]], ...] = ([], [])
    for found, truth in pairs:
        trues += len(set(truth[truth > 0].tolist()))
        founds += len(set(found[found > 0].tolist()))
        for number in set(found[found > 0].tolist()):
            under = truth[(found == number) & (truth > 0)]
            if under.size:
                ids, counts = np.unique(under, return_counts=True)
                best = ids[counts.argmax()]
                hits += int(counts.max() > 0.5 * (truth == best).sum())
        sides[0].extend(brute_side(truth, found))
        sides[1].extend(brute_side(found, truth))
    weighted = [[sum(o[0] * o[k] for o in side) / sum(o[0] for o in side) for side in sides] for k in (1, 2)]
    precision, recall = hits / founds, hits / trues
    return {
        "object_precision": precision,
        "object_recall": recall,
        "object_f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "object_dice": sum(weighted[0]) / 2,
        "object_hausdorff": sum(weighted[1]) / 2,
    }


@pytest.mark.parametrize("shape", [(40, 52), (9, 18, 16)])
def test_a_whole_set_equals_the_definition(shape):
    pairs = [(blobs(seed, shape, 0.8, 1.7), blobs(seed + 50, shape)) for seed in range(3)]
    pairs += [(np.roll(truth, 3, axis=-1), truth) for _, truth in pairs]
    pairs.append((np.zeros(shape, np.int32), blobs(9, shape)))
    states = [state_of(str(n), found, truth) for n, (found, truth) in enumerate(pairs)]
    got = values_of(summarise(SPEC, EvaluationState.empty(SPEC).merge(*states)))
    for name, value in brute(pairs).items():
        assert got[name] == pytest.approx(value, abs=1e-9), name
    assert got["objects_alone"] == pairs[-1][1].max()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_small_maps_equal_the_definition(data):
    side = data.draw(st.integers(2, 6))
    numbers = st.lists(st.sampled_from([0, 0, 1, 2, 7, 40_000_000]), min_size=side * side, max_size=side * side)
    found, truth = (np.array(data.draw(numbers), np.int32).reshape(side, side) for _ in range(2))
    got = values_of(summarise(SPEC, state_of("x", found, truth)))
    if found.any() and truth.any():
        for name, value in brute([(found, truth)]).items():
            assert got[name] == pytest.approx(value, abs=1e-9), name


def test_a_perfect_answer_and_a_renumbered_one():
    truth = blobs(1, (50, 60))
    for found in (truth, np.where(truth > 0, 1000 - truth, 0).astype(np.int32)):
        got = values_of(summarise(SPEC, state_of("x", found, truth)))
        assert [got[name] for name in NAMES] == pytest.approx([1, 1, 1, 1, 0], abs=1e-12)


def test_half_covered_is_not_enough_and_more_than_half_is():
    truth = np.zeros((4, 10), np.int32)
    truth[1, :10] = 3
    for width, hit in ((5, 0), (6, 1)):
        found = np.zeros_like(truth)
        found[1, :width] = 1
        assert values_of(summarise(SPEC, state_of("x", found, truth)))["object_recall"] == hit


def test_one_found_object_over_two_true_ones_hits_once():
    truth = np.zeros((3, 9), np.int32)
    truth[1, :4], truth[1, 5:] = 1, 2
    found = np.ones_like(truth)
    got = values_of(summarise(SPEC, state_of("x", found, truth)))
    assert (got["object_precision"], got["object_recall"]) == (1.0, 0.5)
    assert got["object_f1"] == pytest.approx(2 / 3)


def test_touching_objects_are_told_apart_by_number():
    truth = np.repeat(np.arange(1, 5, dtype=np.int32), 25).reshape(10, 10)
    got = values_of(summarise(SPEC, state_of("x", truth, truth)))
    assert got["objects_truth"] == 4
    assert got["object_f1"] == 1


def test_more_than_255_objects():
    truth = np.arange(60 * 60, dtype=np.int32).reshape(60, 60) // 4 + 1
    for shift, recall in ((1, 1.0), (2, 0.0)):  # each of them covers three of four pixels, or just half
        got = values_of(summarise(SPEC, state_of("x", np.roll(truth, shift, axis=1), truth)))
        assert (got["objects_truth"], got["objects_found"], got["object_recall"]) == (900, 900, recall)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges.*always_return_as_numpy:FutureWarning")
def test_disjoint_convex_objects_equal_monai():
    import torch
    from monai.metrics import compute_hausdorff_distance

    grid = np.indices((48, 64))
    random = np.random.default_rng(5)
    for _ in range(4):
        truth, found = (
            (((grid[0] - random.uniform(12, 36)) / random.uniform(4, 11)) ** 2 + ((grid[1] - x) / 9) ** 2 < 1)
            for x in (14, 48)
        )
        other = compute_hausdorff_distance(  # in float32
            torch.tensor(found)[None, None].float(), torch.tensor(truth)[None, None].float(), include_background=True
        )
        assert hausdorff(found.astype(np.int32), truth.astype(np.int32)) == pytest.approx(float(other), rel=1e-6)
        got = values_of(summarise(SPEC, state_of("x", found.astype(np.int32), truth.astype(np.int32))))
        assert got["object_hausdorff"] == pytest.approx(float(other), rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), axes=st.integers(2, 3))
def test_hausdorff_is_symmetric_and_equals_all_pairs(seed, axes):
    random = np.random.default_rng(seed)
    a, b = ((random.random((7,) * axes) < random.uniform(0.02, 0.8)).astype(np.int32) for _ in range(2))
    a.flat[0] = b.flat[-1] = 1
    assert hausdorff(a, b) == pytest.approx(brute_distance(a > 0, b > 0), abs=1e-12)
    assert hausdorff(a, b) == hausdorff(b, a)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(70, 60), (20, 18, 17)]), part=st.integers(1, 40))
def test_ruling_out_blocks_changes_no_distance(seed, shape, part):
    random = np.random.default_rng(seed)
    large = ndimage.gaussian_filter(random.normal(size=shape), 2.0) > -0.02
    small = np.zeros(shape, bool)
    corner = [int(random.integers(0, n)) for n in shape]
    small[tuple(slice(c, c + part) for c in corner)] = True
    assert hausdorff(large.astype(np.int32), small.astype(np.int32)) == pytest.approx(
        max(
            ndimage.distance_transform_edt(~small)[large].max(),
            ndimage.distance_transform_edt(~large)[small].max(),
        ),
        abs=1e-9,
    )


def test_nothing_found_nothing_true():
    truth, none = blobs(3, (30, 30)), np.zeros((30, 30), np.int32)
    missed = values_of(summarise(SPEC, state_of("x", none, truth)))
    assert missed["object_f1"] == missed["object_dice"] == missed["object_recall"] == 0
    assert missed["object_precision"] is None
    assert missed["object_hausdorff"] == pytest.approx(math.hypot(30, 30), abs=1e-9)
    neither = values_of(summarise(SPEC, state_of("x", none, none)))
    assert neither["object_f1"] == neither["object_dice"] == 1
    assert neither["object_hausdorff"] is None
    strict = MetricSpec(classes=SPEC.classes, objects=True, both_empty="nan")
    state = EvaluationState.empty(strict)
    assert all(values_of(summarise(strict, state))[name] is None for name in NAMES)


def test_unannotated_pixels_hold_no_object():
    truth, found = blobs(4, (30, 40)), blobs(5, (30, 40))
    ignored = np.zeros(truth.shape, bool)
    ignored[:, 20:] = True
    got = values_of(summarise(SPEC, state_of("x", found, truth, ignored)))
    expected = brute([(np.where(ignored, 0, found), np.where(ignored, 0, truth))])
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-9), name


def test_objects_are_derived_from_the_foreground_when_none_are_given():
    truth = blobs(6, (40, 40))
    p = np.where(truth > 0, 0.8, 0.2)
    maps = LabelMap(classes=(truth > 0).astype(np.uint8), instances=truth)
    metrics = summarise(SPEC, observe(SPEC, item="x", mean=np.stack([1 - p, p]), truth=maps))
    large = (np.bincount(truth.ravel())[1:] >= SPEC.min_object).sum()
    assert values_of(metrics)["objects_found"] == large


def test_truth_without_instances():
    p = np.full((2, 6, 6), 0.5)
    confirmed_empty = LabelMap(classes=np.zeros((6, 6), np.uint8))
    got = values_of(summarise(SPEC, observe(SPEC, item="x", mean=p, truth=confirmed_empty)))
    assert got["objects_truth"] == 0
    with pytest.raises(InvalidValue, match="x: object metrics need instance ids"):
        observe(SPEC, item="x", mean=p, truth=LabelMap(classes=np.ones((6, 6), np.uint8)))


def test_wrong_maps_are_refused():
    a = np.ones((3, 3), np.int32)
    with pytest.raises(InvalidValue, match="differ in shape"):
        object_sums(a, a[:2])
    with pytest.raises(InvalidValue, match="negative"):
        object_sums(-a, a)
    with pytest.raises(InvalidValue, match="non-empty"):
        hausdorff(a, np.zeros_like(a))
    with pytest.raises(InvalidValue, match="predicted instances"):
        observe(
            SPEC,
            item="x",
            mean=np.full((2, 3, 3), 0.5),
            truth=LabelMap(classes=np.zeros((3, 3), np.uint8)),
            instances=a[:2],
        )
