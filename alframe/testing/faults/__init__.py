"""Fault injection: a small real campaign, killed, starved, damaged and contested, and what must come of it.

``python -m benchmarks.faults`` runs all of it. A new fault is a :class:`Fault` added to one of the tuples that
:mod:`alframe.testing.faults.suite` joins.
"""

from alframe.testing.faults.lab import Lab
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.faults.mutants import MUTANTS, Mutant
from alframe.testing.faults.suite import FAULTS, Tally, catch_mutants, inject

__all__ = ["FAULTS", "MUTANTS", "Fault", "Lab", "Mutant", "Outcome", "Tally", "catch_mutants", "inject"]
