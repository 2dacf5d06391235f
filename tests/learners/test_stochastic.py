"""Stochastic ensembles: copies, their noise and their logits against brute force; volumes smaller than the patch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from alframe.errors import InvalidValue
from alframe.learners import Inference, StochasticEnsemble, Training, UNet
from alframe.learners.checkpoints import load_model
from alframe.learners.normalise import intensity_affine
from alframe.learners.stochastic_prediction import StochasticPredictor
from alframe.strategies.measures import bald, epistemic
from alframe.testing.contracts.learner import blob_pool, fit_task
from alframe.types import Compute

NETWORK = UNet(features=(4, 8), dropout=0.0)
TRAINING = Training(steps=6, batch_size=2, validate_every=6, contour_weight=0.0)
LEARNER = StochasticEnsemble(network=NETWORK, training=TRAINING, sizes=(16, 48), depth=8, copies=4, noise=(0.1, 0.3))


@cache
def fitted(axes: int) -> tuple[bytes, ...]:
    task = fit_task(blob_pool(axes))
    return tuple(LEARNER.fit(replace(task, member=member, seed=member)).weights for member in range(2))


def predictor(axes: int) -> StochasticPredictor:
    made = LEARNER.predictor(list(fitted(axes)), Compute())
    assert isinstance(made, StochasticPredictor)
    return made


def test_every_member_has_its_own_patch() -> None:
    assert [LEARNER.patch(member, 2) for member in range(2)] == [(16, 16), (48, 48)]
    assert [LEARNER.patch(member, 3) for member in range(2)] == [(8, 16, 16), (8, 48, 48)]
    assert fitted(2)[0] != fitted(2)[1]


@pytest.mark.parametrize("axes", [2, 3])
def test_a_small_image_is_padded_and_cut_back(axes: int) -> None:
    image = blob_pool(axes).image("blob8")[(slice(None), *(slice(0, 5 + n) for n in range(axes)))]
    moments = predictor(axes).predict(image, seed=1).moments
    assert moments.count == 2
    assert moments.probability.shape == (2, *image.shape[1:])
    assert predictor(axes).foreground_logit(image, seed=1).shape == image.shape[1:]


def test_moments_are_those_of_the_noisy_copies() -> None:
    """The second member takes the image whole: its copies can be made by hand."""
    image = blob_pool().image("blob8")
    module, card = load_model(fitted(2)[1], NETWORK)
    pixels = torch.from_numpy(intensity_affine(image, "zscore").apply(image))[None]
    sides = tuple(-(-side // 2) * 2 for side in image.shape[1:])
    drawn = predictor(2)
    spread = []
    with torch.inference_mode():
        copies = list(drawn._members(image, 7))[1]
        for number in range(4):
            noisy = copies[number]
            clean = module(
                torch.nn.functional.pad(
                    pixels, [0, sides[1] - pixels.shape[3], 0, sides[0] - pixels.shape[2]], mode="replicate"
                )
            )
            spread.append(float((noisy - clean[0][:, : image.shape[1], : image.shape[2]]).std()))
    assert card.classes == ("background", "blob")
    # copies 1 and 3 have three times the noise of copies 0 and 2
    assert spread[1] / spread[0] == pytest.approx(3, rel=0.3)
    assert spread[3] / spread[2] == pytest.approx(3, rel=0.3)
    assert not torch.equal(copies[0], copies[2])

    moments = drawn.predict(image, seed=7, spread=True).moments
    with torch.inference_mode():
        maps = list(drawn._members(image, 7))
    members = [member.softmax(1) for member in maps]
    mean = torch.stack([member.mean(0) for member in members]).double()
    np.testing.assert_allclose(moments.probability, mean.sum(0).numpy(), rtol=1e-5)
    entropy = -(mean * mean.log()).sum(1)
    np.testing.assert_allclose(moments.entropy, entropy.sum(0).numpy(), rtol=1e-4, atol=1e-6)
    assert moments.noise is not None
    np.testing.assert_allclose(
        moments.noise, sum(member.double().var(0) / 4 for member in members).numpy(), rtol=1e-4, atol=1e-9
    )
    assert bald(moments).min() >= 0
    assert np.isfinite(epistemic(moments)).all()

    odds = torch.stack([member[:, 1] - member[:, 0] for member in maps]).mean((0, 1))
    np.testing.assert_allclose(drawn.foreground_logit(image, seed=7), odds.numpy(), rtol=1e-4, atol=1e-5)


def test_noise_is_drawn_once_a_volume_and_not_a_window() -> None:
    """Where windows overlap they see the same noise: a network without context gives the same as on the whole."""
    image = blob_pool().image("blob8")
    drawn = predictor(2)
    windows, whole = (replace(LEARNER, sizes=sizes) for sizes in ((16, 16), (48, 48)))
    module = torch.nn.Conv2d(2, 2, 1)
    found = []
    for learner in (windows, whole):
        made = StochasticPredictor(list(fitted(2)), learner, Compute())
        for applier in made._appliers:
            applier._module = module
        found.append(made.foreground_logit(image, seed=3))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0] - drawn.foreground_logit(image, seed=3)).max() > 1e-3


def test_samples_are_copies_of_members_in_turn() -> None:
    image = blob_pool().image("blob8")
    drawn = predictor(2).samples(image, count=5, seed=2)
    with torch.inference_mode():
        first, second = (member.softmax(1).numpy() for member in predictor(2)._members(image, 2))
    np.testing.assert_allclose(drawn, [first[0], second[0], first[1], second[1], first[2]], rtol=1e-6)
    assert len(predictor(2).samples(image, count=99, seed=2)) == 8


def test_too_many_halvings_along_z_are_refused() -> None:
    deep = replace(LEARNER, network=UNet(features=(4, 4, 4, 4, 4, 4), dropout=0.0), sizes=(64, 64), depth=16)
    with pytest.raises(InvalidValue, match="divisible by 32"):
        deep.fit(fit_task(blob_pool(3)))


def test_what_makes_no_sense_is_refused() -> None:
    for field, value in {"sizes": (32,), "depth": 0, "copies": 1, "noise": (), "restarts": 0}.items():
        with pytest.raises(InvalidValue, match=field):
            StochasticEnsemble(**{field: value})
    with pytest.raises(InvalidValue, match="empty"):
        StochasticEnsemble(training=Training(patch=(32, 32)))
    with pytest.raises(InvalidValue, match="empty"):
        StochasticEnsemble(inference=Inference(window=(32, 32)))
