"""From one prediction and its truth to sums: the only part of the metrics that looks at pixels.

Legend: ``C`` classes, ``S`` the spatial axes ``(Z) Y X``, ``P`` the valid pixels or voxels, ``K`` bins. Pixels whose
truth is 255 (not annotated, padding) take part in nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue, NonFiniteError
from alframe.metrics.exact import fixed
from alframe.metrics.instances import instances_from
from alframe.metrics.objects import object_sums
from alframe.metrics.spec import MetricSpec
from alframe.metrics.state import OBJECT_SUMS, EvaluationState
from alframe.types import UNANNOTATED, LabelMap

__all__ = ["PROBABILITY_FLOOR", "observe", "overlap_sums", "reliability_sums", "top_label"]

Floats = NDArray[np.floating[Any]]

PROBABILITY_FLOOR = float(np.finfo(np.float32).tiny)
"""Smallest probability inside a logarithm when no log-probabilities are given (1.2e-38, NLL 87.3)."""

_SLACK = 1e-3


def observe(
    spec: MetricSpec,
    *,
    item: str,
    mean: Floats,
    truth: LabelMap,
    log_mean: Floats | None = None,
    instances: NDArray[np.int32] | None = None,
) -> EvaluationState:
    """The state of one item, or of one box of an item.

    `item` names the unit that means and percentiles run over; states of one name add up. `mean` (C, S) is the mean
    probability p̄, `log_mean` (C, S) its logarithm from logsumexp (NLL is taken from it when given). `instances` (S)
    are the predicted objects; None takes the components of the foreground 1 − p̄_0 (no contour).

    Raises:
        InvalidValue: when shapes, class ids or probabilities do not fit, or objects are asked of a truth that has none.
        NonFiniteError: when a probability is NaN or infinite; the message names the item.
    """
    classes = len(spec.classes)
    _check_shapes(item, classes, mean, truth, log_mean, instances)
    label = truth.classes.ravel()
    valid = label != UNANNOTATED
    keep = slice(None) if valid.all() else np.flatnonzero(valid)
    y_P = label[keep]
    p_CP = np.asarray(mean.reshape(classes, -1)[:, keep], np.float64)
    _check_values(item, spec, p_CP, y_P)
    confidence_P, top_P = top_label(p_CP)
    top = reliability_sums(confidence_P, top_P == y_P, spec.fine_bins)
    classwise = np.stack([_class_sums(p_CP[c], y_P == c, spec.class_bins) for c in range(classes)])
    log_CP = None if log_mean is None else log_mean.reshape(classes, -1)[:, keep]
    brier = classwise[:, :, 2].sum() - 2 * classwise[:, :, 4].sum() + classwise[:, :, 3].sum()
    logged = y_P.size if log_mean is not None else 0
    nll = _negative_log_likelihood(item, p_CP if log_CP is None else log_CP, y_P, logs=log_CP is not None)
    return EvaluationState(
        spec=spec,
        items=(item,),
        pixels=fixed([[y_P.size, logged, nll, brier]]),
        item_bins=fixed(top.reshape(1, spec.bins, -1, 3).sum(axis=2)),
        overlap=fixed(overlap_sums(top_P, y_P, classes)[None]),
        top=fixed(top),
        classwise=fixed(classwise),
        objects=fixed(_objects(spec, item, mean, truth, instances)),
    )


def _check_shapes(
    item: str,
    classes: int,
    mean: Floats,
    truth: LabelMap,
    log_mean: Floats | None,
    instances: NDArray[np.int32] | None,
) -> None:
    expected = (classes, *truth.shape)
    for name, array in (("mean", mean), ("log_mean", log_mean)):
        if array is not None and array.shape != expected:
            raise InvalidValue(f"{item}: {name} must have the shape (C, S) = {expected}, got {array.shape}")
    if instances is not None and instances.shape != truth.shape:
        raise InvalidValue(f"{item}: predicted instances must have the shape {truth.shape}, got {instances.shape}")


def _check_values(item: str, spec: MetricSpec, p_CP: NDArray[np.float64], y_P: NDArray[np.uint8]) -> None:
    if not y_P.size:
        return
    if int(y_P.max()) >= len(spec.classes):
        raise InvalidValue(f"{item}: class ids must be 0..{len(spec.classes) - 1} or 255, found {int(y_P.max())}")
    total = p_CP.sum(axis=0)
    if not np.isfinite(total).all():
        raise NonFiniteError(f"{item}: a mean probability is NaN or infinite")
    if p_CP.min() < -_SLACK or abs(total.min() - 1) > _SLACK or abs(total.max() - 1) > _SLACK:
        raise InvalidValue(
            f"{item}: probabilities must be >= 0 and sum to 1 over the classes, found a minimum of {p_CP.min():.4g} "
            f"and sums in [{total.min():.4g}, {total.max():.4g}]; pass probabilities, not logits"
        )


def top_label(p_CP: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Largest probability and its class; ties go to the smaller class id."""
    best, arg = p_CP[0].copy(), np.zeros(p_CP.shape[1], np.uint8)
    for c in range(1, len(p_CP)):
        arg[p_CP[c] > best] = c
        np.maximum(best, p_CP[c], out=best)
    return best, arg


