"""Learners: networks, their training, and predictors that give moments. Importing this room loads no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from alframe.learners.dlema import DLema
from alframe.learners.edue import Edue
from alframe.learners.ensemble import DeepEnsemble
from alframe.learners.kendall_gal import Heteroscedastic
from alframe.learners.mc_dropout import MCDropout
from alframe.learners.networks import (
    DcanResNet,
    EdueUNet,
    HeteroscedasticUNet,
    LinkNet,
    Network,
    OwnNetwork,
    ProbUNet,
    UNet,
)
from alframe.learners.probabilistic_unet import ProbabilisticUNet
from alframe.learners.settings import Augmentation, Inference, Training
from alframe.learners.stochastic import StochasticEnsemble
from alframe.learners.test_time import TestTimeAugmentation

if TYPE_CHECKING:
    from alframe.learners.checkpoints import ModelCard, load_model, read_card
    from alframe.learners.export import to_onnx, to_torchscript

__all__ = [
    "Augmentation",
    "DLema",
    "DcanResNet",
    "DeepEnsemble",
    "Edue",
    "EdueUNet",
    "Heteroscedastic",
    "HeteroscedasticUNet",
    "Inference",
    "LinkNet",
    "MCDropout",
    "ModelCard",
    "Network",
    "OwnNetwork",
    "ProbUNet",
    "ProbabilisticUNet",
    "StochasticEnsemble",
    "TestTimeAugmentation",
    "Training",
    "UNet",
    "load_model",
    "read_card",
    "to_onnx",
    "to_torchscript",
]

_WITH_TORCH = {
    "ModelCard": "checkpoints",
    "load_model": "checkpoints",
    "read_card": "checkpoints",
    "to_onnx": "export",
    "to_torchscript": "export",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
