"""Every strategy keeps the contract, on images and on volumes, and can be built from plain configuration values."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from alframe.errors import InvalidValue
from alframe.ports import Strategy
from alframe.strategies import ClassBalanced, Random, RandomForeground, Ripu, Selector, Uncertainty
from alframe.strategies.measures import MEASURES
from alframe.testing.contracts.strategy import StrategyContract, sample_views

SELECTORS = [
    Selector(),
    Selector(type="power", beta=2.0),
    Selector(type="softrank"),
    Selector(type="stochastic_batch", groups=5),
]
STRATEGIES: list[Strategy] = [
    *(Uncertainty(measure=measure) for measure in MEASURES),
    *(Uncertainty(measure=measure, window=5, stride=2) for measure in MEASURES),
    Uncertainty(aggregate="sum"),
    Uncertainty(aggregate="max_region", region=4),
    Uncertainty(aggregate="top_quantile_mean", quantile=0.8),
    Uncertainty(aggregate="boundary_mean"),
    Uncertainty(window=5, stride=1, max_overlap=0.4, candidates_per_item=2),
    *(Uncertainty(measure="entropy", window=4, selector=selector) for selector in SELECTORS),
    *(Uncertainty(measure="entropy", selector=selector) for selector in SELECTORS),
    Random(),
    Random(window=4, stride=1),
    RandomForeground(window=5, stride=1),
    ClassBalanced(window=5, stride=1),
    Ripu(window=5, stride=1),
    Ripu(window=4, selector=Selector(type="power")),
]


class Contract(StrategyContract):
    @pytest.fixture(autouse=True, params=STRATEGIES, ids=str)
    def _strategy(self, request: pytest.FixtureRequest) -> None:
        self.strategy = request.param

    def make(self) -> Strategy:
        return dataclasses.replace(self.strategy)


class TestImages(Contract):
    axes = 2


class TestVolumes(Contract):
    axes = 3


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_a_strategy_is_its_fields(strategy: Any) -> None:
    plain = dataclasses.asdict(strategy)
    adapter = TypeAdapter(type(strategy))
    assert adapter.validate_python(plain) == strategy
    assert adapter.validate_json(adapter.dump_json(strategy)) == strategy


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Uncertainty, {"measure": "guess"}),
        (Uncertainty, {"window": 0}),
        (Uncertainty, {"window": ()}),
        (Uncertainty, {"window": (4, -1)}),
        (Uncertainty, {"stride": 2}),
        (Uncertainty, {"window": 4, "stride": 0}),
        (Uncertainty, {"max_overlap": 0.2}),
        (Uncertainty, {"window": 4, "max_overlap": 1.0}),
        (Uncertainty, {"window": 4, "max_overlap": -0.1}),
        (Uncertainty, {"window": 4, "max_overlap": float("nan")}),
        (Uncertainty, {"candidates_per_item": 3}),
        (Uncertainty, {"window": 4, "candidates_per_item": 0}),
        (Uncertainty, {"window": 4, "aggregate": "sum"}),
        (Uncertainty, {"aggregate": "median"}),
        (Uncertainty, {"aggregate": "max_region"}),
        (Uncertainty, {"region": 4}),
        (Uncertainty, {"quantile": 0.5}),
        (Uncertainty, {"aggregate": "top_quantile_mean", "quantile": 1.0}),
        (Uncertainty, {"aggregate": "max_region", "region": 0}),
        (Random, {"stride": 3}),
        (Random, {"window": 3, "max_overlap": 2.0}),
        (RandomForeground, {"window": 0}),
        (ClassBalanced, {"window": 4, "share": 1.1}),
        (ClassBalanced, {"window": 4, "beta": 0.0}),
        (Ripu, {"window": 4, "candidates_per_item": -1}),
        (Selector, {"type": "best"}),
        (Selector, {"beta": 1.0}),
        (Selector, {"type": "power", "beta": float("inf")}),
        (Selector, {"type": "power", "groups": 3}),
        (Selector, {"type": "stochastic_batch", "groups": 0}),
    ],
    ids=str,
)
def test_impossible_parameters_are_refused_at_birth(kind: type, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        kind(**fields)
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(fields)


def test_a_window_for_other_axes_is_refused_with_the_items_name() -> None:
    view = sample_views(2)[0]
    with pytest.raises(InvalidValue, match=f"{view.info.id}.*3 numbers.*2 spatial axes"):
        Uncertainty(window=(4, 4, 4)).candidates(view, count=1, seed=0)


def test_moments_of_another_shape_are_refused() -> None:
    first, second = sample_views(2)[:2]
    with pytest.raises(InvalidValue, match=first.info.id):
        Uncertainty().candidates(dataclasses.replace(first, moments=second.moments), count=1, seed=0)


def test_more_classes_than_strata_are_refused() -> None:
    view = sample_views(2)[0]
    assert view.moments is not None
    shape = (200, *view.info.shape)
    many = dataclasses.replace(view.moments, probability=np.full(shape, view.moments.count / 200), votes=None)
    with pytest.raises(InvalidValue, match="127"):
        ClassBalanced(window=4).candidates(dataclasses.replace(view, moments=many), count=1, seed=0)
