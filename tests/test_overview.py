"""Exit codes of every way a campaign can stand."""

from __future__ import annotations

import pytest

from alframe.campaign.settings import Budget, Settings
from alframe.campaign.stopping import Spent, stop_reason
from alframe.overview import exit_code
from alframe.strategies import Random


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("done", "target: val dice 0.91 reached 0.9", 0),
        ("done", "plateau: val dice gained less than 0.002 in 3 rounds", 0),
        ("done", "exhausted: nothing in the pool is left to query", 0),
        ("stopped", "stopped by hand", 0),
        ("waiting", "round 2: 20 queries wait for answers", 3),
        ("failed", "validation loss is nan", 1),
    ],
)
def test_codes(status: str, reason: str, code: int) -> None:
    assert exit_code(status, reason) == code


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        (Budget(rounds=2), 0),
        (Budget(queries=5), 4),
        (Budget(pixels=5), 4),
        (Budget(fraction=0.05), 4),
        (Budget(seconds=5.0), 4),
    ],
)
def test_only_the_planned_rounds_count_as_done(budget: Budget, code: int) -> None:
    """With the very sentences that the campaign's own rules write."""
    settings = Settings(name="a", seed=0, batch=1, initial=1, initial_strategy=Random(), budget=budget)
    spent = Spent(rounds=5, queries=5, pixels=5, seconds=5.0, training_pixels=100)
    assert exit_code("done", stop_reason(settings, spent, ())) == code
