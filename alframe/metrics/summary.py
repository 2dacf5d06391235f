"""From sums to named numbers with their conventions.

Legend: ``N`` items, ``C`` classes, ``K`` bins, ``F`` fine bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, fields

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics.calibration import BrierTerms, brier_terms, cells, expected_error, maximum_error, rebin
from alframe.metrics.exact import carry, floats
from alframe.metrics.observation import PROBABILITY_FLOOR
from alframe.metrics.spec import MetricSpec
from alframe.metrics.state import OBJECT_SUMS, EvaluationState
from alframe.types import Bin, Metric

__all__ = ["reliability", "summarise"]

Values = NDArray[np.float64]


def summarise(spec: MetricSpec, state: EvaluationState) -> tuple[Metric, ...]:
    """Every metric of a state, in a fixed order. An undefined number has the value None, never NaN.

    `label` names a class; Dice, Jaccard and class-wise ECE without a label are means over the foreground classes.
    ``mean``, ``p10`` and ``p90`` run over the items with at least one annotated pixel (and a defined value).

    Raises:
        InvalidValue: when the state was made for another specification.
    """
    _check(spec, state)
    return (
        *_likelihood(state),
        *_calibration(spec, state),
        *_brier(spec, state),
        *_overlap(spec, state),
        *(_objects(spec, state) if spec.objects else ()),
    )


def reliability(spec: MetricSpec, state: EvaluationState) -> tuple[Bin, ...]:
    """The bins of the top-label reliability diagram, `spec.binning`; empty ones of equal mass are left out.

    Raises:
        InvalidValue: when the state was made for another specification.
    """
    _check(spec, state)
    fine = floats(state.top)
    where = cells(fine[:, 0], spec.bins, spec.binning)
    table = rebin(fine, spec.bins, spec.binning)
    bins = []
    for index in np.unique(where):
        if spec.binning == "equal_mass" and not table[index, 0]:
            continue
        lower, upper = np.searchsorted(where, [index, index + 1]) / where.size
        count, confidence, correct = (float(value) for value in table[index])
        bins.append(
            Bin(
                index=int(index),
                lower=float(lower),
                upper=float(upper),
                count=count,
                confidence=confidence,
                correct=correct,
            )
        )
    return tuple(bins)


def _check(spec: MetricSpec, state: EvaluationState) -> None:
    if state.spec != spec:
        raise InvalidValue(f"the state was made for {state.spec}, not for {spec}")


def _binning(spec: MetricSpec) -> str:
    if spec.binning == "equal_width":
        return f"{spec.bins} equal-width bins"
    return f"{spec.bins} equal-mass bins cut from {spec.fine_bins} fine ones"


def _spread(name: str, values_N: Values, convention: str, label: str = "") -> Iterator[Metric]:
    """Mean and percentiles over items; NaN marks an item without a value."""
    defined = values_N[~np.isnan(values_N)]
    for statistic in ("mean", "p10", "p90"):
        value = None
        if defined.size:
            value = float(defined.mean() if statistic == "mean" else np.percentile(defined, int(statistic[1:])))
        yield Metric(name=name, value=value, convention=convention, label=label, statistic=statistic)


def _share(part: Values, whole: Values) -> Values:
    """part / whole, NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0), np.float64)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _likelihood(state: EvaluationState) -> Iterator[Metric]:
    per_item = floats(state.pixels)
    pixels, logged, nll, _ = floats(carry(state.pixels.sum(axis=0)))
    source = "log-probabilities" if logged == pixels else f"probabilities clipped at {PROBABILITY_FLOOR:.2g}"
    if 0 < logged < pixels:
        source = f"log-probabilities where given, else {source}"
    convention = f"nats per valid pixel, from {source}"
    yield Metric(name="nll", value=_or_none(_share(nll, pixels).item()), convention=convention)
    yield from _spread("nll", _share(per_item[:, 2], per_item[:, 0]), convention)


def _calibration(spec: MetricSpec, state: EvaluationState) -> Iterator[Metric]:
    fine = floats(state.top)
    table = rebin(fine, spec.bins, spec.binning)
    shape = f"top label, {_binning(spec)}"
    yield Metric(name="ece", value=expected_error(table), convention=shape)
    per_item = [expected_error(item) for item in floats(state.item_bins)]
    item_values = np.array([np.nan if value is None else value for value in per_item], np.float64)
    yield from _spread("ece", item_values, f"top label, {spec.bins} equal-width bins per item")
    yield Metric(name="mce", value=maximum_error(table), convention=shape)
    adaptive = rebin(fine, spec.bins, "equal_mass")
    convention = f"top label, {spec.bins} equal-mass bins cut from {spec.fine_bins} fine ones"
    yield Metric(name="ace", value=expected_error(adaptive), convention=convention)
    correct, count = fine[:, 2].sum(), fine[:, 0].sum()
    yield Metric(name="accuracy", value=_or_none(_share(correct, count).item()), convention="valid pixels")
    per_class = [expected_error(rebin(one, spec.bins, spec.binning)[:, [0, 1, 3]]) for one in floats(state.classwise)]
    convention = f"one against rest, {_binning(spec)}"
    foreground = [value for value in per_class[1:] if value is not None]
    mean = float(np.mean(foreground)) if foreground else None
    yield Metric(name="classwise_ece", value=mean, convention=f"{convention}; mean of the foreground classes")
    for label, value in zip(spec.classes, per_class, strict=True):
        yield Metric(name="classwise_ece", value=value, convention=convention, label=label)


