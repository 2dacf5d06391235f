from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

VALID = """\
name: glands
seed: 3
learner:
  type: mc_dropout
  passes: 4
  network: {type: unet, features: [8, 16], dropout_from: 1}
strategy:
  type: uncertainty
  measure: bald
  window: [75, 75]
  selector: {type: power, beta: 2.0}
initial:
  queries: 3
batch: 20
oracle: {type: simulated}
budget: {rounds: 6}
stop:
  plateau: {metric: dice}
ray: {workers: 2}
runtime: {threads: 1}
"""


@pytest.fixture
def valid() -> str:
    """A configuration without fault."""
    return VALID


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a text as campaign.yaml and return its path."""

    def to_file(text: str) -> Path:
        path = tmp_path / "campaign.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def plain() -> dict[str, Any]:
    """The values of :data:`VALID`, as an outside parser reads them."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(VALID)
    return content
