"""D-LEMA: its subsets, its weights against double backward and on planted noise, its losses and its fusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from alframe.errors import InvalidValue
from alframe.learners import DLema, LinkNet, MCDropout, Training, UNet
from alframe.learners.checkpoints import ModelCard
from alframe.learners.computing import computing
from alframe.learners.dataset import TrainingSet
from alframe.learners.dlema_objective import Reweighted
from alframe.learners.fusion import FusedSums
from alframe.learners.heteroscedastic import drawn_logits, log_marginal, noise_like, rater_losses, scale_of
from alframe.learners.nets import build
from alframe.learners.reweighting import losses_and_alignment, normalised_weights, unit
from alframe.learners.subsets import SubsetLabels, subset_of
from alframe.learners.training import Recipe, Run
from alframe.strategies.measures import bald
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.types import UNANNOTATED, Compute, LabelMap, Split


def test_the_masks_of_an_item_go_to_different_subsets_uniformly() -> None:
    for subsets in (2, 4):
        first = Counter()
        for n in range(2000):
            placed = [subset_of(f"item{n}", k, subsets, 7) for k in range(subsets + 2)]
            assert sorted(placed[:subsets], key=str) == list(range(subsets))
            assert placed[subsets:] == [None, None]
            first[placed[0]] += 1
        # an item with one rater only: each subset is as likely (four standard deviations)
        expected = 2000 / subsets
        assert all(abs(first[s] - expected) < 4 * np.sqrt(expected) for s in range(subsets))


def test_a_subset_holds_one_mask_an_item_and_all_subsets_hold_all() -> None:
    pool = blob_pool()
    maps = {info.id: pool.truth(info.id) for info in pool.items(Split.TRAIN)}
    raters = {
        item: {f"r{k}": LabelMap(classes=np.full(m.shape, k % 2, np.uint8)) for k in range(1 + n % 3)}
        for n, (item, m) in enumerate(maps.items())
    }
    labels = MemoryLabels(maps=maps, raters=raters)
    parts = [SubsetLabels(source=labels, subset=s, subsets=3, seed=1) for s in range(3)]
    for item, own in raters.items():
        held = [name for part in parts for name in part.by_rater(item)]
        assert sorted(held) == sorted(own)
        for part in parts:
            assert (item in part.items()) == bool(part.by_rater(item))
            assert bool(part.labels(item).annotated.any()) == bool(part.by_rater(item))


@pytest.mark.parametrize("network", [LinkNet(width=4, blocks=1, stem_stride=1), UNet(features=(4, 8), dropout=0.0)])
@pytest.mark.parametrize("dims", [2, 3])
def test_weights_equal_the_double_backward_form(network: LinkNet | UNet, dims: int) -> None:
    """Ren et al. 2018, algorithm 1: −d L_clean(θ − ε Σ_q w_q ∇ℓ_q) / d w at w = 0, by autograd through the inner step."""
    torch.manual_seed(3)
    module = build(network, spatial_dims=dims, in_channels=1, out_channels=3).double().train()
    size = (16,) * dims
    image, clean = (torch.randn((2, 1, *size), dtype=torch.float64) for _ in range(2))
    masks, clean_masks = (torch.randint(0, 2, (2, r, *size)) for r in (3, 1))
    masks[0, 1] = UNANNOTATED
    clean_masks[0, 0, :3] = UNANNOTATED
    parameters = dict(module.named_parameters())

    def losses(theta: dict[str, torch.Tensor], x: torch.Tensor, target: torch.Tensor, seed: int) -> torch.Tensor:
        maps = torch.func.functional_call(module, theta, (x,))
        return rater_losses(log_marginal(maps, noise_like(maps, 2, 4, seed), 2), target)

    # the reference: a step on weighted losses with a graph, then the clean loss, differentiated back to the weights
    weight = torch.zeros(masks.shape, dtype=torch.float64, requires_grad=True)
    inner = (weight * losses(parameters, image, masks, 1)).sum()
    step = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
    moved = {name: value - g for (name, value), g in zip(parameters.items(), step, strict=True)}
    (gradient,) = torch.autograd.grad(losses(moved, clean, clean_masks, 2).mean(), weight)
    reference = torch.relu(-gradient)

    direction = torch.autograd.grad(losses(parameters, clean, clean_masks, 2).mean(), list(parameters.values()))
    found, along = losses_and_alignment(
        lambda theta: losses(theta, image, masks, 1), parameters, dict(zip(parameters, direction, strict=True))
    )
    assert float((torch.relu(along) - reference).abs().max()) < 1e-10
    shorter = unit(dict(zip(parameters, direction, strict=True)))
    _, along = losses_and_alignment(lambda theta: losses(theta, image, masks, 1), parameters, shorter)
    assert float((normalised_weights(along) - reference / reference.sum()).abs().max()) < 1e-10

    # the losses of the same evaluation carry the graph of a plain one
    plain = torch.autograd.grad((reference * losses(parameters, image, masks, 1)).sum(), list(parameters.values()))
    carried = torch.autograd.grad((reference * found).sum(), list(parameters.values()))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(plain, carried, strict=True))


def test_no_alignment_gives_no_weight_and_no_nan() -> None:
    assert not normalised_weights(torch.tensor([-1.0, 0.0])).any()
    assert not unit({"a": torch.zeros(3)})["a"].any()
    assert not unit({"a": torch.tensor([float("inf"), 1.0])})["a"].any()


def planted(share: float = 0.4) -> tuple[MemoryLabels, dict[str, NDArray[np.bool_]]]:
    """Two raters an item: one exact, and one who calls the background of half of every image an object."""
    pool = blob_pool()
    maps, raters, wrong = {}, {}, {}
    for info in pool.items(Split.TRAIN):
        truth = pool.truth(info.id).classes
        side = np.zeros(truth.shape, bool)
        side[:, : int(share * truth.shape[1])] = True
        corrupted = np.where(side, 1 - truth, truth).astype(np.uint8)
        maps[info.id] = LabelMap(classes=truth)
        raters[info.id] = {"good": LabelMap(classes=truth), "bad": LabelMap(classes=corrupted)}
        wrong[info.id] = corrupted != truth
    return MemoryLabels(maps=maps, raters=raters), wrong


def test_pixels_with_planted_noise_lose_their_weight() -> None:
    """Real training on synthetic images; the clean subset is the exact rater's, the union has both."""
    labels, _ = planted()
    exact = MemoryLabels(maps={item: labels.raters[item]["good"] for item in labels.maps})
    task = replace(fit_task(blob_pool(instances=False), labels), compute=Compute())
    plain = replace(task, labels=exact)
    training = Training(steps=40, batch_size=4, patch=(32, 32), validate_every=40, learning_rate=2e-2, warmup_steps=2)
    clean = TrainingSet(plain, normalise="range", contours=False, cache_mib=64)
    objective = Reweighted(clean=clean, subset="exact", clean_batch=8, draws=4, burn_in=10)
    network = UNet(features=(8, 16), dropout=0.0)
    recipe = Recipe(
        network=network,
        training=training,
        inference=DLema().inference,
        normalise="range",
        objective=objective,
        extra=1,
    )
    with computing(task.compute) as device, torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        run = Run(task, recipe, device)
        run.go(None)
        good = bad = 0.0
        good_pixels = bad_pixels = 0
        for step in range(100, 140):
            batch = run.batch(step)
            assert batch.raters is not None
            _, weights = objective.weigh(run, batch, step)
            known = (batch.raters != UNANNOTATED).all(1, keepdim=True)
            corrupted = known & (batch.raters != batch.classes[:, None])
            agreed = known & ~corrupted
            good, good_pixels = good + float(weights[agreed].sum()), good_pixels + int(agreed.sum())
            bad, bad_pixels = bad + float(weights[corrupted].sum()), bad_pixels + int(corrupted.sum())
    assert bad_pixels > 5000
    assert bad / bad_pixels < 0.2 * good / good_pixels