def _brier(spec: MetricSpec, state: EvaluationState) -> Iterator[Metric]:
    tables = np.stack([rebin(one, spec.bins, spec.binning) for one in floats(state.classwise)])
    terms = brier_terms(tables)
    score = None if terms is None else terms.score
    full = "sum over classes, range 0 to 2"
    yield Metric(name="brier", value=score, convention=full)
    per_item = floats(state.pixels)
    yield from _spread("brier", _share(per_item[:, 3], per_item[:, 0]), full)
    normalised = None if score is None else score / len(spec.classes)
    yield Metric(name="brier_normalised", value=normalised, convention="mean over classes")
    values = [None] * len(fields(BrierTerms)) if terms is None else astuple(terms)
    for term, value in list(zip(fields(BrierTerms), values, strict=True))[1:]:
        yield Metric(
            name=f"brier_{term.name}", value=value, convention=f"one against rest summed over classes, {_binning(spec)}"
        )


def _dice_and_jaccard(overlap: Values, empty: float) -> dict[str, Values]:
    """Dice and Jaccard (…) of sums (…, 3: intersection, predicted, true); `empty` where a class is in neither."""
    shared, size = overlap[..., 0], overlap[..., 1] + overlap[..., 2]
    return {
        "dice": np.where(size > 0, _share(2 * shared, size), empty),
        "jaccard": np.where(size > 0, _share(shared, size - shared), empty),
    }


def _foreground_mean(values: Values) -> Values:
    """Mean of the defined foreground classes over the last axis; NaN when there is none."""
    defined = ~np.isnan(values[..., 1:])
    return _share(np.where(defined, values[..., 1:], 0).sum(axis=-1), defined.sum(axis=-1))


def _overlap(spec: MetricSpec, state: EvaluationState) -> Iterator[Metric]:
    empty = 1.0 if spec.both_empty == "one" else np.nan
    seen = floats(state.pixels)[:, 0] > 0
    items = floats(state.overlap)[seen]
    pooled = _dice_and_jaccard(items.sum(axis=0), empty if seen.any() else np.nan)
    each = _dice_and_jaccard(items, empty)
    convention = "both empty = 1" if spec.both_empty == "one" else "both empty left out"
    for name in ("dice", "jaccard"):
        mean = f"{convention}; mean of the foreground classes"
        yield Metric(name=name, value=_or_none(_foreground_mean(pooled[name]).item()), convention=mean)
        yield from _spread(name, _foreground_mean(each[name]), mean)
        for c, label in enumerate(spec.classes):
            yield Metric(name=name, value=_or_none(pooled[name][c]), convention=convention, label=label)
            yield from _spread(name, each[name][:, c], convention, label)
    neither = ((items[..., 1] + items[..., 2]) == 0).sum(axis=0)
    for c, label in enumerate(spec.classes):
        yield Metric(name="both_empty", value=float(neither[c]), convention="items without the class", label=label)


def _objects(spec: MetricSpec, state: EvaluationState) -> Iterator[Metric]:
    total = dict(zip(OBJECT_SUMS, floats(state.objects).tolist(), strict=True))
    true, found, hit = total["truth_objects"], total["found_objects"], total["true_positives"]
    observed = bool(np.any(state.pixels[:, 0] > 0))
    neither = 1.0 if spec.both_empty == "one" and observed else None
    some = true + found > 0

    halves = [total[f"{side}_dice"] / max(total[f"{side}_area"], 1.0) for side in ("truth", "found")]
    cover = "GlaS: covers more than half of its best true object; whole set"
    yield Metric(name="object_f1", value=2 * hit / (true + found) if some else neither, convention=cover)
    yield Metric(name="object_precision", value=hit / found if found else None, convention=cover)
    yield Metric(name="object_recall", value=hit / true if true else None, convention=cover)
    weighted = "GlaS: weighted by area over the whole set"
    yield Metric(name="object_dice", value=sum(halves) / 2 if some else neither, convention=weighted)
    value = _object_hausdorff(total)
    convention = f"{weighted}; pixels; object alone in its image = image diagonal"
    yield Metric(name="object_hausdorff", value=value, convention=convention)
    for name, key in (("truth", "truth_objects"), ("found", "found_objects"), ("alone", "alone")):
        yield Metric(name=f"objects_{name}", value=total[key], convention="count over the whole set")


def _object_hausdorff(total: dict[str, float]) -> float | None:
    """Half the sum of both weighted means; one side alone when the other has no object, None when neither has."""
    sides = [total[f"{side}_hausdorff"] / area for side in ("truth", "found") if (area := total[f"{side}_area"])]
    return sum(sides) / len(sides) if sides else None
