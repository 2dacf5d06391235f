"""What the LIDC table says of one predictor, against all four raters of every test image.

Legend: ``C`` classes, ``R`` raters, ``N`` samples, ``S`` space.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alframe import metrics, seeding
from alframe.jobs import fused_truth
from alframe.learners.stochastic_prediction import StochasticPredictor
from alframe.metrics import EvaluationState, MetricSpec
from alframe.metrics.blobs import BlobTable, area_under_roc, froc, logit_statistics, match_blobs
from alframe.metrics.raters import (
    brier_of_raters,
    correlation,
    disagreement,
    energy_distance,
    iou_distances,
    nll_of_raters,
    partial_correlation,
    rank_correlation,
    segmentations,
    spread,
    vote_fractions,
)
from alframe.ports import Moments, Pool, Predictor
from alframe.strategies import measures, moments
from alframe.types import LabelMap, Split
from benchmarks.lidc_rows import SIZES

__all__ = ["SAMPLES", "apart", "measure"]

SAMPLES = 50
LOGIT_SHAPE = ("mean", "skewness", "excess_kurtosis")
Maps = NDArray[np.float64]


@dataclass
class Sums:
    """What is gathered image by image."""

    dice: list[float] = field(default_factory=list)
    ged: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)
    among: list[float] = field(default_factory=list)
    ncc: list[float | None] = field(default_factory=list)
    pixel: list[float | None] = field(default_factory=list)
    uncertain: list[float] = field(default_factory=list)
    differ: list[float] = field(default_factory=list)
    votes: list[float] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    epistemic: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    nll: float = 0.0
    brier: float = 0.0
    pixels: int = 0


def uncertainty(found: Moments) -> Maps:
    """Where the model expects raters to differ (S): its own word, else the aleatoric part, else (one pass) all there is."""
    if found.disagreement is None and found.count < 2:
        return measures.total_variance(found)
    return measures.rater_disagreement(found)


def apart(masks_NS: NDArray[np.uint8]) -> float:
    """The mean distance 1 − IoU of the foreground of two masks of a set, a mask paired with itself included (a term of GED²)."""
    masks_NP = masks_NS.reshape(len(masks_NS), -1) == 1
    return float(iou_distances(masks_NP, masks_NP).mean())


def measure(predictor: Predictor, pool: Pool, *, seed: int, items: int | None = None) -> Mapping[str, float]:
    """The numbers of one row and seed over the test images (the first `items` of them)."""
    spec = MetricSpec(classes=pool.classes)
    state, sums = EvaluationState.empty(spec), Sums()
    for info in pool.items(Split.TEST)[:items]:
        image = pool.image(info.id)
        began = time.process_time()
        found = predictor.predict(image, seed=seeding.derive(seed, "predict", info.id), log=True, spread=True).moments
        sums.seconds.append(time.process_time() - began)
        raters_RS = np.stack([pool.truth(info.id, rater).classes for rater in info.raters])
        drawn = predictor.samples(image, count=SAMPLES, seed=seeding.derive(seed, "samples", info.id))
        mean, log_mean = moments.mean(found), moments.log_mean(found)
        for rater, labels_S in zip(info.raters, raters_RS, strict=True):
            truth = LabelMap(classes=labels_S)
            name = f"{info.id}/{rater}"
            state = state.merge(metrics.observe(spec, item=name, mean=mean, log_mean=log_mean, truth=truth))
        _add(sums, found, mean, log_mean, raters_RS, segmentations(drawn), fused_truth(pool, info.id).classes)
    return {**_numbers(sums, spec, state), **_logits(predictor, pool, seed, items)}


def _logits(predictor: Predictor, pool: Pool, seed: int, items: int | None) -> dict[str, float]:
    """How the logits of foreground are spread, with noisy copies and (the member of the largest patches) without."""
    if not isinstance(predictor, StochasticPredictor):
        return {}
    found: dict[str, float] = {}
    images = [(info.id, pool.image(info.id)) for info in pool.items(Split.TEST)[:items]]
    truths = [fused_truth(pool, name).classes for name, _ in images]
    maps = {
        "stochastic": [predictor.foreground_logit(x, seed=seeding.derive(seed, "predict", name)) for name, x in images],
        "deterministic": [predictor.deterministic_logit(x, member=len(SIZES) - 1) for _, x in images],
    }
    for kind, logits in maps.items():
        shape = logit_statistics(np.concatenate([one.ravel() for one in logits]))
        found |= {f"{kind}_{name}": float(getattr(shape, name)) for name in LOGIT_SHAPE}
        blobs = [match_blobs(one, truth) for one, truth in zip(logits, truths, strict=True)]
        every, curve = BlobTable.concatenate(blobs), froc(blobs)
        found |= {
            f"{kind}_auroc": area_under_roc(every.logit, every.true),
            f"{kind}_found": curve.at(1.0),
            f"{kind}_found_quarter": curve.at(0.25),
            f"{kind}_true": float(np.count_nonzero(every.true)),
            f"{kind}_false": float(np.count_nonzero(~every.true)),
        }
    return found


def _add(
    sums: Sums,
    found: Moments,
    mean_CS: Maps,
    log_CS: Maps,
    raters_RS: NDArray[np.uint8],
    samples_NS: NDArray[np.uint8],
    majority_S: NDArray[np.uint8],
) -> None:
    """Take one image."""
    guess, real = mean_CS[1] > 0.5, majority_S == 1
    size = int(guess.sum()) + int(real.sum())
    sums.dice.append(2 * int((guess & real).sum()) / size if size else 1.0)
    distance = energy_distance(samples_NS, raters_RS, classes=2)
    assert distance is not None
    sums.ged.append(float(distance[0]))
    sums.within.append(apart(samples_NS))
    sums.among.append(apart(raters_RS))
    votes_CS, _ = vote_fractions(raters_RS, classes=2)
    differing_S, uncertain_S = spread(votes_CS), uncertainty(found)
    sums.ncc.append(correlation(spread(mean_CS), differing_S))
    sums.pixel.append(correlation(uncertain_S, differing_S))
    sums.uncertain.append(float(uncertain_S.mean()))
    sums.votes.append(float(differing_S.mean()))
    differ = disagreement(raters_RS, classes=2)
    assert differ is not None
    sums.differ.append(differ)
    sums.area.append(float(votes_CS[1].mean()))
    if found.count > 1:
        sums.epistemic.append(float(measures.epistemic(found).mean()))
        sums.total.append(float(measures.total_variance(found).mean()))
    nll, counted = nll_of_raters(log_CS, raters_RS)
    brier, _ = brier_of_raters(mean_CS, raters_RS)
    sums.nll, sums.brier, sums.pixels = sums.nll + nll.sum(), sums.brier + brier.sum(), sums.pixels + int(counted.sum())


def _numbers(sums: Sums, spec: MetricSpec, state: EvaluationState) -> dict[str, float]:
    pooled = {m.name: m.value for m in metrics.summarise(spec, state) if m.statistic == "pooled" and m.label == ""}
    uncertain, differ, area = (np.array(values) for values in (sums.uncertain, sums.differ, sums.area))
    image = {
        "image_votes": correlation(uncertain, np.array(sums.votes)),
        "image_pearson": correlation(uncertain, differ),
        "image_spearman": rank_correlation(uncertain, differ),
        "image_partial": partial_correlation(uncertain, differ, area),
    }
    share = max(0.0, sum(sums.epistemic)) / sum(sums.total) if sums.total else float("nan")
    return {
        "dice": float(np.mean(sums.dice)),
        "ged2": float(np.mean(sums.ged)),
        "within": float(np.mean(sums.within)),
        "among": float(np.mean(sums.among)),
        "ncc": _defined(sums.ncc),
        "pixel": _defined(sums.pixel),
        **{name: float("nan") if value is None else value for name, value in image.items()},
        "nll": sums.nll / sums.pixels,
        "brier": sums.brier / sums.pixels,
        "ece": float(pooled["ece"] or 0.0),
        "epistemic_share": share,
        "ms": 1000 * float(np.median(sums.seconds)),
    }


def _defined(values: list[float | None]) -> float:
    """The mean of the correlations that exist (a constant map has none)."""
    some = [value for value in values if value is not None]
    return float(np.mean(some)) if some else float("nan")