def test_two_classes_give_the_binary_loss() -> None:
    """−[logsumexp_t logsigmoid((2y − 1)(f + σ ε_t)) − log T] with f the difference of the logits."""
    torch.manual_seed(1)
    maps = torch.randn((2, 3, 4, 5), dtype=torch.float64)
    noise = noise_like(maps, 2, 10, 3)
    masks = torch.randint(0, 2, (2, 1, 4, 5))
    x = (maps[:, 1] - maps[:, 0]) + scale_of(maps, 2)[:, 0] * noise[:, :, 0]
    sign = 2 * masks[:, 0] - 1
    expected = -(torch.nn.functional.logsigmoid(sign * x).logsumexp(0) - np.log(10))
    torch.testing.assert_close(rater_losses(log_marginal(maps, noise, 2), masks)[:, 0], expected)


def test_several_classes_are_the_mean_of_their_softmax() -> None:
    torch.manual_seed(2)
    maps = torch.randn((1, 7, 3, 3), dtype=torch.float64)
    noise = noise_like(maps, 4, 6, 3)
    drawn = drawn_logits(maps, noise, 4)
    expected = torch.stack([draw.softmax(1) for draw in drawn]).mean(0).log()
    torch.testing.assert_close(log_marginal(maps, noise, 4), expected)
    masks = torch.tensor([[[[3, 0, UNANNOTATED]] * 3]])
    losses = rater_losses(expected, masks)
    assert losses[0, 0, 1, 0] == -expected[0, 3, 1, 0]
    assert not losses[0, 0, :, 2].any()


CARD = ModelCard(
    network=UNet(), spatial_dims=2, channels=1, classes=("background", "a", "b"), contour=False, normalise="range"
)


def fused(logits: torch.Tensor, weights: torch.Tensor) -> FusedSums:
    sums = FusedSums(CARD, votes=True, log=True, spread=True)
    for member, weight in zip(logits, weights, strict=True):
        sums.add_weighted(member, weight)
    sums.finish()
    return sums


