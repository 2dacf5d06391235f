"""Losses over raters against closed forms, torch's distributions and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from alframe.learners import HeteroscedasticUNet, ProbUNet
from alframe.learners.nets import HeteroscedasticUNetModule, ProbUNetModule, build
from alframe.learners.nets.bayesian import DrawnConvolution
from alframe.learners.rater_losses import (
    code_divergence,
    gaussian_logits_loss,
    log_mean,
    one_hot,
    prob_unet_loss,
    vote_loss,
)

SMALL = ProbUNet(features=(6, 8), latent=3)


def prob_unet(network: ProbUNet = SMALL, *, dims: int = 2, classes: int = 3, seed: int = 0) -> ProbUNetModule:
    torch.manual_seed(seed)
    module = build(network, spatial_dims=dims, in_channels=2, out_channels=classes)
    assert isinstance(module, ProbUNetModule)
    return module


def picture(dims: int = 2, *, batch: int = 2) -> torch.Tensor:
    return torch.randn((batch, 2, *(8,) * dims), generator=torch.Generator().manual_seed(1))


def masks(dims: int = 2, *, classes: int = 3, batch: int = 2, raters: int = 3) -> torch.Tensor:
    return torch.randint(0, classes, (batch, raters, *(8,) * dims), generator=torch.Generator().manual_seed(2))


def test_the_divergence_of_codes_is_that_of_torch() -> None:
    mean_q, log_q, mean_p, log_p = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(3))
    expected = kl_divergence(Normal(mean_q, log_q.exp()), Normal(mean_p, log_p.exp())).sum(1)
    torch.testing.assert_close(code_divergence((mean_q, log_q), (mean_p, log_p)), expected)


def test_the_divergence_of_weights_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer = DrawnConvolution(2, 3, 4, kind="gaussian", rate=0.0)
    expected = sum(
        kl_divergence(Normal(mean, log.exp()), Normal(0.0, 1.0)).sum()
        for mean, log in ((layer.mean.weight, layer.log_sigma), (layer.mean.bias, layer.log_sigma_bias))
    )
    torch.testing.assert_close(layer.divergence(), expected)
    assert DrawnConvolution(2, 3, 4, kind="dropout", rate=0.2).divergence().item() == 0


def test_one_hot_is_zero_where_nobody_drew() -> None:
    found = one_hot(torch.tensor([[[[0, 2], [255, 1]]]]), 3)
    assert found.shape == (1, 1, 3, 2, 2)
    assert found[0, 0, :, 0, 1].tolist() == [0, 0, 1]
    assert found[0, 0, :, 1, 0].tolist() == [0, 0, 0]


def test_the_log_mean_is_the_logarithm_of_mean_probabilities() -> None:
    logits = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    torch.testing.assert_close(log_mean(logits, draws=0, classes=1), logits.softmax(1).mean(0).log())


def test_the_vote_loss_of_two_classes_is_binary_cross_entropy() -> None:
    p = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(5)).clamp(0.05, 0.95)
    drawn = masks(classes=2)
    drawn[0, 1] = 255
    drawn[1, :, :3] = 255
    known = drawn != 255
    share = ((drawn == 1) & known).sum(1) / known.sum(1).clamp(min=1)
    expected = functional.binary_cross_entropy(p, share, reduction="none")[known.any(1)].mean()
    torch.testing.assert_close(vote_loss(torch.stack([1 - p, p], 1).log(), drawn), expected)


def bound_by_loops(module: ProbUNetModule, image: torch.Tensor, drawn: torch.Tensor, kl_weight: float) -> torch.Tensor:
    """−ELBO mask by mask with the code at the posterior's mean: the plainest form."""
    error = divergence = torch.zeros(())
    for b, r in np.ndindex(*drawn.shape[:2]):
        if not (drawn[b, r] != 255).any():
            continue
        x = image[b : b + 1]
        posterior = module.posterior(torch.cat([x, one_hot(drawn[b, r][None, None], module.classes)[:, 0]], 1))
        features = module.features(module.trunk(x))
        logits = module.combine(features, posterior[0][:, None])[:, 0]
        error = error + functional.cross_entropy(logits, drawn[b, r][None], ignore_index=255, reduction="sum")
        divergence = divergence + code_divergence(posterior, module.prior(x))[0]
    return (error + kl_weight * divergence) / (drawn != 255).sum()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_evidence_bound_equals_loops_over_images_and_raters(dims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alframe.learners.rater_losses._sample", lambda code, draws: code[0][:, None])
    module, image, drawn = prob_unet(dims=dims).eval(), picture(dims), masks(dims)
    drawn[0, 2], drawn[1, 0, :3] = 255, 255
    found = prob_unet_loss(module, image, drawn, kl_weight=0.7, rater_weight=0.0, draws=1)
    torch.testing.assert_close(found, bound_by_loops(module, image, drawn, 0.7))


def test_a_rater_who_did_not_answer_changes_nothing() -> None:
    module, image, drawn = prob_unet(), picture(), masks()
    absent = torch.full_like(drawn[:, :1], 255)
    values = []
    for maps in (drawn, torch.cat([drawn, absent], 1)):
        torch.manual_seed(9)
        values.append(prob_unet_loss(module, image, maps, kl_weight=1.0, rater_weight=1.0, draws=3))
    torch.testing.assert_close(*values)


def test_nothing_annotated_is_no_loss_and_no_nan() -> None:
    module, drawn = prob_unet(), torch.full_like(masks(), 255)
    loss = prob_unet_loss(module, picture(), drawn, kl_weight=1.0, rater_weight=1.0, draws=3)
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in module.parameters())


