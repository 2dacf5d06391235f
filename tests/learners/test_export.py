"""Exported networks run elsewhere and say the same: TorchScript, and ONNX in its own reference evaluator."""

from __future__ import annotations

import importlib.util
import io
import json

import numpy as np
import pytest
import torch

from alframe.errors import ExtraMissing, InvalidValue
from alframe.learners import DcanResNet, ModelCard, Network, OwnNetwork, UNet, load_model, to_onnx, to_torchscript
from alframe.learners.checkpoints import save_model

NETWORKS: list[tuple[Network, int]] = [
    (UNet(features=(8, 16), norm="batch"), 2),
    (UNet(features=(8, 16), stem_stride=2), 3),
    (DcanResNet(width=0.0625, stem_stride=1), 2),
]


def checkpoint(network: Network, dims: int = 2, *, contour: bool = True) -> bytes:
    card = ModelCard(
        network=network, spatial_dims=dims, channels=2, classes=("a", "b", "c"), contour=contour, normalise="range"
    )
    torch.manual_seed(3)
    return save_model(card.build().state_dict(), card)


def expected(weights: bytes, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    module, _ = load_model(weights)
    with torch.inference_mode():
        logits = module(x)
        logits = logits if isinstance(logits, torch.Tensor) else logits[0]
        return logits[:, :3].softmax(1).numpy(), logits[:, 3:].softmax(1)[:, 1].numpy()


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
@pytest.mark.parametrize(("network", "dims"), NETWORKS, ids=str)
def test_torchscript_says_the_same_at_another_size(network: Network, dims: int) -> None:
    weights = checkpoint(network, dims)
    files = {"alframe.json": ""}
    loaded = torch.jit.load(io.BytesIO(to_torchscript(weights)), _extra_files=files)
    x = torch.randn(2, 2, *(40, 24, 16)[:dims])
    probability, contour = loaded(x)
    for ours, theirs in zip((probability, contour), expected(weights, x), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    card = json.loads(files["alframe.json"])
    assert card["classes"] == ["a", "b", "c"]
    assert card["divisor"] in (2, 4, 8)


@pytest.mark.parametrize(("network", "dims"), NETWORKS, ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:onnx")
def test_onnx_says_the_same_at_another_size(network: Network, dims: int) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    from onnx.reference import ReferenceEvaluator

    weights = checkpoint(network, dims)
    data = to_onnx(weights)
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model)
    x = torch.randn(1, 2, *(24, 16, 8)[:dims])
    outputs = ReferenceEvaluator(model).run(None, {"image": x.numpy()})
    for ours, theirs in zip(outputs, expected(weights, x), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert json.loads({entry.key: entry.value for entry in model.metadata_props}["alframe"])["channels"] == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_without_a_contour_head_there_is_one_output() -> None:
    script = torch.jit.load(io.BytesIO(to_torchscript(checkpoint(UNet(features=(8, 16)), contour=False))))
    (probability,) = script(torch.zeros(1, 2, 8, 8))
    assert probability.shape == (1, 3, 8, 8)


def test_a_missing_onnx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"alframe\[onnx\]"):
        to_onnx(b"")


def test_an_own_network_must_be_given() -> None:
    card = ModelCard(
        network=OwnNetwork(type="mine:build"),
        spatial_dims=2,
        channels=1,
        classes=("a", "b"),
        contour=False,
        normalise="range",
    )
    with pytest.raises(InvalidValue, match="pass that OwnNetwork"):
        to_torchscript(save_model({"weight": torch.zeros(1)}, card))
