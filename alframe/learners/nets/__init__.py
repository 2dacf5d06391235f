"""The torch code of the networks, built from their parameters."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from alframe.errors import InvalidValue
from alframe.learners.nets.dcan_resnet import DcanResNetModule
from alframe.learners.nets.edue_unet import EdueUNetModule
from alframe.learners.nets.linknet import LinkNetModule
from alframe.learners.nets.prob_unet import HeteroscedasticUNetModule, ProbUNetModule
from alframe.learners.nets.unet import UNetModule
from alframe.learners.networks import (
    AnyNetwork,
    DcanResNet,
    EdueUNet,
    HeteroscedasticUNet,
    LinkNet,
    OwnNetwork,
    ProbUNet,
    UNet,
)

__all__ = [
    "DcanResNetModule",
    "EdueUNetModule",
    "HeteroscedasticUNetModule",
    "LinkNetModule",
    "ProbUNetModule",
    "UNetModule",
    "build",
    "divisor_of",
    "outputs_of",
]


def build(network: AnyNetwork, *, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """A freshly initialised network (from torch's global generator) with `out_channels` logits.

    Raises:
        InvalidValue: when an own network cannot be imported or built.
    """
    shape = {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": out_channels}
    match network:
        case UNet():
            return UNetModule(network, **shape)
        case DcanResNet():
            return DcanResNetModule(network, **shape)
        case LinkNet():
            return LinkNetModule(network, **shape)
        case EdueUNet():
            return EdueUNetModule(network, **shape)
        case ProbUNet():
            return ProbUNetModule(network, **shape)
        case HeteroscedasticUNet():
            return HeteroscedasticUNetModule(network, **shape)
        case OwnNetwork():
            return _build_own(network, shape)


def _build_own(network: OwnNetwork, shape: dict[str, int]) -> nn.Module:
    module, _, name = network.type.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        built = factory(**shape, **network.params)
    except (ImportError, AttributeError, TypeError) as problem:
        raise InvalidValue(
            f"network {network.type} could not be built with {shape} and params {dict(network.params)}: {problem}. "
            "Check the import path and the factory's keyword arguments"
        ) from problem
    if not isinstance(built, nn.Module):
        raise InvalidValue(f"network {network.type} must return a torch.nn.Module, got {type(built).__name__}")
    return built


def divisor_of(module: nn.Module) -> int:
    """What each side of the network's input must be divisible by."""
    return int(getattr(module, "divisor", 1))


def outputs_of(result: Any, *, out_channels: int, shape: torch.Size) -> tuple[torch.Tensor, ...]:
    """The tensors a network returned, the prediction first, checked against what was asked for.

    Raises:
        InvalidValue: when one has another shape than ``(B, out_channels, S)``.
    """
    outputs = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    expected = (shape[0], out_channels, *shape[2:])
    for output in outputs:
        if tuple(output.shape) != expected:
            raise InvalidValue(f"the network must return logits of shape {expected}, got {tuple(output.shape)}")
    return outputs
