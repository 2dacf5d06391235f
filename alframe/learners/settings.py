"""How networks are trained and applied, as frozen values without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from alframe.errors import InvalidValue

__all__ = ["Annotation", "Augmentation", "Inference", "NormaliseKind", "Training"]

Annotation: TypeAlias = Literal["fused", "random"]
NormaliseKind: TypeAlias = Literal["range", "zscore"]


def _require(good: bool, message: str) -> None:
    if not good:
        raise InvalidValue(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random changes of a training patch; geometry moves image and mask alike, and what comes from outside gives no loss.

    `flip_axes` are spatial axes counted from the last (−1 = X, −2 = Y, −3 = Z), each mirrored with probability ½;
    `quarter_turns` turns the Y X plane by a multiple of 90° (square patches only). With probability
    `affine_probability` a patch is turned by up to `rotation` degrees in each plane and magnified by a factor within
    `scale`; `elastic` (pixels, standard deviation of a coarse grid of displacements; 0 = none) bends it. On
    normalised intensities: `contrast` and `brightness` (largest relative and absolute change, per channel), `noise`
    (largest standard deviation), `blur` (largest Gaussian σ in pixels, used on half of the patches). `stain` (RGB
    histology) scales and shifts the haematoxylin, eosin and residual densities of Ruifrok & Johnston 2001 by up to
    this fraction (Tellez et al. 2018).

    Raises:
        InvalidValue: when a field is out of range.
    """

    flip_axes: tuple[int, ...] = (-2, -1)
    quarter_turns: bool = True
    affine_probability: float = 0.5
    rotation: float = 30.0
    scale: tuple[float, float] = (0.8, 1.25)
    elastic: float = 0.0
    contrast: float = 0.2
    brightness: float = 0.2
    noise: float = 0.05
    blur: float = 0.0
    stain: float = 0.0

    def __post_init__(self) -> None:
        _require(
            all(axis in (-1, -2, -3) for axis in self.flip_axes),
            f"augmentation: flip_axes may hold -1 (X), -2 (Y) and -3 (Z), got {self.flip_axes}",
        )
        _require(
            0 <= self.affine_probability <= 1,
            f"augmentation: affine_probability must be 0 to 1, got {self.affine_probability}",
        )
        _require(0 <= self.rotation <= 180, f"augmentation: rotation must be 0 to 180 degrees, got {self.rotation}")
        low, high = self.scale
        _require(0.25 <= low <= high <= 4, f"augmentation: scale must rise within 0.25 to 4, got {self.scale}")
        for name in ("elastic", "contrast", "brightness", "noise", "blur", "stain"):
            _require(getattr(self, name) >= 0, f"augmentation: {name} must not be negative, got {getattr(self, name)}")
        _require(self.contrast < 1, f"augmentation: contrast must be below 1, got {self.contrast}")
        _require(self.stain < 1, f"augmentation: stain must be below 1, got {self.stain}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training run. Its length is counted in `steps` (batches), never in seconds, so that it can be repeated exactly.

    `patch` is the size of training crops, axes ``(Z) Y X`` (empty: 192×192 in 2-D, 64×64×64 in 3-D, or what holds the
    largest item when that is smaller). A crop always holds an annotated pixel; with probability `foreground` that
    pixel is sought among those of a class other than background. Every `validate_every` steps the model (its
    exponential moving average when `ema` > 0) is measured on the validation items; the best one is kept, and training
    ends early after `patience` measurements without progress (0 = never). `dice_weight` and `contour_weight` weigh
    the soft Dice and contour terms against the cross-entropy (a contour head exists when the pool tells objects apart
    and the weight is not 0). `tap_weight` weighs deep-supervision taps and falls to a tenth every `tap_decay_steps`.
    `momentum` is that of ``sgd`` alone. `clip_norm` bounds the gradient's norm (0 = unbounded). Images are kept in memory
    up to `cache_mib`; the others are read crop by crop.

    Raises:
        InvalidValue: when a field is out of range.
    """

    steps: int = 800
    batch_size: int = 8
    patch: tuple[int, ...] = ()
    foreground: float = 0.0
    optimiser: Literal["adam", "adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    warmup_steps: int = 20
    clip_norm: float = 1.0
    ema: float = 0.0
    validate_every: int = 50
    patience: int = 0
    dice_weight: float = 0.0
    contour_weight: float = 1.0
    tap_weight: float = 1.0
    tap_decay_steps: int = 300
    cache_mib: int = 2048
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "tap_decay_steps"):
            _require(getattr(self, name) >= 1, f"training: {name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "weight_decay",
            "warmup_steps",
            "clip_norm",
            "patience",
            "dice_weight",
            "contour_weight",
            "tap_weight",
            "cache_mib",
        ):
            _require(getattr(self, name) >= 0, f"training: {name} must not be negative, got {getattr(self, name)}")
        _require(self.learning_rate > 0, f"training: learning_rate must be positive, got {self.learning_rate}")
        _require(0 <= self.foreground <= 1, f"training: foreground must be 0 to 1, got {self.foreground}")
        _require(0 <= self.momentum < 1, f"training: momentum must be at least 0 and below 1, got {self.momentum}")
        _require(0 <= self.ema < 1, f"training: ema must be at least 0 and below 1, got {self.ema}")
        _require(
            len(self.patch) in (0, 2, 3) and all(side >= 1 for side in self.patch),
            f"training: patch needs 2 or 3 positive sides (or none), got {self.patch}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """How a network is applied to a whole image.

    An image that fits into `window` (empty: 1024×1024 or 128×128×128) goes through the network in one piece; a larger
    one by windows of that size that `overlap` by a fraction, their logits blended with Gaussian weights. `batch`
    passes (or windows) go through together: 1 is best on a CPU, more fill a GPU.

    Raises:
        InvalidValue: when a field is out of range.
    """

    window: tuple[int, ...] = ()
    overlap: float = 0.5
    batch: int = 1

    def __post_init__(self) -> None:
        _require(
            len(self.window) in (0, 2, 3) and all(side >= 1 for side in self.window),
            f"inference: window needs 2 or 3 positive sides (or none), got {self.window}",
        )
        _require(0 <= self.overlap < 1, f"inference: overlap must be at least 0 and below 1, got {self.overlap}")
        _require(self.batch >= 1, f"inference: batch must be at least 1, got {self.batch}")
