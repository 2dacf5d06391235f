"""Networks: shapes, equality with MONAI's, and the split at the first dropout."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from alframe.errors import InvalidValue
from alframe.learners import DcanResNet, LinkNet, Network, OwnNetwork, UNet
from alframe.learners.nets import build, divisor_of, outputs_of
from alframe.learners.nets.dcan_resnet import DcanResNetModule, Head
from alframe.learners.nets.linknet import LinkNetModule
from alframe.learners.nets.unet import UNetModule

NETWORKS: list[Network] = [
    UNet(features=(8, 16, 24)),
    UNet(features=(8, 16), stem_stride=2, norm="batch", dropout_from=0),
    UNet(features=(8, 16), stem_stride=4, norm="group", channel_dropout=True, dropout_from=1),
    UNet(features=(8, 16), dropout=0),
    DcanResNet(width=0.125, stem_stride=1, norm="batch", dropout_from=4),
    DcanResNet(width=0.125, stem_stride=2, dropout_from=3, depth=34),
    DcanResNet(width=0.0625, dropout_from=2, depth=50, norm="instance", channel_dropout=True),
    DcanResNet(width=0.0625, dropout=0),
    LinkNet(width=8, blocks=1, dropout=0.3),
    LinkNet(width=8, stem_stride=1, channel_dropout=True, dropout=0.3, norm="batch"),
    LinkNet(width=8, stem_stride=4, norm="group"),
]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_logits_have_the_size_of_the_input(network: Network, dims: int) -> None:
    module = build(network, spatial_dims=dims, in_channels=2, out_channels=5)
    side = divisor_of(module)
    shape = (side, 2 * side, side)[:dims] if side < 32 else (2 * side,) + (side,) * (dims - 1)
    x = torch.randn(2, 2, *shape)
    for output in outputs_of(module(x), out_channels=5, shape=x.shape):
        assert output.shape == (2, 5, *shape)
        output.sum().backward(retain_graph=True)
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_first_half_is_the_same_for_every_pass(network: UNet | DcanResNet | LinkNet) -> None:
    module = build(network, spatial_dims=2, in_channels=1, out_channels=3)
    assert isinstance(module, UNetModule | DcanResNetModule | LinkNetModule)
    for part in module.modules():
        part.train(isinstance(part, nn.Dropout | nn.Dropout2d))
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        state = module.deterministic(x)
        before = [part.clone() for part in state]
        torch.manual_seed(1)
        whole = outputs_of(module(x), out_channels=3, shape=x.shape)[0]
        torch.manual_seed(1)
        resumed = outputs_of(module.stochastic(state), out_channels=3, shape=x.shape)[0]
        other = outputs_of(module.stochastic(state), out_channels=3, shape=x.shape)[0]
    assert torch.equal(whole, resumed)
    assert torch.equal(whole, other) is (network.dropout == 0)
    assert all(torch.equal(a, b) for a, b in zip(before, state, strict=True))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_unet_is_monais(dims: int) -> None:
    ours = UNetModule(UNet(features=(8, 8, 16, 32, 64), dropout=0), spatial_dims=dims, in_channels=3, out_channels=2)
    theirs = BasicUNet(spatial_dims=dims, in_channels=3, out_channels=2, features=(8, 8, 16, 32, 64, 8))
    pairs: list[tuple[nn.Module, nn.Module]] = [(theirs.conv_0, ours.down[0]), (theirs.final_conv, ours.head)]
    for level in range(1, 5):
        pairs.append((getattr(theirs, f"down_{level}").convs, ours.down[level]))
        pairs.append((getattr(theirs, f"upcat_{level}").upsample, ours.up[level - 1]))
        pairs.append((getattr(theirs, f"upcat_{level}").convs, ours.merge[level - 1]))
    for source, target in pairs:
        target.load_state_dict(dict(zip(target.state_dict(), source.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, *(32,) * dims)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_dropout_is_where_it_was_asked_for() -> None:
    def rates(module: nn.Module) -> int:
        return sum(isinstance(part, nn.Dropout | nn.Dropout2d) for part in module.modules())

    unet = UNetModule(UNet(features=(8, 16, 24, 32), dropout_from=2), spatial_dims=2, in_channels=1, out_channels=2)
    assert [rates(level) for level in unet.down] == [0, 0, 2, 2]
    assert [rates(level) for level in unet.merge] == [0, 0, 2]
    dcan = DcanResNetModule(DcanResNet(width=0.125, dropout_from=3), spatial_dims=2, in_channels=1, out_channels=2)
    assert [rates(stage) for stage in dcan.stages] == [0, 0, 2, 2]


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_170_000), (34, 21_280_000), (50, 23_500_000)])
def test_the_encoder_has_the_size_of_a_resnet(depth: int, parameters: int) -> None:
    """torchvision's ResNets without their classifier: 11.18 M, 21.28 M and 23.51 M parameters."""
    module = DcanResNetModule(DcanResNet(depth=depth), spatial_dims=2, in_channels=3, out_channels=2)  # type: ignore[arg-type]
    counted = sum(p.numel() for part in (module.stem, module.stages) for p in part.parameters())
    assert counted == pytest.approx(parameters, rel=0.01)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_head_starts_as_linear_interpolation(dims: int) -> None:
    head = Head(dims, 4, 3, 4)
    nn.init.constant_(head.score.weight, 0.25)
    nn.init.zeros_(head.score.bias)
    x = torch.full((1, 4, *(5,) * dims), 2.0)
    grown = head(x)
    assert grown.shape == (1, 3, *(20,) * dims)
    middle = (slice(None), slice(None), *(slice(4, -4),) * dims)
    torch.testing.assert_close(grown[middle], torch.full_like(grown[middle], 2.0))
    signal = torch.randn(1, 1, 5, 5)
    mode = nn.functional.interpolate(signal, scale_factor=4, mode="bilinear")
    if dims == 2:
        with torch.no_grad():
            alone = head.grow(signal.expand(1, 3, 5, 5))
        torch.testing.assert_close(alone[0, 0, 4:-4, 4:-4], mode[0, 0, 4:-4, 4:-4])


