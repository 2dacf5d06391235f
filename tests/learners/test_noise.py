"""MC dropout touches dropout layers only, and its noise belongs to the pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alframe.errors import InvalidValue
from alframe.learners.noise import PassNoise, seed_dropout

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.Dropout(0.5),
        nn.Sequential(nn.Dropout2d(0.3), nn.Conv2d(6, 2, 1)),
    )


def test_only_dropout_is_random_and_normalisation_stays_in_eval() -> None:
    module = network().eval()
    running = module[1].running_mean.clone()
    noise = seed_dropout(module)
    x = torch.randn(1, 1, 8, 8)
    noise.begin((1,), CPU)
    module(x)
    assert torch.equal(module[1].running_mean, running)
    assert not any(part.training for part in module.modules() if isinstance(part, nn.BatchNorm2d))


def test_a_pass_is_the_same_alone_and_among_others() -> None:
    module = network().eval()
    noise = seed_dropout(module)
    x = torch.randn(1, 1, 8, 8)
    alone = []
    for seed in (7, 8, 9):
        noise.begin((seed,), CPU)
        alone.append(module(x))
    noise.begin((7, 8, 9), CPU)
    torch.testing.assert_close(module(x.expand(3, -1, -1, -1)), torch.cat(alone))
    assert not torch.equal(alone[0], alone[1])


def test_the_global_generator_has_no_part() -> None:
    module = network().eval()
    noise = seed_dropout(module)
    x = torch.randn(1, 1, 8, 8)
    torch.manual_seed(1)
    noise.begin((3,), CPU)
    first = module(x)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    noise.begin((3,), CPU)
    assert torch.equal(module(x), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("layer", "channel"), [(nn.Dropout(0.25), False), (nn.Dropout2d(0.25), True), (nn.Dropout3d(0.25), True)]
)
def test_masks_drop_the_wanted_share_and_keep_the_mean(layer: nn.Module, channel: bool) -> None:
    module = nn.Sequential(layer).eval()
    noise = seed_dropout(module)
    noise.begin((11,), CPU)
    shape = (1, 4000, 2, 2, 2) if isinstance(layer, nn.Dropout3d) else (1, 4000, 3, 3)
    y = module(torch.ones(shape))
    assert sorted(y.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    whole = (y == y.flatten(2)[..., :1].reshape(*y.shape[:2], *(1,) * (y.ndim - 2))).all()
    assert bool(whole) is channel


@pytest.mark.parametrize("module", [nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Sequential(nn.Dropout(0.0))])
def test_a_network_without_dropout_is_refused(module: nn.Module) -> None:
    with pytest.raises(InvalidValue, match="found none"):
        seed_dropout(module)


def test_an_unknown_kind_of_dropout_is_refused() -> None:
    with pytest.raises(InvalidValue, match="AlphaDropout"):
        seed_dropout(nn.Sequential(nn.AlphaDropout(0.5)))


def test_masks_are_drawn_per_pass() -> None:
    noise = PassNoise()
    noise.begin((1, 1, 2), CPU)
    a, b, c = noise.mask((3, 50), 0.5, torch.ones(1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
