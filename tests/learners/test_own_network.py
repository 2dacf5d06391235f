"""The network of the cookbook page keeps the contract that the page tells people to run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch

from alframe import config
from alframe.learners import MCDropout, OwnNetwork
from alframe.learners.checkpoints import ModelCard, save_model
from alframe.testing.docs import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-network.md"


def page_module() -> ModuleType:
    module = ModuleType("my_nets")
    sys.modules["my_nets"] = module
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec", dont_inherit=True), module.__dict__)
    return module


MODULE = page_module()
TestDilated = MODULE.TestDilated


def test_the_page_configures_its_network() -> None:
    (lines,) = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    chosen = config.loads(
        f"name: a\nbatch: 2\nbudget: {{rounds: 1}}\nstrategy: {{type: random}}\noracle: {{type: simulated}}\n{lines}"
    ).learner
    assert isinstance(chosen.value, MCDropout)
    assert chosen.value.network == OwnNetwork(type="my_nets:dilated", params={"width": 24, "dropout": 0.2})


def test_the_page_loads_its_checkpoint() -> None:
    card = ModelCard(
        network=OwnNetwork(type="my_nets:dilated", params={"width": 24, "dropout": 0.2}),
        spatial_dims=3,
        channels=1,
        classes=("background", "object"),
        contour=False,
        normalise="range",
    )
    weights = save_model(card.build().state_dict(), card)
    module, told = MODULE.open_checkpoint(weights)
    assert told == card
    assert module(torch.zeros(1, 1, 5, 6, 7)).shape == (1, 2, 5, 6, 7)