class Plain(nn.Module):
    def __init__(self, *, spatial_dims: int, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.body = nn.Sequential(conv(in_channels, width, 3, padding=1), nn.Dropout(0.5), conv(width, out_channels, 1))
        self.divisor = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def own_factory(*, spatial_dims: int, in_channels: int, out_channels: int, width: int = 4) -> nn.Module:
    return Plain(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, width=width)


def not_a_module(*, spatial_dims: int, in_channels: int, out_channels: int) -> str:
    return "network"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module name under which this file can be imported (pytest's importlib mode gives it none)."""
    import sys

    monkeypatch.setitem(sys.modules, "own_networks_of_a_test", sys.modules[__name__])
    return "own_networks_of_a_test"


def test_an_own_network_is_built_by_its_import_path(own: str) -> None:
    network = OwnNetwork(type=f"{own}:own_factory", params={"width": 7})
    module = build(network, spatial_dims=3, in_channels=2, out_channels=4)
    assert module.body[0].weight.shape == (7, 2, 3, 3, 3)  # type: ignore[union-attr, index]
    assert divisor_of(module) == 4


@pytest.mark.parametrize(
    ("name", "params", "match"),
    [
        ("absent_factory", {}, "could not be built"),
        ("own_factory", {"wdith": 3}, "wdith"),
        ("not_a_module", {}, "got str"),
    ],
)
def test_what_is_wrong_with_an_own_network_is_said(own: str, name: str, params: dict[str, int], match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        build(OwnNetwork(type=f"{own}:{name}", params=params), spatial_dims=2, in_channels=1, out_channels=2)


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"\(1, 3, 8, 8\)"):
        outputs_of(torch.zeros(1, 2, 8, 8), out_channels=3, shape=torch.Size((1, 1, 8, 8)))
