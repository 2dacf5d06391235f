"""From the sums of several raters to named numbers with their conventions.

Legend: ``N`` items, ``R`` raters, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics import raters as measure
from alframe.metrics.calibration import expected_error, rebin
from alframe.metrics.exact import carry, floats
from alframe.metrics.rater_state import ITEM_SUMS, RaterSpec, RaterState
from alframe.types import Metric

__all__ = ["summarise_raters"]

Values = NDArray[np.float64]


def summarise_raters(spec: RaterSpec, state: RaterState) -> tuple[Metric, ...]:
    """Every metric of a state, in a fixed order. An undefined number has the value None, never NaN.

    GED², NCC and the pixel-level agreement are numbers of one image: ``pooled`` is their mean over the images where they are
    defined, ``p10`` and ``p90`` go over the same images. `label` names a class (GED²) or a rater.

    Raises:
        InvalidValue: when the state was made for another specification.
    """
    if state.spec != spec:
        raise InvalidValue(f"the state was made for {state.spec}, not for {spec}")
    table = floats(state.scores)
    columns = {name: table[:, position] for position, name in enumerate(ITEM_SUMS)}
    return (*_energy(spec, state, columns), *_correlations(columns), *_images(columns), *_scores(spec, state))


def _over_images(name: str, value_N: Values, convention: str, label: str = "") -> Iterator[Metric]:
    defined = value_N[~np.isnan(value_N)]
    for statistic in ("pooled", "p10", "p90"):
        value = None
        if defined.size:
            value = float(defined.mean() if statistic == "pooled" else np.percentile(defined, int(statistic[1:])))
        yield Metric(name=name, value=value, convention=convention, label=label, statistic=statistic)


def _ratio(part: Values, whole: Values) -> Values:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0), np.float64)


def _energy(spec: RaterSpec, state: RaterState, columns: dict[str, Values]) -> Iterator[Metric]:
    each_NC = _ratio(floats(state.energy), np.broadcast_to(columns["energies"][:, None], state.energy.shape[:2]))
    said = f"1 − IoU, both empty = 0, up to {spec.samples} samples, self-pairs included; mean over images"
    yield from _over_images("ged", each_NC.mean(axis=1), f"{said}, mean of the foreground classes")
    if len(spec.classes) > 2:
        for position, label in enumerate(spec.classes[1:]):
            yield from _over_images("ged", each_NC[:, position], said, label)


def _correlations(columns: dict[str, Values]) -> Iterator[Metric]:
    for name, words in (("ncc", "predictive variance"), ("agreement", "predicted disagreement")):
        value = _ratio(columns[name], columns[f"{name}_defined"])
        shown = {"ncc": "ncc", "agreement": "pixel_agreement"}[name]
        said = f"Pearson, {words} against the raters' variance (ddof 0) over pixels; mean over images"
        yield from _over_images(shown, value, said)
        left = float(np.sum(columns[f"{name}_defined"] < columns["seen"]))
        yield Metric(name=f"{shown}_undefined", value=left, convention="images left out: a constant map")


def _images(columns: dict[str, Values]) -> Iterator[Metric]:
    seen = columns["compared"] > 0
    u, apart, area = (
        columns[name][seen] / columns["compared"][seen] for name in ("uncertainty", "disagreement", "foreground")
    )
    said = "mean predicted disagreement of an image against 1 − mean pairwise Dice of its raters"
    found = {
        "image_agreement": (measure.correlation(u, apart), f"Pearson, {said}"),
        "image_agreement_rank": (measure.rank_correlation(u, apart), f"Spearman, {said}"),
        "image_agreement_partial": (
            measure.partial_correlation(u, apart, area),
            f"Pearson, {said}, given the foreground's share",
        ),
    }
    for name, (value, convention) in found.items():
        yield Metric(name=name, value=value, convention=convention)
    mean = float(apart.mean()) if apart.size else None
    yield Metric(name="raters_apart", value=mean, convention="1 − mean pairwise Dice of the raters; mean over images")


def _scores(spec: RaterSpec, state: RaterState) -> Iterator[Metric]:
    """Likelihood, Brier, calibration and Dice against each rater and against all of them."""
    each = floats(state.likelihood)
    pixels, nll, brier = floats(carry(state.likelihood.sum(axis=0)))
    some = pixels > 0
    said = {"rater_nll": "nats per pixel and rater", "rater_brier": "½ Σ_c (p − y)², which is (y − p)² of two classes"}
    for name, total in (("rater_nll", nll), ("rater_brier", brier)):
        yield Metric(name=name, value=float(total / pixels) if some else None, convention=said[name])
    table = rebin(floats(state.top), spec.bins, "equal_width")
    yield Metric(
        name="rater_ece",
        value=expected_error(table),
        convention=f"top label against every rater, {spec.bins} equal-width bins",
    )
    dice_R = [_dice(one) for one in floats(state.overlap)]
    drawn = [value for value in dice_R if value is not None]
    convention = "pixels of all images, both empty = 1, mean of the foreground classes"
    value = float(np.mean(drawn)) if drawn else None
    yield Metric(name="rater_dice", value=value, convention=f"{convention}; mean over raters")
    for r, rater in enumerate(state.raters):
        count = each[r, 0]
        for column, name in enumerate(said, start=1):
            yield Metric(
                name=name, value=float(each[r, column] / count) if count else None, convention=said[name], label=rater
            )
        yield Metric(name="rater_dice", value=dice_R[r], convention=convention, label=rater)


def _dice(overlap_C3: Values) -> float | None:
    if not overlap_C3.any():
        return None
    size = overlap_C3[1:, 1] + overlap_C3[1:, 2]
    return float(np.mean(np.where(size > 0, 2 * overlap_C3[1:, 0] / np.maximum(size, 1.0), 1.0)))
