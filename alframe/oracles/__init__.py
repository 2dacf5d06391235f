"""Who answers queries: simulated raters, who read the truth that came with the data; people, here or through the programs they
use; or the caller by hand."""

from __future__ import annotations

from alframe.oracles.folder import Folder, FolderOracle
from alframe.oracles.human import Human, HumanOracle, Manual, ManualOracle
from alframe.oracles.simulated import RANDOM, Simulated, SimulatedOracle

__all__ = [
    "RANDOM",
    "Folder",
    "FolderOracle",
    "Human",
    "HumanOracle",
    "Manual",
    "ManualOracle",
    "Simulated",
    "SimulatedOracle",
]
