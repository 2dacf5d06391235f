"""How the weights of the divergence (β) and of the votes (γ) of Probabilistic U-Nets were chosen: by GED² on the validation images.

``python -m benchmarks.lidc`` trains every pair with one seed first, and writes ``codes.json`` beside the numbers of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from alframe import seeding
from alframe.learners import ProbabilisticUNet
from alframe.metrics.raters import energy_distance, segmentations
from alframe.ports import Pool, Predictor
from alframe.types import Split
from benchmarks.lidc_measures import SAMPLES, apart
from benchmarks.lidc_rows import FULL, Row, rows

__all__ = ["PAIRS", "SEED", "compare"]

PAIRS = {
    "hu": ((1.0, 1.0), (0.1, 1.0), (1.0, 0.1), (0.1, 0.1)),
    "kohl": ((10.0, 0.0), (1.0, 0.0), (0.1, 0.0)),
}
"""By row, pairs of β and γ."""
SEED = 1


def compare(pool: Pool, predictor_of: Callable[[Row], Predictor], target: Path) -> None:
    """GED² and the distance between samples on the validation images, of each pair that `target` does not hold yet."""
    found = json.loads(target.read_text()) if target.exists() else []
    done = {(one["row"], one["beta"], one["gamma"]) for one in found}
    for name, pairs in PAIRS.items():
        row = rows(FULL)[name]
        assert isinstance(row.learner, ProbabilisticUNet)
        for beta, gamma in pairs:
            if (name, beta, gamma) in done:
                continue
            learner = replace(row.learner, kl_weight=beta, rater_weight=gamma)
            predictor = predictor_of(replace(row, learner=learner, trained=f"{name}-b{beta:g}-g{gamma:g}"))
            found.append({"row": name, "beta": beta, "gamma": gamma, **_distances(predictor, pool)})
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(found, indent=1))
            print(found[-1], flush=True)


def _distances(predictor: Predictor, pool: Pool) -> dict[str, float]:
    ged, within, among = [], [], []
    for info in pool.items(Split.VALIDATION):
        seed = seeding.derive(SEED, "samples", info.id)
        samples_NS = segmentations(predictor.samples(pool.image(info.id), count=SAMPLES, seed=seed))
        raters_RS = np.stack([pool.truth(info.id, rater).classes for rater in info.raters])
        distance = energy_distance(samples_NS, raters_RS, classes=2)
        assert distance is not None
        ged.append(float(distance[0]))
        within.append(apart(samples_NS))
        among.append(apart(raters_RS))
    return {name: float(np.mean(values)) for name, values in (("ged2", ged), ("within", within), ("among", among))}
