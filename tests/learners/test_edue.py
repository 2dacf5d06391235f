"""EDUE: the predicted disagreement, its heads as members, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alframe.errors import InvalidValue
from alframe.learners import Augmentation, Edue, EdueUNet, Training, read_card
from alframe.ports import Labels
from alframe.strategies.measures import bald, rater_disagreement
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.types import UNANNOTATED, Compute, LabelMap, Split

STILL = Augmentation(flip_axes=(), quarter_turns=False, affine_probability=0.0)
NETWORK = EdueUNet(features=(8, 8, 16), heads=2)


def quarrel() -> Labels:
    """Two raters who agree on the ground and never on an object."""
    pool = blob_pool(instances=False)
    maps, raters = {}, {}
    for info in pool.items(Split.TRAIN):
        classes = pool.truth(info.id).classes
        maps[info.id] = LabelMap(classes=classes)
        raters[info.id] = {"keen": maps[info.id], "lax": LabelMap(classes=np.zeros_like(classes))}
    return MemoryLabels(maps=maps, raters=raters)


def test_it_predicts_where_raters_disagree() -> None:
    pool = blob_pool(instances=False)
    training = Training(
        steps=80, batch_size=4, patch=(32, 32), learning_rate=1e-2, validate_every=60, augmentation=STILL
    )
    learner = Edue(network=NETWORK, training=training)
    weights = learner.fit(replace(fit_task(pool, quarrel()), validation=())).weights
    moments = learner.predictor([weights], Compute()).predict(pool.image("blob8"), seed=1, spread=True).moments
    assert moments.count == 2
    disagreement, inside = rater_disagreement(moments), pool.truth("blob8").classes == 1
    assert disagreement[inside].mean() > 0.7
    assert disagreement[~inside].mean() < 0.25
    # the heads saw an object every second time
    assert moments.probability[1][inside].mean() / 2 == pytest.approx(0.5, abs=0.15)
    assert (bald(moments) >= 0).all()


def test_one_rater_teaches_no_disagreement() -> None:
    """What nobody contradicted is not known to be agreed on: the branch learns nothing from it."""
    pool = blob_pool(instances=False)
    training = Training(steps=3, batch_size=2, patch=(16, 16), validate_every=3)
    task = replace(fit_task(pool), validation=())
    cards = {guidance: Edue(network=NETWORK, training=training, guidance=guidance).fit(task) for guidance in (0.0, 5.0)}
    losses = {guidance: checkpoint.history[0]["train_loss"] for guidance, checkpoint in cards.items()}
    assert losses[0.0] == losses[5.0]


def test_regions_and_items_with_fewer_raters_train() -> None:
    pool = blob_pool(instances=False)
    labels = quarrel()
    assert isinstance(labels, MemoryLabels)
    first, second, *_ = sorted(labels.maps)
    region = np.full(labels.maps[first].shape, UNANNOTATED, np.uint8)
    region[4:14, 4:14] = labels.maps[first].classes[4:14, 4:14]
    raters = {**labels.raters, first: {"keen": LabelMap(classes=region)}, second: {"lax": labels.raters[second]["lax"]}}
    maps = {**labels.maps, first: LabelMap(classes=region)}
    training = Training(steps=4, batch_size=4, patch=(16, 16), validate_every=2)
    checkpoint = Edue(network=NETWORK, training=training).fit(fit_task(pool, MemoryLabels(maps=maps, raters=raters)))
    assert np.isfinite([row["train_loss"] for row in checkpoint.history]).all()


def test_the_card_tells_its_heads() -> None:
    training = Training(steps=1, batch_size=1, patch=(16, 16), validate_every=1)
    weights = Edue(network=NETWORK, training=training).fit(fit_task(blob_pool())).weights
    card = read_card(weights)
    assert card.extra == 3
    assert card.out_channels == 2 * 2 + 1


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValue, match="heads"):
        EdueUNet(features=(8, 8, 8), heads=3)
    with pytest.raises(InvalidValue, match="features"):
        EdueUNet(features=(8, 8))
    with pytest.raises(InvalidValue, match="divisible"):
        EdueUNet(features=(6, 6, 6), heads=2, norm="group")
    with pytest.raises(InvalidValue, match="guidance"):
        Edue(guidance=-1.0)
    with pytest.raises(InvalidValue, match="restarts"):
        Edue(restarts=0)
