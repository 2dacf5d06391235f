"""Networks as parameters: one frozen value per architecture, told apart by its `type`; the torch code is in ``nets/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from alframe.errors import InvalidValue

__all__ = [
    "AnyNetwork",
    "DcanResNet",
    "EdueUNet",
    "HeteroscedasticUNet",
    "LinkNet",
    "Network",
    "NormKind",
    "OwnNetwork",
    "ProbUNet",
    "UNet",
    "WeightDraws",
]

NormKind: TypeAlias = Literal["instance", "group", "batch"]
WeightDraws: TypeAlias = Literal["gaussian", "dropout", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet:
    """A U-Net of MONAI blocks, in two or three dimensions.

    `features` are the channels of each level, the finest first. `stem_stride` 2 or 4 lets the finest level work at a
    half or a quarter of the resolution (cheaper by its power of the dimensions; logits are up-sampled at the end).
    Dropout with probability `dropout` follows each convolution of the levels from `dropout_from` (0 = the finest)
    down; `channel_dropout` drops whole feature maps. What lies above the first dropout is computed once for all
    passes.

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["unet"] = "unet"
    features: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: float = 0.2
    dropout_from: int = 1
    channel_dropout: bool = False
    norm: NormKind = "instance"
    stem_stride: Literal[1, 2, 4] = 1

    def __post_init__(self) -> None:
        if not 2 <= len(self.features) <= 7 or any(width < 1 for width in self.features):
            raise InvalidValue(f"unet: features needs 2 to 7 positive channel counts, got {self.features}")
        if self.norm == "group" and any(width % 4 for width in self.features):
            raise InvalidValue(f"unet: group normalisation needs features divisible by 4, got {self.features}")
        _check_dropout("unet", self.dropout)
        if not 0 <= self.dropout_from < len(self.features):
            raise InvalidValue(
                f"unet: dropout_from must be a level, 0 to {len(self.features) - 1}, got {self.dropout_from}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DcanResNet:
    """Pre-activation ResNet encoder with class and contour heads on three taps (Li & Alstrøm 2020; DCAN, Chen et al. 2016).

    `width` multiplies the channels (64 in the first stage at 1.0), `stem_stride` is 4 in the paper (a strided 7-wide
    convolution, then pooling); 2 or 1 keep fine detail of small images. Dropout precedes each residual block of the
    stages from `dropout_from` (1 to 4; 1 in the paper) on. `weights` names a safetensors file with encoder weights to
    start from, local or by ``https://`` (a checkpoint of the same encoder is one), `weights_sha256` (hex) what it must hash to.

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["dcan_resnet"] = "dcan_resnet"
    depth: Literal[18, 34, 50] = 18
    width: float = 1.0
    stem_stride: Literal[1, 2, 4] = 4
    dropout: float = 0.2
    dropout_from: int = 1
    channel_dropout: bool = False
    norm: NormKind = "group"
    weights: str = ""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        base = 64 * self.width
        if base < 4 or base != int(base) or int(base) % 4:
            raise InvalidValue(f"dcan_resnet: 64 × width must be a positive multiple of 4, got width={self.width}")
        _check_dropout("dcan_resnet", self.dropout)
        if not 1 <= self.dropout_from <= 4:
            raise InvalidValue(f"dcan_resnet: dropout_from must be a stage, 1 to 4, got {self.dropout_from}")
        if self.weights and len(self.weights_sha256) != 64:
            raise InvalidValue(
                "dcan_resnet: weights needs weights_sha256, the file's SHA-256 in 64 hex digits (sha256sum FILE)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkNet:
    """LinkNet with a residual encoder of four stages (Chaurasia & Culurciello 2017), the base of D-LEMA's models.

    `width` channels in the first stage, twice as many in each next one; `blocks` residual blocks a stage (2 as in a
    ResNet-18). `stem_stride` is 4 in the paper (a strided 7-wide convolution, then pooling); 2 or 1 keep fine detail of
    small images. `dropout` stands behind the five central blocks (encoder stages 3 and 4, decoder stages 4, 3 and 2).

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["linknet"] = "linknet"
    width: int = 16
    blocks: int = 2
    stem_stride: Literal[1, 2, 4] = 2
    dropout: float = 0.0
    channel_dropout: bool = False
    norm: NormKind = "instance"

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4 or self.blocks < 1:
            raise InvalidValue(
                f"linknet: width must be a positive multiple of 4 and blocks at least 1, got {self.width} and {self.blocks}"
            )
        _check_dropout("linknet", self.dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdueUNet:
    """A U-Net with `heads` segmentation heads, on the finest levels of its decoder, and a branch for the raters' disagreement.

    `features` are the channels of each level, the finest first. It belongs to the learner `edue`.

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["edue_unet"] = "edue_unet"
    features: tuple[int, ...] = (16, 32, 64, 128)
    heads: int = 3
    norm: NormKind = "instance"

    def __post_init__(self) -> None:
        if not 3 <= len(self.features) <= 7 or any(width < 1 for width in self.features):
            raise InvalidValue(f"edue_unet: features needs 3 to 7 positive channel counts, got {self.features}")
        if self.norm == "group" and any(width % 4 for width in self.features):
            raise InvalidValue(f"edue_unet: group normalisation needs features divisible by 4, got {self.features}")
        if not 2 <= self.heads < len(self.features):
            raise InvalidValue(
                f"edue_unet: heads must be at least 2 and fewer than the levels {len(self.features)}, got {self.heads}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbUNet:
    """A U-Net with a latent code of `latent` dimensions (Kohl et al. 2018) and drawn weights (Hu et al. 2019).

    Three convolutions with ReLU a level, without normalisation, of `features` channels (the finest level first); the
    same encoder twice more, for the prior and the posterior of the code. `weights` says how the last convolution of the
    decoder gets its weights: ``gaussian`` (variational), ``dropout`` of its input maps at rate `dropout` (0.2 when not
    given), or ``fixed``.

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["prob_unet"] = "prob_unet"
    features: tuple[int, ...] = (32, 64, 128, 192)
    latent: int = 6
    weights: WeightDraws = "gaussian"
    dropout: float | None = None

    def __post_init__(self) -> None:
        _check_backbone("prob_unet", self.features, self.weights, self.dropout)
        if self.latent < 1:
            raise InvalidValue(f"prob_unet: latent must be at least 1, got {self.latent}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeteroscedasticUNet:
    """The backbone of :class:`ProbUNet` whose logits are Gaussian, with a mean and a σ of their own at every pixel.

    Kendall & Gal 2017. `weights` and `dropout` are those of :class:`ProbUNet`.

    Raises:
        InvalidValue: when a field is out of range.
    """

    type: Literal["heteroscedastic_unet"] = "heteroscedastic_unet"
    features: tuple[int, ...] = (32, 64, 128, 192)
    weights: WeightDraws = "dropout"
    dropout: float | None = None

    def __post_init__(self) -> None:
        _check_backbone("heteroscedastic_unet", self.features, self.weights, self.dropout)


def _check_backbone(network: str, features: tuple[int, ...], weights: WeightDraws, dropout: float | None) -> None:
    if not 2 <= len(features) <= 7 or any(width < 1 for width in features):
        raise InvalidValue(f"{network}: features needs 2 to 7 positive channel counts, got {features}")
    if dropout is None:
        return
    if weights != "dropout":
        raise InvalidValue(f"{network}: dropout is for weights: dropout, not for weights: {weights}")
    if not 0 < dropout < 1:
        raise InvalidValue(f"{network}: dropout must be between 0 and 1, got {dropout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNetwork:
    """A network of your own: `type` is ``package.module:factory``, `params` its keyword arguments.

    The factory is called as ``factory(spatial_dims=…, in_channels=…, out_channels=…, **params)`` and returns a
    ``torch.nn.Module`` that maps ``(B, in_channels, S)`` to logits ``(B, out_channels, S)``, or to a tuple of such
    tensors: the prediction, then taps that are only trained on. An attribute ``divisor`` (int, default 1) says what
    each side of its input must be divisible by.

    Raises:
        InvalidValue: when `type` is no import path.
    """

    type: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module, colon, name = self.type.partition(":")
        if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
            raise InvalidValue(
                f"network type must be unet, dcan_resnet, linknet or package.module:factory, got {self.type!r}"
            )


def _check_dropout(network: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise InvalidValue(f"{network}: dropout must be at least 0 and below 1, got {rate}")


Network: TypeAlias = UNet | DcanResNet | LinkNet | OwnNetwork
"""Networks that give one prediction: what most learners may be given."""
AnyNetwork: TypeAlias = Network | EdueUNet | ProbUNet | HeteroscedasticUNet
"""All that a checkpoint may hold; those beyond :data:`Network` belong to one learner each."""
