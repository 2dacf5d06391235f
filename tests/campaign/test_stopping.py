"""Stop rules are pure functions of what the ledger holds."""

from __future__ import annotations

import pytest

from alframe.campaign import Budget, Plateau, Settings, Target
from alframe.campaign.stopping import Spent, stop_reason
from alframe.errors import InvalidValue
from alframe.strategies import Random
from alframe.types import Metric

SPENT = Spent(rounds=3, queries=40, pixels=900, seconds=12.0, training_pixels=3000)


def settings(**changes: object) -> Settings:
    return Settings(name="a", seed=1, batch=2, initial=2, initial_strategy=Random(), **changes)  # type: ignore[arg-type]


def curve(name: str, values: list[float], scope: str = "val") -> list[tuple[int, Metric]]:
    return [(t, Metric(name=name, value=value, convention="", scope=scope)) for t, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("budget", "rule"),
    [
        (Budget(rounds=3), "rounds 3 of 3"),
        (Budget(queries=40), "queries 40 of 40"),
        (Budget(pixels=900), "pixels 900 of 900"),
        (Budget(fraction=0.3), "fraction 0.3 of 0.3"),
        (Budget(seconds=10), "seconds 12 of 10"),
    ],
)
def test_each_limit_of_a_budget_ends_the_campaign(budget: Budget, rule: str) -> None:
    assert rule in stop_reason(settings(budget=budget), SPENT, [])


def test_a_budget_that_is_not_used_up_does_not() -> None:
    budget = Budget(rounds=4, queries=41, pixels=901, fraction=0.31, seconds=13)
    assert stop_reason(settings(budget=budget), SPENT, []) == ""


@pytest.mark.parametrize(
    ("metric", "value", "stops"), [("dice", 0.9, True), ("dice", 0.95, False), ("nll", 0.91, True)]
)
def test_a_target_is_reached_from_its_own_side(metric: str, value: float, stops: bool) -> None:
    reason = stop_reason(settings(target=Target(metric=metric, value=value)), SPENT, curve(metric, [0.5, 0.9]))
    assert reason.startswith("target:") == stops


def test_a_plateau_needs_all_its_rounds_without_a_gain() -> None:
    flat, rising = [0.5, 0.8, 0.8, 0.801, 0.8], [0.5, 0.8, 0.8, 0.801, 0.81]
    rule = settings(plateau=Plateau(metric="dice", rounds=3, min_delta=0.005))
    assert stop_reason(rule, SPENT, curve("dice", flat)).startswith("plateau:")
    assert stop_reason(rule, SPENT, curve("dice", rising)) == ""
    assert stop_reason(rule, SPENT, curve("dice", flat[:3])) == ""


def test_classes_items_and_other_scopes_are_not_the_metric() -> None:
    rows = [
        *curve("dice", [0.99], scope="test"),
        (1, Metric(name="dice", value=0.99, convention="", label="a", scope="val")),
    ]
    assert stop_reason(settings(target=Target(metric="dice", value=0.9)), SPENT, rows) == ""


@pytest.mark.parametrize("values", [{"rounds": 0}, {"fraction": 1.5}, {"pixels": -1}])
def test_a_budget_of_nothing_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(InvalidValue):
        Budget(**values)


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "a b"])
def test_a_campaign_name_is_safe_in_a_path(name: str) -> None:
    with pytest.raises(InvalidValue, match="campaign name"):
        Settings(name=name, seed=1, batch=1, initial=1, initial_strategy=Random())
