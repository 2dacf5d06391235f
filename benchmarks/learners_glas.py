"""Train on all of GlaS and measure pixel Dice and object F1 on its test images: ``python -m benchmarks.learners_glas``."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np

from alframe.learners import Augmentation, DcanResNet, MCDropout, Network, Training, UNet
from alframe.metrics.instances import instances_from
from alframe.metrics.objects import object_sums
from alframe.metrics.state import OBJECT_SUMS
from alframe.ports import FitTask
from alframe.types import Compute, Split
from benchmarks.learners_data import fully_labelled, glas

NETWORKS: dict[str, Network] = {
    "unet": UNet(features=(24, 48, 96, 192), stem_stride=2, dropout=0.2, dropout_from=2, norm="batch"),
    "unet_inst": UNet(features=(24, 48, 96, 192), stem_stride=2, dropout=0.2, dropout_from=2),
    "unet5": UNet(features=(24, 48, 96, 192, 256), stem_stride=2, dropout=0.2, dropout_from=2, norm="batch"),
    "unet_full": UNet(features=(16, 32, 64, 128, 256), norm="batch"),
    "dcan": DcanResNet(width=0.25, stem_stride=2, norm="batch", dropout=0.1, dropout_from=2),
    "dcan_half": DcanResNet(width=0.5, stem_stride=2, norm="group", dropout=0.1, dropout_from=2),
}


def main() -> None:
    """Train and measure once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=NETWORKS, default="unet")
    parser.add_argument("--training", default="{}", help="fields of Training as JSON")
    parser.add_argument("--augmentation", default="{}", help="fields of Augmentation as JSON")
    parser.add_argument("--fields", default="{}", help="fields of the network as JSON")
    parser.add_argument("--normalise", default="range")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--items", type=int, default=0, help="train on the first N items of a shuffle (0 = all)")
    given = parser.parse_args()
    base = Training(
        steps=800, batch_size=8, patch=(160, 160), validate_every=100, schedule="one_cycle", learning_rate=3e-3
    )
    augmentation = Augmentation(**({"stain": 0.15, "rotation": 45.0} | json.loads(given.augmentation)))
    tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(given.training).items()}
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(given.fields).items()}
    learner = MCDropout(
        network=replace(NETWORKS[given.network], **fields),
        training=replace(base, augmentation=augmentation, **tuples),
        normalise=given.normalise,
        passes=given.passes,
    )
    pool = glas()
    labels = fully_labelled(pool)
    if given.items:
        names = np.random.default_rng(given.seed).permutation(sorted(labels.maps))[: given.items]
        labels = replace(labels, maps={name: labels.maps[name] for name in names})
    compute = Compute(threads=given.threads, precision=given.precision)
    validation = tuple(info.id for info in pool.items(Split.VALIDATION))
    task = FitTask(
        pool=pool, labels=labels, validation=validation, member=0, restart=0, seed=given.seed, compute=compute
    )
    wall, cpu = time.perf_counter(), time.process_time()
    checkpoint = learner.fit(task)
    seconds = {"train_wall": time.perf_counter() - wall, "train_cpu_half": (time.process_time() - cpu) / 2}
    print([(int(row["step"]), round(row["train_loss"], 3), round(row["val_loss"], 3)) for row in checkpoint.history])
    predictor = learner.predictor([checkpoint.weights], compute)
    wall = time.perf_counter()
    rows = []
    for info in pool.items(Split.TEST):
        prediction = predictor.predict(pool.image(info.id), seed=1)
        truth = pool.truth(info.id)
        p = prediction.moments.probability[1] / prediction.moments.count
        guess, real = p >= 0.5, truth.classes == 1
        nll = -np.log(np.clip(np.where(real, p, 1 - p), 1e-12, 1)).mean()
        assert prediction.contour is not None
        assert truth.instances is not None
        objects = instances_from(p, prediction.contour, min_size=100, dilate=4)
        sums = dict(zip(OBJECT_SUMS, object_sums(objects, truth.instances), strict=True))
        counts = (sums["true_positives"], sums["found_objects"], sums["truth_objects"])
        rows.append((info.id[4] == "B", (guess & real).sum(), guess.sum(), real.sum(), nll, *counts))
    table = np.array(rows, float)
    result: dict[str, float] = {"val_loss": checkpoint.validation_loss, **seconds}
    for name, part in {"all": table, "A": table[table[:, 0] == 0], "B": table[table[:, 0] == 1]}.items():
        sums = part.sum(0)
        result[f"dice_{name}"] = 2 * sums[1] / (sums[2] + sums[3])
        result[f"f1_{name}"] = 2 * sums[5] / (sums[6] + sums[7])
        result[f"nll_{name}"] = float(part[:, 4].mean())
    result["dice_mean"] = float((2 * table[:, 1] / (table[:, 2] + table[:, 3])).mean())
    result["predict_wall"] = time.perf_counter() - wall
    print(json.dumps({key: round(value, 4) for key, value in result.items()}))


if __name__ == "__main__":
    main()
