"""Targets for fuzzers: what reads bytes of strangers, with valid files to begin from."""

from alframe.testing.fuzzing.loop import Finding, fuzz
from alframe.testing.fuzzing.targets import TARGETS, TOGETHER, Target

__all__ = ["TARGETS", "TOGETHER", "Finding", "Target", "fuzz"]
