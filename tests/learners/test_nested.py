"""Nested predictions against a stack of draws by the plainest code, their samples, windows, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from alframe.errors import InvalidValue
from alframe.learners import Heteroscedastic, HeteroscedasticUNet, Inference, ProbabilisticUNet, ProbUNet
from alframe.learners.checkpoints import ModelCard, save_model
from alframe.learners.nested import NestedPredictor
from alframe.learners.nets import HeteroscedasticUNetModule, ProbUNetModule
from alframe.learners.normalise import intensity_affine
from alframe.ports import FitTask
from alframe.seeding import derive
from alframe.strategies import measures
from alframe.strategies import moments as moment
from alframe.testing.ambiguity import ambiguous
from alframe.testing.contracts.learner import MemoryLabels
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import UNANNOTATED, Compute, LabelMap, Split

CPU = Compute()
LATENT = ProbUNet(features=(6, 8), latent=3)
LOGITS = HeteroscedasticUNet(features=(6, 8), weights="gaussian")
AnyNet = ProbUNet | HeteroscedasticUNet


def checkpoint(network: AnyNet = LATENT, *, dims: int = 2, seed: int = 0, loud: bool = True) -> bytes:
    """Fresh weights with draws that are far apart."""
    card = ModelCard(
        network=network, spatial_dims=dims, channels=1, classes=("a", "b", "c"), contour=False, normalise="range"
    )
    torch.manual_seed(seed)
    module = card.build()
    assert isinstance(module, ProbUNetModule | HeteroscedasticUNetModule)
    if loud and network.weights == "gaussian":
        with torch.no_grad():
            module.drawn.log_sigma.add_(4)
    return save_model(module.state_dict(), card)


def predictor(*weights: bytes, network: AnyNet = LATENT, inference: Inference | None = None) -> NestedPredictor:
    return NestedPredictor(weights, network, draws=3, latents=4, inference=inference or Inference(), compute=CPU)


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1, *shape), dtype=np.uint8)


def stack(weights: bytes, network: AnyNet, image: np.ndarray, seed: int) -> np.ndarray:
    """Log-probabilities (M, K, C, S): every draw alone, through the whole network, from its two seeds."""
    from alframe.learners import load_model

    module, _ = load_model(weights, network)  # type: ignore[arg-type]
    x = torch.from_numpy(intensity_affine(image, "range").apply(image))[None]
    pad = [n for side in reversed(x.shape[2:]) for n in (0, -side % 2)]
    x = torch.nn.functional.pad(x, pad, mode="replicate")
    inside = (slice(None), *(slice(n) for n in image.shape[1:]))
    found = []
    with torch.inference_mode():
        for s in range(3):
            drawn = module.drawn.draw(torch.Generator().manual_seed(derive(seed, "weights", s)))  # type: ignore[operator,union-attr]
            features = torch.relu(module.drawn.apply_drawn(module.trunk(x), drawn))  # type: ignore[operator,union-attr]
            group = []
            for k in range(4):
                generator = torch.Generator().manual_seed(derive(seed, "weights", s, "latent", k))
                if isinstance(module, ProbUNetModule):
                    mean, log_sigma = module.prior(x)
                    code = mean + log_sigma.exp() * torch.randn(3, generator=generator)
                    logits = module.combine(features, code[:, None])[0, 0][inside]
                else:
                    mean, sigma = module.gaussian(features)  # type: ignore[operator]
                    inner = mean[0][inside]
                    logits = inner + sigma[0][inside] * torch.randn(inner.shape, generator=generator)
                group.append(logits.log_softmax(0).double().numpy())
            found.append(np.stack(group))
    return np.stack(found)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("network", [LATENT, LOGITS], ids=lambda network: network.type)
def test_moments_are_those_of_the_stack(network: AnyNet, dims: int) -> None:
    image = picture(*(11, 14, 9)[:dims])
    members = [checkpoint(network, dims=dims, seed=n) for n in range(2)]
    found = predictor(*members, network=network).predict(image, seed=7, votes=True, log=True, spread=True).moments
    expected = moment.empty(3, image.shape[1:], votes=True, log=True, spread=True)
    for number, weights in enumerate(members):
        for group in stack(weights, network, image, derive(7, "member", number)):
            expected = moment.add_group(expected, group)
    assert found.count == expected.count == 2 * 3
    for name in ("probability", "entropy", "log_probability", "squares", "noise"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-4, atol=1e-6, err_msg=name)
    assert measures.epistemic(found).mean() > 1e-4


def test_windows_share_the_code_and_agree_inside() -> None:
    """One code for all windows: away from the seams a window says what the whole image says, draw by draw."""
    image, weights = picture(40, 48), checkpoint(ProbUNet(features=(4,) * 2, latent=2, weights="fixed"))
    network = ProbUNet(features=(4,) * 2, latent=2, weights="fixed")
    whole = predictor(weights, network=network).samples(image, count=3, seed=5)
    tiled = predictor(weights, network=network, inference=Inference(window=(32, 32))).samples(image, count=3, seed=5)
    again = predictor(weights, network=network, inference=Inference(window=(32, 32), batch=2)).samples(
        image, count=3, seed=5
    )
    np.testing.assert_allclose(tiled, again, atol=1e-6)
    assert np.abs(whole - tiled).mean() < 0.25 * np.abs(whole - whole[[1, 2, 0]]).mean()


@pytest.mark.parametrize("network", [LATENT, LOGITS], ids=lambda network: network.type)
def test_samples_are_drawn_anew_and_of_their_seed_alone(network: AnyNet) -> None:
    image, weights = picture(12, 12), checkpoint(network)
    drawn = predictor(weights, network=network).samples(image, count=6, seed=3)
    assert drawn.shape == (6, 3, 12, 12)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.sum(1), 1, rtol=1e-5)
    assert len(np.unique(drawn.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(predictor(weights, network=network).samples(image, count=2, seed=3), drawn[:2])
    assert not np.array_equal(predictor(weights, network=network).samples(image, count=2, seed=4), drawn[:2])


def test_members_take_turns_in_samples() -> None:
    image, weights = picture(12, 12), [checkpoint(seed=n) for n in range(2)]
    both = predictor(*weights).samples(image, count=4, seed=3)
    second = predictor(weights[1], weights[1]).samples(image, count=4, seed=3)
    np.testing.assert_array_equal(both[1::2], second[1::2])
    assert not np.array_equal(both[0::2], second[0::2])


def test_a_sample_of_a_code_is_smooth_and_one_of_logits_is_not() -> None:
    """What tells the two kinds of ambiguity apart: codes move whole regions, Gaussian logits move pixels."""
    image = np.full((1, 32, 32), 90, np.uint8)

    def roughness(network: AnyNet) -> float:
        drawn = predictor(checkpoint(network), network=network).samples(image, count=8, seed=1)[:, 0, 4:-4, 4:-4]
        moved = drawn - drawn.mean(0)
        return float(np.abs(np.diff(moved, axis=-1)).mean() / np.abs(moved).mean())

    assert roughness(LATENT) < 0.1 < 0.5 < roughness(LOGITS)


def test_fixed_weights_of_one_network_have_no_epistemic_part_to_tell() -> None:
    network = ProbUNet(features=(6, 8), latent=3, weights="fixed")
    learner = ProbabilisticUNet(network=network, rater_weight=0.0)
    found = learner.predictor([checkpoint(network)], CPU).predict(picture(12, 12), seed=1, spread=True).moments
    assert found.count == 1
    with pytest.raises(InvalidValue, match="at least 2"):
        measures.epistemic(found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProbUNet(latent=0), "latent"),
        (lambda: ProbUNet(features=(8,)), "features"),
        (lambda: ProbUNet(weights="gaussian", dropout=0.1), "dropout"),
        (lambda: HeteroscedasticUNet(dropout=1.0), "dropout"),
        (lambda: ProbabilisticUNet(latents=1), "latents"),
        (lambda: ProbabilisticUNet(draws=0), "draws"),
        (lambda: ProbabilisticUNet(network=ProbUNet(weights="fixed"), draws=4), "fixed weights"),
        (lambda: ProbabilisticUNet(kl_weight=-1.0), "kl_weight"),
        (lambda: ProbabilisticUNet(prior_draws=0), "prior_draws"),
        (lambda: Heteroscedastic(loss_draws=0), "loss_draws"),
        (lambda: predictor(checkpoint()).samples(picture(8, 8), count=0, seed=1), "sample"),
        (lambda: predictor(checkpoint()).predict(np.zeros((2, 8, 8), np.uint8), seed=1), "channels"),
        (lambda: predictor(checkpoint(), checkpoint(dims=3)), "differ"),
        (lambda: predictor(checkpoint(LOGITS)), "expected a checkpoint"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        make()


def ambiguous_task(*, count: int, raters: int) -> FitTask:
    """Pictures of known ambiguity; every third one has one rater only, who drew the upper half."""
    items = ambiguous(count, size=24, raters=raters, seed=1)
    by_rater = {}
    for number, item in enumerate(items):
        masks = dict(item.masks)
        if number % 3 == 2:
            classes = masks["rater0"].classes.copy()
            classes[12:] = UNANNOTATED
            masks = {"rater0": LabelMap(classes=classes)}
        by_rater[item.id] = masks
    split = [Split.TRAIN if n < count - 2 else Split.VALIDATION for n in range(count)]
    pool = MemoryPool(
        [pool_item(item.id, item.image, item.masks, split=s) for item, s in zip(items, split, strict=True)],
        classes=("ground", "thing"),
    )
    training = [item.id for item, s in zip(items, split, strict=True) if s is Split.TRAIN]
    labels = MemoryLabels(
        maps={name: by_rater[name]["rater0"] for name in training}, raters={name: by_rater[name] for name in training}
    )
    validation = tuple(info.id for info in pool.items(Split.VALIDATION))
    return FitTask(pool=pool, labels=labels, validation=validation, member=0, restart=0, seed=4, compute=CPU)