def _bin_of(p_P: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Bin ``[k/K, (k+1)/K)`` of each probability; exactly 1.0 belongs to the last bin."""
    return np.clip((p_P * bins).astype(np.intp), 0, bins - 1)


def reliability_sums(p_P: NDArray[np.float64], correct_P: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """(K, 3): count, Σ confidence, Σ correct."""
    index = _bin_of(p_P, bins)
    key = 2 * index + correct_P
    count = np.bincount(key, minlength=2 * bins).reshape(bins, 2)
    return np.stack([count.sum(axis=1), np.bincount(index, p_P, bins), count[:, 1]], axis=1, dtype=np.float64)


def _class_sums(p_P: NDArray[np.float64], y_P: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """(K, 5): count, Σp, Σp², Σy, Σpy of one class against the rest."""
    key = 2 * _bin_of(p_P, bins) + y_P
    count = np.bincount(key, minlength=2 * bins).reshape(bins, 2)
    first = np.bincount(key, p_P, 2 * bins).reshape(bins, 2)
    second = np.bincount(key, p_P * p_P, 2 * bins).reshape(bins, 2)
    columns = [count.sum(axis=1), first.sum(axis=1), second.sum(axis=1), count[:, 1], first[:, 1]]
    return np.stack(columns, axis=1, dtype=np.float64)


def overlap_sums(top_P: NDArray[np.uint8], y_P: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(C, 3): intersection, predicted and true pixels of each class."""
    confusion = np.bincount(y_P.astype(np.intp) * classes + top_P, minlength=classes**2).reshape(classes, classes)
    return np.stack([confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)], axis=1)


def _negative_log_likelihood(item: str, values_CP: Floats, y_P: NDArray[np.uint8], *, logs: bool) -> float:
    """Σ −log p̄_y over the valid pixels, from logarithms or from probabilities."""
    picked = values_CP.reshape(-1)[y_P.astype(np.intp) * y_P.size + np.arange(y_P.size)]
    picked = picked.astype(np.float64, copy=False)
    total = float(np.sum(picked if logs else np.log(np.maximum(picked, PROBABILITY_FLOOR))))
    if not np.isfinite(total):
        raise NonFiniteError(f"{item}: a log-probability of the true class is NaN or infinite")
    return -total


def _objects(
    spec: MetricSpec, item: str, mean: Floats, truth: LabelMap, instances: NDArray[np.int32] | None
) -> NDArray[np.float64]:
    if not spec.objects:
        return np.zeros(len(OBJECT_SUMS))
    annotated = truth.annotated
    truth_S = truth.instances
    if truth_S is None:
        if np.any(annotated & (truth.classes != 0)):
            raise InvalidValue(
                f"{item}: object metrics need instance ids in the truth, and it has classes only; "
                "set objects to false or ingest instance maps"
            )
        truth_S = np.zeros(truth.shape, np.int32)
    if instances is None:
        instances = instances_from(1 - mean[0], None, min_size=spec.min_object)
    return object_sums(np.where(annotated, instances, 0), np.where(annotated, truth_S, 0))
