"""Predictors: moments against a stack of passes, batching, hoisting, windows, and images that do not fit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.special import entr
from torch import nn

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners import DcanResNet, DeepEnsemble, Inference, MCDropout, Network, UNet
from alframe.learners.checkpoints import ModelCard, save_model
from alframe.learners.noise import seed_dropout
from alframe.learners.normalise import intensity_affine
from alframe.learners.prediction import NetworkPredictor, Sums, _winners
from alframe.seeding import derive
from alframe.types import Compute

UNET = UNet(features=(8, 16, 24), dropout=0.3, dropout_from=1)
CPU = Compute()


def checkpoint(network: Network = UNET, *, seed: int = 0, dims: int = 2, contour: bool = True) -> bytes:
    """Fresh weights: a model that was never trained still predicts."""
    card = ModelCard(
        network=network,
        spatial_dims=dims,
        channels=2,
        classes=("background", "a", "b"),
        contour=contour,
        normalise="range",
    )
    torch.manual_seed(seed)
    return save_model(card.build().state_dict(), card)


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8)


def stack_of_passes(weights: bytes, image: np.ndarray, seeds: Sequence[int | None]) -> np.ndarray:
    """Logits (M, K, S) by the plainest code: pad, forward, crop; no hoisting, no batch."""
    from alframe.learners import load_model
    from alframe.learners.nets import divisor_of

    module, _ = load_model(weights)
    noise = seed_dropout(module) if seeds[0] is not None else None
    x = torch.from_numpy(intensity_affine(image, "range").apply(image))[None]
    pad = [n for side in reversed(x.shape[2:]) for n in (0, -side % divisor_of(module))]
    x = nn.functional.pad(x, pad, mode="replicate")
    out = []
    with torch.inference_mode():
        for seed in seeds:
            if noise is not None and seed is not None:
                noise.begin((seed,), torch.device("cpu"))
            logits = module(x)
            logits = logits if isinstance(logits, torch.Tensor) else logits[0]
            out.append(logits[(0, slice(None), *(slice(n) for n in image.shape[1:]))].double().numpy())
    return np.stack(out)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("network", "dims"), [(UNET, 2), (UNET, 3), (DcanResNet(width=0.125, stem_stride=1, dropout_from=3), 2)], ids=str
)
def test_moments_are_those_of_the_stack(network: Network, dims: int, batch: int) -> None:
    weights, image = checkpoint(network, dims=dims), picture(*(19, 13, 10)[:dims])
    learner = MCDropout(network=network, passes=5, inference=Inference(batch=batch))
    result = learner.predictor([weights], CPU).predict(image, seed=42, votes=True, log=True)
    logits = stack_of_passes(weights, image, [derive(42, "member", 0, "pass", n) for n in range(5)])
    p_MCS = np.exp(logits[:, :3] - logits[:, :3].max(1, keepdims=True))
    p_MCS /= p_MCS.sum(1, keepdims=True)
    moments = result.moments
    assert moments.count == 5
    np.testing.assert_allclose(moments.probability, p_MCS.sum(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(moments.entropy, entr(p_MCS).sum((0, 1)), rtol=1e-4)
    assert moments.votes is not None
    assert moments.log_probability is not None
    votes = (p_MCS.argmax(1)[:, None] == np.arange(3).reshape(3, *[1] * dims)).sum(0)
    assert (moments.votes == votes).mean() > 0.99  # a tie may fall either way
    np.testing.assert_allclose(moments.log_probability, np.log(p_MCS.sum(0)), atol=1e-4)
    assert result.contour is not None
    expected = 1 / (1 + np.exp(logits[:, 3] - logits[:, 4]))
    np.testing.assert_allclose(result.contour, expected.mean(0), rtol=1e-4, atol=1e-6)
    assert p_MCS.std(0).max() > 1e-3


def test_an_ensemble_predicts_once_per_member_without_dropout() -> None:
    weights = [checkpoint(seed=n) for n in range(3)]
    image = picture(16, 16)
    result = DeepEnsemble(network=UNET, members=3).predictor(weights, CPU).predict(image, seed=0)
    logits = np.concatenate([stack_of_passes(one, image, [None]) for one in weights])[:, :3]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(result.moments.probability, p.sum(0), rtol=1e-4, atol=1e-7)
    other = DeepEnsemble(network=UNET, members=3).predictor(weights, CPU).predict(image, seed=1)
    np.testing.assert_array_equal(result.moments.probability, other.moments.probability)


def test_far_below_every_float_a_log_probability_is_still_a_number() -> None:
    weights = checkpoint(UNet(features=(8, 16), dropout_from=1), contour=False)
    predictor = NetworkPredictor(
        [weights], UNet(features=(8, 16), dropout_from=1), passes=2, inference=Inference(), compute=CPU
    )
    bias = predictor._appliers[0]._module.head.bias  # type: ignore[union-attr]
    with torch.no_grad():
        bias[0] = 2000.0  # type: ignore[index]
    moments = predictor.predict(picture(16, 16), seed=0, log=True).moments
    assert moments.log_probability is not None
    assert moments.log_probability.min() < -1900
    assert np.isfinite(moments.log_probability).all()
    assert (moments.entropy >= 0).all()


@pytest.mark.parametrize("passes", [None, 3])
def test_windows_agree_with_the_whole_image_away_from_their_edges(passes: int | None) -> None:
    """A network of small reach (no normalisation over space in eval mode) sees the same in a window; noise is another matter."""
    network = UNet(features=(8, 8), dropout=0.2, dropout_from=1, norm="batch")
    weights, image = checkpoint(network), picture(64, 72)
    whole, tiled = (
        NetworkPredictor(
            [weights], network, passes=passes, inference=Inference(window=window, batch=2), compute=CPU
        ).predict(image, seed=3)
        for window in ((128, 128), (32, 40))
    )
    difference = np.abs(whole.moments.probability - tiled.moments.probability) / whole.moments.count
    assert tiled.moments.probability.shape == (3, 64, 72)
    np.testing.assert_allclose(tiled.moments.probability.sum(0), tiled.moments.count, rtol=1e-5)
    assert difference.mean() < (2e-3 if passes is None else 5e-2)
    again = NetworkPredictor(
        [weights], network, passes=passes, inference=Inference(window=(32, 40), batch=2), compute=CPU
    )
    np.testing.assert_array_equal(again.predict(image, seed=3).moments.probability, tiled.moments.probability)


def test_a_constant_network_gives_the_same_by_windows() -> None:
    weights = checkpoint()
    predictor = NetworkPredictor([weights], UNET, passes=2, inference=Inference(window=(16, 16)), compute=CPU)
    with torch.no_grad():
        for parameter in predictor._appliers[0]._module.parameters():
            parameter.zero_()
    moments = predictor.predict(picture(50, 23), seed=0).moments
    np.testing.assert_allclose(moments.probability, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(moments.entropy, 2 * np.log(3), rtol=1e-6)


def test_the_prefix_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    predictor = MCDropout(network=UNET, passes=7).predictor([checkpoint()], CPU)
    assert isinstance(predictor, NetworkPredictor)
    module = predictor._appliers[0]._module
    module.down[0].register_forward_hook(lambda *_: calls.append("prefix"))  # type: ignore[index, union-attr]
    module.down[1].register_forward_hook(lambda *_: calls.append("suffix"))  # type: ignore[index, union-attr]
    predictor.predict(picture(16, 16), seed=0)
    assert calls == ["prefix"] + ["suffix"] * 7


def test_infinite_weights_are_an_error() -> None:
    predictor = MCDropout(network=UNET, passes=1).predictor([checkpoint()], CPU)
    assert isinstance(predictor, NetworkPredictor)
    with torch.no_grad():
        predictor._appliers[0]._module.head.weight.fill_(float("inf"))  # type: ignore[union-attr, operator]
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        predictor.predict(picture(16, 16), seed=0)


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 16), (2, 4, 16, 16)])
def test_an_image_of_another_kind_is_refused(shape: tuple[int, ...]) -> None:
    predictor = MCDropout(network=UNET, passes=1).predictor([checkpoint()], CPU)
    with pytest.raises(InvalidValue, match="2 channels and 2 spatial axes"):
        predictor.predict(np.zeros(shape, np.uint8), seed=0)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(InvalidValue, match="expected a checkpoint of"):
        MCDropout(network=UNet(features=(8, 16)), passes=1).predictor([checkpoint()], CPU)
    weights = [checkpoint(), checkpoint(contour=False)]
    with pytest.raises(InvalidValue, match="differ"):
        DeepEnsemble(network=UNET, members=2).predictor(weights, CPU)


@pytest.mark.parametrize(
    ("compute", "match"),
    [
        (Compute(device="tpu9"), "torch device"),
        (Compute(precision="int4"), "fp32, bf16, fp16"),
        (Compute(precision="fp16"), "needs a GPU"),
    ],
)
def test_impossible_computing_is_refused(compute: Compute, match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        MCDropout(network=UNET).predictor([checkpoint()], compute)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(InvalidValue, match="no CUDA GPU"):
        MCDropout(network=UNET).predictor([checkpoint()], Compute(device="cuda:0"))


def test_low_precision_is_near_full_precision() -> None:
    image = picture(32, 32)
    full, low = (
        MCDropout(network=UNET, passes=3).predictor([checkpoint()], Compute(precision=p)).predict(image, seed=0)
        for p in ("fp32", "bf16")
    )
    assert np.abs(full.moments.probability - low.moments.probability).max() / 3 < 0.05


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    MCDropout(network=UNET, passes=1).predictor([checkpoint()], Compute(threads=before + 1)).predict(
        picture(9, 9), seed=0
    )
    assert torch.get_num_threads() == before


def test_votes_go_to_the_first_of_equal_classes() -> None:
    rng = np.random.default_rng(0)
    p = torch.from_numpy(rng.integers(0, 3, (4, 6, 7)).astype(np.float32))
    expected = p.numpy().argmax(0)[None] == np.arange(4)[:, None, None]
    np.testing.assert_array_equal(_winners(p).numpy(), expected)


def test_no_pass_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of passes: of what earlier passes gave, nothing is alive."""
    alive: list[int] = []
    seen: list[weakref.ref[torch.Tensor]] = []
    add = Sums.add

    def watched(self: Sums, logits: torch.Tensor) -> None:
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(logits))
        add(self, logits)

    monkeypatch.setattr(Sums, "add", watched)
    MCDropout(network=UNET, passes=6).predictor([checkpoint()], CPU).predict(
        picture(16, 16), seed=0, votes=True, log=True
    )
    assert len(alive) == 6
    assert max(alive) <= 1
