"""Train on hippocampus volumes and measure Dice on the test ones: ``python -m benchmarks.learners_hippocampus``."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np

from alframe.learners import Augmentation, MCDropout, Training, UNet
from alframe.ports import FitTask
from alframe.types import Compute, Split
from benchmarks.learners_data import fully_labelled, hippocampus


def main() -> None:
    """Train and measure once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--training", default="{}", help="fields of Training as JSON")
    parser.add_argument("--augmentation", default="{}", help="fields of Augmentation as JSON")
    parser.add_argument("--fields", default="{}", help="fields of the network as JSON")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    training, augmentation, fields = (
        {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(text).items()}
        for text in (given.training, given.augmentation, given.fields)
    )
    base = Training(
        steps=300,
        batch_size=2,
        patch=(40, 56, 40),
        validate_every=50,
        schedule="one_cycle",
        learning_rate=3e-3,
        dice_weight=1.0,
        augmentation=replace(
            Augmentation(flip_axes=(), quarter_turns=False, rotation=15.0, scale=(0.85, 1.18)), **augmentation
        ),
    )
    network = UNet(features=(16, 32, 64), dropout=0.1, dropout_from=1)
    learner = MCDropout(
        network=replace(network, **fields), training=replace(base, **training), normalise="zscore", passes=given.passes
    )
    pool = hippocampus()
    compute = Compute(threads=given.threads)
    validation = tuple(info.id for info in pool.items(Split.VALIDATION))
    task = FitTask(
        pool=pool,
        labels=fully_labelled(pool),
        validation=validation,
        member=0,
        restart=0,
        seed=given.seed,
        compute=compute,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    checkpoint = learner.fit(task)
    result = {"train_wall": time.perf_counter() - wall, "train_cpu_half": (time.process_time() - cpu) / 2}
    print([(int(row["step"]), round(row["train_loss"], 3), round(row["val_loss"], 4)) for row in checkpoint.history])
    predictor = learner.predictor([checkpoint.weights], compute)
    cpu = time.process_time()
    counts = np.zeros((3, 3))
    each = []
    for info in pool.items(Split.TEST):
        guess = predictor.predict(pool.image(info.id), seed=1).moments.probability.argmax(0)
        truth = pool.truth(info.id).classes
        item = [[((guess == c) & (truth == c)).sum(), (guess == c).sum(), (truth == c).sum()] for c in range(3)]
        counts += item
        each.append([2 * a / max(1, b + c) for a, b, c in item[1:]])
    result["predict_cpu_half"] = (time.process_time() - cpu) / 2
    dice = 2 * counts[:, 0] / (counts[:, 1] + counts[:, 2])
    result |= {"anterior": dice[1], "posterior": dice[2], "dice": dice[1:].mean(), "dice_mean": float(np.mean(each))}
    result["val_loss"] = checkpoint.validation_loss
    print(json.dumps({key: round(float(value), 4) for key, value in result.items()}))


if __name__ == "__main__":
    main()
