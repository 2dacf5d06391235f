"""Parameters: built from a configuration by pydantic, wrong ones refused with what was expected; no torch loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from alframe.config.mirror import adapter
from alframe.errors import InvalidValue
from alframe.learners import Augmentation, DcanResNet, DeepEnsemble, Inference, MCDropout, OwnNetwork, Training, UNet


def test_a_learner_is_built_from_a_mapping() -> None:
    text: dict[str, Any] = {
        "network": {"type": "unet", "features": [8, 16], "dropout_from": 1},
        "training": {"steps": 10, "patch": [32, 32], "augmentation": {"scale": [0.9, 1.1], "stain": 0.1}},
        "inference": {"window": [512, 512]},
        "passes": 12,
    }
    assert adapter(MCDropout).validate_json(json.dumps(text)) == MCDropout(
        network=UNet(features=(8, 16), dropout_from=1),
        training=Training(steps=10, patch=(32, 32), augmentation=Augmentation(scale=(0.9, 1.1), stain=0.1)),
        inference=Inference(window=(512, 512)),
        passes=12,
    )


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"type": "dcan_resnet", "depth": 50, "width": 0.5}, DcanResNet(depth=50, width=0.5)),
        ({"type": "mine.nets:build", "params": {"depth": 3}}, OwnNetwork(type="mine.nets:build", params={"depth": 3})),
    ],
)
def test_the_type_tells_networks_apart(network: dict[str, Any], expected: DcanResNet | OwnNetwork) -> None:
    assert adapter(DeepEnsemble).validate_json(json.dumps({"network": network})).network == expected


@pytest.mark.parametrize(
    ("network", "where", "what"),
    [
        ({"type": "unet", "features": [8, 16], "dropout": 1.5}, ("network", "UNet"), "below 1, got 1.5"),
        ({"type": "unet", "depth": 18}, ("network", "UNet", "depth"), "Extra inputs"),
        ({"type": "vnet"}, ("network",), "unknown type"),
        ({"type": "mine:not a name"}, ("network", "OwnNetwork"), "package.module:factory"),
        ({"type": "dcan_resnet", "depth": 19}, ("network", "DcanResNet", "depth"), "18, 34 or 50"),
    ],
)
def test_a_wrong_network_is_named_where_it_stands(network: dict[str, Any], where: tuple[str, ...], what: str) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter(MCDropout).validate_json(json.dumps({"network": network}))
    (error,) = caught.value.errors()
    assert error["loc"] == where
    assert what in error["msg"]


@pytest.mark.parametrize(
    ("kind", "fields", "match"),
    [
        (UNet, {"features": (8,)}, "2 to 7"),
        (UNet, {"features": (6, 16), "norm": "group"}, "divisible by 4"),
        (UNet, {"dropout_from": 5}, "0 to 4"),
        (DcanResNet, {"width": 0.3}, "multiple of 4"),
        (DcanResNet, {"dropout_from": 0}, "1 to 4"),
        (DcanResNet, {"weights": "encoder.safetensors"}, "weights_sha256"),
        (OwnNetwork, {"type": "unet"}, "package.module:factory"),
        (Augmentation, {"flip_axes": (0,)}, "flip_axes"),
        (Augmentation, {"rotation": 200}, "rotation"),
        (Augmentation, {"scale": (1.2, 0.8)}, "scale"),
        (Augmentation, {"affine_probability": 2}, "affine_probability"),
        (Augmentation, {"noise": -1}, "noise"),
        (Augmentation, {"contrast": 1}, "contrast"),
        (Augmentation, {"stain": 1}, "stain"),
        (Training, {"steps": 0}, "steps"),
        (Training, {"learning_rate": 0}, "learning_rate"),
        (Training, {"patience": -1}, "patience"),
        (Training, {"foreground": 1.5}, "foreground"),
        (Training, {"ema": 1}, "ema"),
        (Training, {"patch": (32,)}, "patch"),
        (Inference, {"overlap": 1}, "overlap"),
        (Inference, {"window": (0, 4)}, "window"),
        (Inference, {"batch": 0}, "batch"),
        (MCDropout, {"passes": 0}, "passes"),
        (MCDropout, {"network": UNet(dropout=0)}, "dropout above 0"),
        (DeepEnsemble, {"members": 0}, "members"),
    ],
)
def test_values_out_of_range_are_refused(kind: type, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        kind(**fields)


def test_an_ensemble_needs_no_dropout() -> None:
    assert DeepEnsemble(network=UNet(dropout=0)).members == 5


def test_parameters_load_no_torch() -> None:
    code = (
        "import sys; from alframe.learners import *; from alframe import learners;"
        "MCDropout(network=DcanResNet(), training=Training(patch=(64, 64)));"
        "assert not {'torch', 'monai', 'safetensors'} & set(sys.modules), 'heavy'"
    )
    subprocess.run(
        [sys.executable, "-c", code.replace("import *;", "import DcanResNet, MCDropout, Training;")], check=True
    )
