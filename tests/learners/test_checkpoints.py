"""Checkpoints say what they hold, load alone, and refuse what does not fit."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from alframe.errors import InvalidValue
from alframe.learners import DcanResNet, ModelCard, Network, OwnNetwork, UNet, load_model, read_card
from alframe.learners.checkpoints import restore, save_model

SMALL = UNet(features=(8, 16), dropout_from=0)


def card(network: Network = SMALL, **changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "network": network,
        "spatial_dims": 2,
        "channels": 3,
        "classes": ("background", "gland"),
        "contour": True,
        "normalise": "zscore",
    }
    return ModelCard(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "network", [SMALL, DcanResNet(width=0.125, depth=34), UNet(features=(8, 8), norm="batch")], ids=str
)
def test_a_model_comes_back_as_it_was(network: Network) -> None:
    module = card(network).build()
    weights = save_model(module.state_dict(), card(network))
    loaded, told = load_model(weights)
    assert told == card(network)
    assert not loaded.training
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        module.eval()
        first, second = (m(x) if isinstance(m(x), torch.Tensor) else m(x)[0] for m in (module, loaded))
    assert torch.equal(first, second)


def test_equal_weights_give_equal_bytes_that_safetensors_reads() -> None:
    module = card().build()
    state = module.state_dict()
    weights = save_model(state, card())
    assert weights == save_model(dict(reversed(state.items())), card())
    assert all(torch.equal(tensor, state[name]) for name, tensor in load(weights).items())


def test_saving_copies() -> None:
    module = card().build()
    weights = save_model(module.state_dict(), card())
    before = load(weights)["head.bias"].clone()
    with torch.no_grad():
        module.head.bias.add_(1)  # type: ignore[union-attr, operator]
    assert torch.equal(load(weights)["head.bias"], before)


@given(data=st.binary(max_size=200))
def test_other_bytes_are_no_checkpoint(data: bytes) -> None:
    with pytest.raises(InvalidValue, match="written by alframe"):
        read_card(data)


def test_safetensors_of_others_are_no_checkpoint() -> None:
    with pytest.raises(InvalidValue, match="written by alframe"):
        load_model(save({"weight": torch.zeros(3)}))
    told = json.dumps({"network": {"type": "unet"}, "format": 1})
    with pytest.raises(InvalidValue, match="spatial_dims"):
        load_model(save({"weight": torch.zeros(3)}, metadata={"alframe": told}))


def test_weights_that_do_not_fit_are_named() -> None:
    with pytest.raises(InvalidValue, match="size mismatch for head"):
        restore(card(classes=("background", "a", "b")).build(), save_model(card().build().state_dict(), card()))


def test_a_cut_file_is_refused() -> None:
    weights = save_model(card().build().state_dict(), card())
    with pytest.raises(InvalidValue, match="does not fit"):
        load_model(weights[:-8])


def test_a_file_does_not_decide_which_code_is_imported() -> None:
    own = OwnNetwork(type="os:system", params={"command": "true"})
    weights = save_model({"weight": torch.zeros(3)}, card(own))
    with pytest.raises(InvalidValue, match="pass that OwnNetwork"):
        load_model(weights)
    with pytest.raises(InvalidValue, match="expected a checkpoint of"):
        load_model(weights, SMALL)
