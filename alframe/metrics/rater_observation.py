"""From one prediction and several raters' maps to sums.

Legend: ``N`` samples, ``R`` raters, ``C`` classes, ``F`` fine bins, ``S`` the spatial axes ``(Z) Y X``, ``P`` pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.metrics import raters as measure
from alframe.metrics.exact import fixed
from alframe.metrics.observation import overlap_sums, reliability_sums, top_label
from alframe.metrics.rater_state import ITEM_SUMS, RaterSpec, RaterState
from alframe.types import UNANNOTATED

__all__ = ["observe_raters"]

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.uint8]


def observe_raters(
    spec: RaterSpec,
    *,
    item: str,
    mean: Floats,
    log_mean: Floats,
    samples: Floats,
    uncertainty: Floats,
    truth: Mapping[str, Labels],
) -> RaterState:
    """The state of one item.

    `mean` (C, S) is the mean probability and `log_mean` its logarithm, `samples` (N, C, S) are draws of whole segmentations,
    `uncertainty` (S) is how much the raters differ by the model's word, `truth` each rater's classes (S, 255 = said nothing).

    Raises:
        InvalidValue: when shapes or class ids do not fit, or no rater is given.
        NonFiniteError: when a value is NaN or infinite.
    """
    classes, names = len(spec.classes), sorted(truth)
    shape = mean.shape[1:]
    if not names or len(mean) != classes or any(truth[name].shape != shape for name in names):
        raise InvalidValue(f"{item}: raters and a prediction of {classes} classes need one shape, got {mean.shape}")
    maps_RS = np.stack([truth[name] for name in names])
    energy = measure.energy_distance(measure.segmentations(samples), maps_RS, classes=classes)
    found = {"seen": 1.0, "energies": float(energy is not None), **_agreement(mean, uncertainty, maps_RS)}
    nll_R, count_R = measure.nll_of_raters(log_mean, maps_RS)
    brier_R, _ = measure.brier_of_raters(mean, maps_RS)
    overlap_RC3, top_F3 = _hits(mean, maps_RS, spec.fine_bins)
    return RaterState(
        spec=spec,
        items=(item,),
        raters=tuple(names),
        scores=fixed([[found.get(name, 0.0) for name in ITEM_SUMS]]),
        energy=fixed(np.zeros((1, classes - 1)) if energy is None else energy[None]),
        likelihood=fixed(np.stack([count_R, nll_R, brier_R], axis=1)),
        overlap=fixed(overlap_RC3),
        top=fixed(top_F3),
    )


def _agreement(mean: Floats, uncertainty: Floats, maps_RS: Labels) -> dict[str, float]:
    """What the image says of uncertainty and raters; undefined numbers are left out."""
    classes = len(mean)
    soft_CS, _ = measure.vote_fractions(maps_RS, classes=classes)
    spoke_RS, valid_S = measure.common(maps_RS)
    voted = measure.spread(soft_CS)[valid_S]
    maps = {"ncc": measure.spread(np.asarray(mean, np.float64))[valid_S], "agreement": uncertainty[valid_S]}
    found: dict[str, float] = {}
    for name, predicted in maps.items():
        value = measure.correlation(predicted, voted)
        if value is not None:
            found |= {name: value, f"{name}_defined": 1.0}
    apart = measure.disagreement(maps_RS, classes=classes)
    if apart is not None:
        found |= {
            "compared": 1.0,
            "disagreement": apart,
            "uncertainty": float(np.mean(uncertainty[valid_S], dtype=np.float64)),
            "foreground": float(np.mean((spoke_RS != 0)[:, valid_S])),
        }
    return found


def _hits(mean: Floats, maps_RS: Labels, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap of the most probable classes with each rater (R, C, 3), and the reliability table over all of them (F, 3)."""
    classes = len(mean)
    overlap, top = np.zeros((len(maps_RS), classes, 3)), np.zeros((bins, 3))
    for r, labels_S in enumerate(maps_RS):
        known_S = labels_S != UNANNOTATED
        y_P = labels_S[known_S]
        confidence_P, best_P = top_label(np.asarray(mean[:, known_S], np.float64))
        overlap[r] = overlap_sums(best_P, y_P, classes)
        top += reliability_sums(confidence_P, best_P == y_P, bins)
    return overlap, top