def test_more_votes_for_what_more_raters_drew_is_worth_it() -> None:
    """The rater term alone pulls the mean of the prior's samples to the share of votes."""
    module = prob_unet(ProbUNet(features=(4, 4), latent=2, weights="fixed"), classes=2)
    image = picture(batch=1)
    drawn = torch.zeros(1, 4, 8, 8, dtype=torch.long)
    drawn[:, 0] = 1
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        trunk, *prior = module.context(image)
        codes = prior[0][:, None] + prior[1].exp()[:, None] * torch.randn(1, 16, 2)
        logits = module.combine(module.features(trunk), codes)
        torch.autograd.backward(vote_loss(log_mean(logits, draws=1, classes=2), drawn))
        optimiser.step()
    with torch.no_grad():
        share = module(image).softmax(1)[0, 1].mean().item()
    assert share == pytest.approx(0.25, abs=0.05)


def test_gaussian_logits_against_loops() -> None:
    torch.manual_seed(0)
    network = HeteroscedasticUNet(features=(6, 8), weights="fixed")
    module = build(network, spatial_dims=2, in_channels=2, out_channels=3)
    assert isinstance(module, HeteroscedasticUNetModule)
    image, drawn = picture(), masks()
    drawn[1, 2, 4:] = 255
    torch.manual_seed(6)
    found = gaussian_logits_loss(module, image, drawn, draws=4)
    torch.manual_seed(6)
    mean, sigma = module.gaussian(module.features(module.trunk(image)))
    noise = torch.randn((4, *mean.shape))
    total, count = 0.0, 0
    for b, r, y, x in np.ndindex(*drawn.shape):
        if drawn[b, r, y, x] != 255:
            p = [
                (mean[b, :, y, x] + sigma[b, :, y, x] * noise[t, b, :, y, x]).softmax(0)[drawn[b, r, y, x]].item()
                for t in range(4)
            ]
            total, count = total - float(np.log(np.mean(p))), count + 1
    assert found.item() == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_combination_is_four_convolutions_over_features_and_a_tiled_code(dims: int) -> None:
    module = prob_unet(dims=dims)
    combine = module.combine
    convolutions = [part for part in combine.rest if isinstance(part, nn.Conv2d | nn.Conv3d)]
    assert 1 + len(convolutions) == 4
    features, codes = torch.randn(2, 6, *(8,) * dims), torch.randn(2, 5, 3)
    weight = torch.cat([combine.of_features.weight, combine.of_code.weight.reshape(6, 3, *(1,) * dims)], 1)
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    for k in range(5):
        tiled = codes[:, k].reshape(2, 3, *(1,) * dims).expand(2, 3, *(8,) * dims)
        expected = combine.rest(convolve(torch.cat([features, tiled], 1), weight, combine.of_features.bias))
        torch.testing.assert_close(combine(features, codes)[:, k], expected, rtol=1e-4, atol=1e-6)


def test_drawn_outputs_have_the_distribution_of_drawn_weights() -> None:
    """Local reparameterisation and whole weight draws agree in mean and variance at a pixel, and only the latter are coherent."""
    torch.manual_seed(0)
    layer = DrawnConvolution(2, 3, 2, kind="gaussian", rate=0.0)
    with torch.no_grad():
        layer.log_sigma.add_(4)
        layer.log_sigma_bias.add_(4)
        x = torch.randn(1, 3, 6, 6)
        local = torch.stack([layer(x) for _ in range(3000)])
        generator = torch.Generator().manual_seed(5)
        whole = torch.stack([layer.apply_drawn(x, layer.draw(generator)) for _ in range(3000)])
    torch.testing.assert_close(local.mean(0), whole.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(local.std(0), whole.std(0), rtol=0.1, atol=0)
    flat = [draws[:, 0, 0].flatten(1).T for draws in (local, whole)]
    beside = [np.corrcoef(pixels[:2].numpy())[0, 1] for pixels in flat]
    assert abs(beside[0]) < 0.1 < abs(beside[1])


@pytest.mark.parametrize("kind", ["gaussian", "dropout", "fixed"])
def test_a_draw_is_its_generators_alone(kind: str) -> None:
    torch.manual_seed(0)
    layer = DrawnConvolution(3, 3, 2, kind=kind, rate=0.5)  # type: ignore[arg-type]
    first, again, other = (layer.draw(torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 4))
    assert torch.equal(first, again)
    assert torch.equal(first, other) is (kind == "fixed")
    x = torch.randn(1, 3, 4, 4, 4)
    if kind == "fixed":
        torch.testing.assert_close(layer.apply_drawn(x, layer.draw(torch.Generator())), layer(x))
    if kind == "dropout":
        kept = (first != 0).flatten(2).any(2).all(0)
        torch.testing.assert_close(first[:, kept], 2 * layer.mean.weight[:, kept])


def test_the_network_is_the_one_of_the_paper() -> None:
    module = prob_unet(ProbUNet(), classes=2)
    shapes = [[c.conv.weight.shape[:2] for c in level] for level in module.encoder.levels]
    assert [[tuple(s) for s in level] for level in shapes] == [
        [(32, 2), (32, 32), (32, 32)],
        [(64, 32), (64, 64), (64, 64)],
        [(128, 64), (128, 128), (128, 128)],
        [(192, 128), (192, 192), (192, 192)],
    ]
    assert isinstance(module.encoder.pool, nn.AvgPool2d)
    assert module.posterior.encoder.levels[0][0].conv.weight.shape[1] == 2 + 2
    assert module.prior.head.out_features == 2 * 6
    assert module.drawn.mean.weight.shape == (32, 32, 3, 3)
    assert module.drawn.log_sigma.mean().item() == pytest.approx(-5, abs=0.01)
    assert module.drawn.log_sigma.std().item() == pytest.approx(0.1, abs=0.01)
