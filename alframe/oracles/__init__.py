"""Who answers queries. Today: simulated raters, who read the truth that came with the data."""

from __future__ import annotations

from alframe.oracles.simulated import RANDOM, Simulated, SimulatedOracle

__all__ = ["RANDOM", "Simulated", "SimulatedOracle"]
