"""ClaSP PE and RIPU against their definitions written out for each window."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from alframe.ports import ItemView, Moments
from alframe.strategies import ClassBalanced, Ripu, Uncertainty
from alframe.strategies.windows import window_grid
from alframe.testing.contracts.strategy import sample_views
from alframe.types import Candidates, ItemInfo, Split


def view_of(p_CS: np.ndarray, name: str = "a") -> ItemView:
    shape = p_CS.shape[1:]
    info = ItemInfo(id=name, shape=shape, channels=1, dtype="uint8", split=Split.TRAIN, group=name)
    moments = Moments(count=1, probability=p_CS, entropy=scipy_entropy(p_CS, axis=0))
    return ItemView(info=info, annotated=np.zeros(shape, bool), history=(), moments=moments)


def random_view(seed: int, shape: tuple[int, ...], classes: int = 4) -> ItemView:
    p = np.random.default_rng(seed).dirichlet([0.4] * classes, size=shape)
    return view_of(np.moveaxis(p, -1, 0), name=f"i{seed}")


def mean_probability(view: ItemView) -> np.ndarray:
    assert view.moments is not None
    return view.moments.probability / view.moments.count


@pytest.mark.parametrize("axes", [2, 3])
def test_class_scores_follow_their_definition(axes: int) -> None:
    for view in sample_views(axes)[:5]:
        p = mean_probability(view)
        h = scipy_entropy(p, axis=0)
        table = ClassBalanced(window=4, stride=1).candidates(view, count=50, seed=0)
        for row in range(len(table)):
            box, stratum = table.box(row), int(table.stratum[row])
            values = h if stratum == 0 else h * p[stratum]
            values = np.where(view.annotated, 0, values)
            assert table.score[row] == pytest.approx(values[box.slices].mean() * box.size, abs=1e-10)


def test_a_class_that_is_not_predicted_has_no_share() -> None:
    p = np.zeros((4, 20, 20))
    p[0], p[1], p[2], p[3] = 0.5, 0.1, 0.2, 0.2
    p[:, :, 10:] = np.array([0.1, 0.1, 0.2, 0.6])[:, None, None]
    table = ClassBalanced(window=4, stride=2).candidates(view_of(p), count=5, seed=0)
    assert set(table.stratum.tolist()) == {0, 3}
    annotated = np.zeros((20, 20), bool)
    annotated[:, 10:] = True
    seen = dataclasses.replace(view_of(p), annotated=annotated)
    assert set(ClassBalanced(window=4, stride=2).candidates(seen, count=5, seed=0).stratum.tolist()) == {0}


def test_the_budget_is_two_thirds_for_classes_evenly_and_the_rest_for_entropy() -> None:
    views = [random_view(seed, (40, 40)) for seed in range(4)]
    strategy = ClassBalanced(window=5, stride=1)
    for seed in range(5):
        table = Candidates.concatenate([strategy.candidates(view, count=20, seed=0) for view in views])
        kinds = np.bincount(strategy.select(table, count=20, seed=seed).stratum, minlength=4)
        assert kinds[0] == 7
        assert sorted(kinds[1:].tolist()) == [4, 4, 5]


def test_without_foreground_all_goes_to_entropy() -> None:
    p = np.stack([np.full((20, 20), 0.8), np.full((20, 20), 0.2)])
    p[:, :4, :4] = 0.5
    strategy = ClassBalanced(window=4, stride=4)
    table = strategy.candidates(view_of(p), count=5, seed=0)
    batch = strategy.select(table, count=5, seed=0)
    assert batch.stratum.tolist() == [0] * 5


def test_without_share_and_noise_it_is_entropy_sampling() -> None:
    views = [random_view(seed, (24, 30)) for seed in range(3)]
    plain = Uncertainty(measure="entropy", window=5, stride=1)
    balanced = ClassBalanced(window=5, stride=1, share=0.0, beta=1e9)
    batches = []
    for strategy in (plain, balanced):
        table = Candidates.concatenate([strategy.candidates(view, count=8, seed=0) for view in views])
        batches.append(strategy.select(table, count=8, seed=0))
    assert batches[0].item.tolist() == batches[1].item.tolist()
    assert batches[0].start.tolist() == batches[1].start.tolist()


def test_small_beta_explores() -> None:
    views = [random_view(seed, (40, 40)) for seed in range(3)]
    spread = {}
    for beta in (0.5, 1e9):
        strategy = ClassBalanced(window=5, stride=1, beta=beta)
        table = Candidates.concatenate([strategy.candidates(view, count=9, seed=0) for view in views])
        batches = [strategy.select(table, count=9, seed=seed) for seed in range(20)]
        spread[beta] = len({(str(i), *s) for b in batches for i, s in zip(b.item, b.start.tolist(), strict=True)})
    assert spread[1e9] < spread[0.5] / 2


@pytest.mark.parametrize("axes", [2, 3])
def test_ripu_follows_its_definition(axes: int) -> None:
    for view in sample_views(axes)[:5]:
        p = mean_probability(view)
        h, winners = scipy_entropy(p, axis=0), p.argmax(axis=0)
        table = Ripu(window=4, stride=1, max_overlap=0.7).candidates(view, count=500, seed=0)
        assert len(table) > 10
        for row in range(len(table)):
            box = table.box(row)
            free = ~view.annotated[box.slices]
            histogram = np.bincount(winners[box.slices][free], minlength=len(p))
            uncertainty = (h[box.slices] * free).mean() / math.log(len(p))
            impurity = scipy_entropy(histogram) / math.log(len(p))
            assert table.score[row] == pytest.approx(uncertainty * impurity, abs=1e-10)


def test_ripu_is_one_where_everything_is_mixed_and_zero_where_nothing_is() -> None:
    p = np.full((2, 8, 8), 0.5)
    p[0, :, ::2] += 1e-9
    p[1, :, ::2] -= 1e-9
    p[1, :, 1::2] += 1e-9
    p[0, :, 1::2] -= 1e-9
    best = Ripu(window=4, stride=4).candidates(view_of(p), count=1, seed=0)
    assert best.score[0] == pytest.approx(1.0, abs=1e-9)
    pure = np.stack([np.full((8, 8), 0.6), np.full((8, 8), 0.4)])
    assert Ripu(window=4, stride=4).candidates(view_of(pure), count=1, seed=0).score[0] == 0.0


def test_regions_lie_on_the_grid() -> None:
    view = random_view(1, (23, 31))
    grid = window_grid((23, 31), 6, 4)
    for strategy in (Ripu(window=6, stride=4), ClassBalanced(window=6, stride=4)):
        starts = strategy.candidates(view, count=9, seed=0).start
        assert all(np.isin(starts[:, axis], grid.starts[axis]).all() for axis in range(2))
