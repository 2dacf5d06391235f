"""Pieces that the networks share."""

from __future__ import annotations

from typing import Any

from monai.networks.layers.factories import Dropout
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from alframe.learners.networks import NormKind

__all__ = ["GROUPS_OF", "dropout_layer", "norm_layer", "norm_parameters"]

GROUPS_OF = 4
"""Channels in a group of a group normalisation: small enough for networks of reduced width."""


def norm_parameters(kind: NormKind, channels: int) -> tuple[str, dict[str, Any]]:
    """MONAI's description of a normalisation over `channels`."""
    match kind:
        case "group":
            return ("group", {"num_groups": max(1, channels // GROUPS_OF)})
        case "instance":
            return ("instance", {"affine": True})
        case "batch":
            return ("batch", {})


def norm_layer(kind: NormKind, spatial_dims: int, channels: int) -> nn.Module:
    """A normalisation layer."""
    layer: nn.Module = get_norm_layer(norm_parameters(kind, channels), spatial_dims=spatial_dims, channels=channels)
    return layer


def dropout_layer(spatial_dims: int, rate: float, *, channel: bool) -> nn.Module:
    """Dropout of single values or of whole feature maps; the identity at rate 0."""
    if rate == 0:
        return nn.Identity()
    layer: nn.Module = Dropout[Dropout.DROPOUT, spatial_dims if channel else 1](rate)
    return layer