def test_fusion_equals_brute_force() -> None:
    torch.manual_seed(4)
    logits = torch.randn((4, 5, 3, 6, 7), dtype=torch.float64) * 3  # members, draws, classes, space
    weights = torch.rand((4, 6, 7), dtype=torch.float64) + 0.05
    moments = fused(logits, weights).prediction().moments
    alpha = (weights / weights.sum(0)).numpy()[:, None]
    p = logits.softmax(2).mean(1).numpy()
    np.testing.assert_allclose(moments.probability, 4 * (alpha * p).sum(0))
    np.testing.assert_allclose(moments.entropy, 4 * (alpha[:, 0] * -(p * np.log(p)).sum(1)).sum(0))
    assert moments.squares is not None
    np.testing.assert_allclose(moments.squares, 4 * (alpha * p**2).sum(0))
    assert moments.noise is not None
    np.testing.assert_allclose(moments.noise, 4 * (alpha * logits.softmax(2).var(1).numpy() / 5).sum(0))
    assert moments.log_probability is not None
    np.testing.assert_allclose(np.exp(moments.log_probability), moments.probability)
    assert moments.votes is not None
    np.testing.assert_array_equal(moments.votes.sum(0), 4)
    # information about which member spoke: of members that agree it is 0, and never more than the entropy of the weights
    information = bald(moments)
    limit = -(alpha[:, 0] * np.log(alpha[:, 0])).sum(0)
    assert (information <= limit + 1e-9).all()
    assert information.max() > 0.05
    same = fused(logits[:1].expand(4, -1, -1, -1, -1), weights).prediction().moments
    np.testing.assert_allclose(bald(same), 0, atol=1e-12)


def test_one_weight_for_all_is_the_plain_sum() -> None:
    torch.manual_seed(5)
    logits = torch.randn((3, 4, 3, 5, 5), dtype=torch.float64)
    one, two = (fused(logits, torch.full((3,), w, dtype=torch.float64)).prediction().moments for w in (1.0, 7.0))
    np.testing.assert_allclose(one.probability, logits.softmax(2).mean(1).sum(0).numpy())
    np.testing.assert_allclose(one.probability, two.probability)
    np.testing.assert_allclose(one.entropy, two.entropy)


def test_fusions_weigh_by_confidence() -> None:
    """A base model with a small σ speaks louder; with uniform fusion it does not."""
    pool = blob_pool(instances=False)
    quick = Training(steps=4, batch_size=2, patch=(16, 16), validate_every=4)
    network = UNet(features=(4, 8), dropout=0.0)
    means = {}
    for kind in ("uniform", "pixel", "image"):
        learner = DLema(network=network, training=quick, members=2, clean_batch=2, fusion=kind)
        weights = [learner.fit(replace(fit_task(pool), member=m, seed=m)).weights for m in range(2)]
        predictor = learner.predictor(weights, Compute())
        members = predictor.samples(pool.image("blob8"), count=9, seed=1)
        assert len(members) == 2
        mean = predictor.predict(pool.image("blob8"), seed=1).moments.probability / 2
        assert (mean >= members.min(0) - 1e-6).all()
        assert (mean <= members.max(0) + 1e-6).all()
        means[kind] = mean
    np.testing.assert_allclose(means["uniform"], members.mean(0), atol=1e-6)
    assert np.abs(means["pixel"] - means["uniform"]).max() > 1e-5
    assert np.abs(means["image"] - means["uniform"]).max() > 1e-6


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValue, match="Dice"):
        DLema(training=Training(dice_weight=1.0))
    with pytest.raises(InvalidValue, match="norm"):
        DLema(network=UNet(norm="batch"))
    for field, value in {"members": 0, "draws": 1, "clean_batch": 0, "floor": 0.0, "burn_in": -1}.items():
        with pytest.raises(InvalidValue, match=field):
            DLema(**{field: value})
    quick = Training(steps=2, batch_size=2, patch=(16, 16), validate_every=2)
    network = UNet(features=(4, 8))
    plain = MCDropout(network=network, training=replace(quick, contour_weight=0.0)).fit(fit_task(blob_pool()))
    with pytest.raises(InvalidValue, match="another learner"):
        DLema(network=network, members=1).predictor([plain.weights], Compute())


def test_two_runs_of_one_subset_are_the_same_run() -> None:
    """A snapshot is found again by what its run depends on: the subset, and no address in memory."""
    clean = TrainingSet(fit_task(blob_pool()), normalise="range", contours=False, cache_mib=1)
    other = TrainingSet(fit_task(blob_pool()), normalise="range", contours=False, cache_mib=1)
    first, second, third = (
        repr(Reweighted(clean=data, subset=subset, clean_batch=1, draws=2))
        for data, subset in ((clean, "0 of 2"), (other, "0 of 2"), (clean, "1 of 2"))
    )
    assert first == second != third
