"""Checkpoints: safetensors bytes that say themselves which network they hold, so that they load without a campaign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from alframe.errors import InvalidValue
from alframe.learners.nets import build
from alframe.learners.networks import AnyNetwork, OwnNetwork
from alframe.learners.settings import NormaliseKind

__all__ = ["ModelCard", "load_model", "read_card", "restore", "save_model"]

KEY = "alframe"
HEADER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a checkpoint's weights are: enough to rebuild the network and to apply it to an image.

    `channels` counts those of the image, `classes` names the logits' classes (position 0 = background), `contour`
    says whether two more logits tell object borders, `extra` how many further ones a learner of its own kind reads.
    `format` is raised when the meaning of a field changes.
    """

    network: AnyNetwork
    spatial_dims: int
    channels: int
    classes: tuple[str, ...]
    contour: bool
    normalise: NormaliseKind
    extra: int = 0
    format: int = 1

    @property
    def out_channels(self) -> int:
        """Logits: one per class, two more for a contour head, and the extra ones."""
        return len(self.classes) + 2 * self.contour + self.extra

    def build(self) -> nn.Module:
        """A network of this kind with fresh weights. Raises InvalidValue."""
        return build(
            self.network, spatial_dims=self.spatial_dims, in_channels=self.channels, out_channels=self.out_channels
        )


def save_model(state: Mapping[str, torch.Tensor], card: ModelCard) -> bytes:
    """The weights and their card as safetensors bytes; equal weights give equal bytes."""
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    data: bytes = save(tensors, metadata={KEY: json.dumps(asdict(card), sort_keys=True)})
    return data


def read_card(weights: bytes) -> ModelCard:
    """The card of a checkpoint. Raises InvalidValue when the bytes are no checkpoint of alframe."""
    try:
        length = int.from_bytes(weights[:HEADER], "little")
        header = json.loads(weights[HEADER : HEADER + length])
        return TypeAdapter(ModelCard).validate_json(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, ValidationError) as problem:
        raise InvalidValue(
            f"expected safetensors bytes written by alframe, got {len(weights)} bytes: {problem}"
        ) from problem


def restore(module: nn.Module, weights: bytes) -> None:
    """Load the weights into a network of the same kind.

    Raises:
        InvalidValue: when names or shapes differ, or the bytes are damaged.
    """
    try:
        module.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as problem:
        raise InvalidValue(f"the checkpoint does not fit the network: {problem}") from problem


def _check_size(card: ModelCard, weights: bytes) -> None:
    """Compare the file with the network that its card speaks of, before that takes any memory. Raises InvalidValue."""
    try:
        length = int.from_bytes(weights[:HEADER], "little")
        header = json.loads(weights[HEADER : HEADER + length])
        stored = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        with torch.device("meta"):
            planned = {name: tuple(tensor.shape) for name, tensor in card.build().state_dict().items()}
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError) as problem:
        raise InvalidValue(f"the checkpoint does not describe a network that can be built: {problem}") from problem
    odd = sorted(name for name in stored.keys() | planned.keys() if stored.get(name) != planned.get(name))
    if odd:
        raise InvalidValue(
            f"the checkpoint does not fit the network: {odd[0]} is {stored.get(odd[0], 'not there')}, "
            f"expected {planned.get(odd[0], 'none')}"
        )


def load_model(weights: bytes, network: AnyNetwork | None = None) -> tuple[nn.Module, ModelCard]:
    """The network of a checkpoint in eval mode on the CPU, and its card.

    `network` must be given for a network of your own: a file does not decide which code is imported.

    Raises:
        InvalidValue: when the bytes are no checkpoint, or hold another network than `network`.
    """
    card = read_card(weights)
    if network is None and isinstance(card.network, OwnNetwork):
        raise InvalidValue(
            f"the checkpoint holds {card.network.type}: pass that OwnNetwork as `network` to import its code"
        )
    if network is not None and network != card.network:
        raise InvalidValue(f"expected a checkpoint of {network}, got one of {card.network}")
    _check_size(card, weights)
    module = card.build()
    restore(module, weights)
    return module.eval(), card
