"""Who answers queries: simulated raters, who read the truth that came with the data; people; or the caller by hand."""

from __future__ import annotations

from alframe.oracles.human import Human, HumanOracle, Manual, ManualOracle
from alframe.oracles.simulated import RANDOM, Simulated, SimulatedOracle

__all__ = ["RANDOM", "Human", "HumanOracle", "Manual", "ManualOracle", "Simulated", "SimulatedOracle"]
