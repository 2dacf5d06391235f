"""Views are undone exactly; a predictor that moves with the image is not changed by them; others are averaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alframe.config.mirror import adapter, resolved
from alframe.errors import InvalidValue
from alframe.learners import DeepEnsemble, TestTimeAugmentation
from alframe.learners.test_time import View, ViewsPredictor
from alframe.ports import Prediction
from alframe.strategies import moments as moment

INNER = DeepEnsemble(members=2)


class Pixelwise:
    """An equivariant predictor: what it says of a pixel depends on that pixel alone, unless `tilt` adds its place."""

    def __init__(self, tilt: float = 0.0) -> None:
        self.tilt = tilt
        self.asked: list[tuple[float, ...]] = []
        self.seeds: list[int] = []

    def predict(
        self,
        image: NDArray[Any],
        *,
        spacing: Sequence[float] = (),
        seed: int,
        votes: bool = False,
        log: bool = False,
        spread: bool = False,
    ) -> Prediction:
        """Two members."""
        self.asked.append(tuple(spacing))
        self.seeds.append(seed)
        total = moment.empty(2, image.shape[1:], votes=votes, log=log, spread=spread)
        for odds in self.odds(image):
            total = moment.add(total, np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)]))
        return Prediction(moments=total, contour=(image[0] / 300).astype(np.float32))

    def odds(self, image: NDArray[Any]) -> list[NDArray[np.float64]]:
        """The log odds of each member."""
        place = self.tilt * np.arange(image.shape[-1])
        return [image[0] / 50.0 - 2 + place, 1 - image[0] / 80.0]

    def samples(
        self, image: NDArray[Any], *, count: int, seed: int, spacing: Sequence[float] = ()
    ) -> NDArray[np.float32]:
        """Each member once."""
        p = np.stack([1 / (1 + np.exp(-odds)) for odds in self.odds(image)])[:count]
        return np.stack([1 - p, p], axis=1).astype(np.float32)


shapes = st.lists(st.integers(2, 7), min_size=2, max_size=3)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, flips=st.sets(st.sampled_from([-1, -2, -3])), turns=st.integers(0, 3))
def test_a_view_is_undone_exactly(shape: list[int], flips: set[int], turns: int) -> None:
    array = np.random.default_rng(1).random((2, *shape))
    view = View(flips=tuple(axis for axis in flips if -axis <= len(shape)), turns=turns)
    np.testing.assert_array_equal(view.undo(view.apply(array)), array)
    np.testing.assert_array_equal(view.apply(view.undo(array)), array)


@settings(max_examples=25, deadline=None)
@given(shape=shapes, axes=st.sets(st.sampled_from([-1, -2, -3])), turns=st.booleans())
def test_an_equivariant_predictor_gives_the_same_result(shape: list[int], axes: set[int], turns: bool) -> None:
    image = np.random.default_rng(2).integers(0, 256, (1, *shape)).astype(np.uint8)
    learner = TestTimeAugmentation(learner=INNER, flip_axes=tuple(axes), quarter_turns=turns)
    views = len(learner.views(len(shape)))
    bare = Pixelwise().predict(image, seed=1, votes=True, log=True, spread=True)
    seen = ViewsPredictor(Pixelwise(), learner).predict(image, seed=1, votes=True, log=True, spread=True)
    assert seen.moments.count == views * 2
    for name in ("probability", "entropy", "votes", "squares", "noise"):
        found, expected = getattr(seen.moments, name), getattr(bare.moments, name)
        np.testing.assert_allclose(found / views, expected, rtol=1e-14, atol=0)
    np.testing.assert_allclose(moment.log_mean(seen.moments), moment.log_mean(bare.moments), atol=1e-12)
    assert seen.contour is not None
    assert bare.contour is not None
    np.testing.assert_array_equal(seen.contour, bare.contour)


def test_the_views_are_all_different_ones() -> None:
    made = {
        (axes, turns, len(flips)): len(
            TestTimeAugmentation(learner=INNER, flip_axes=flips, quarter_turns=turns).views(axes)
        )
        for axes in (2, 3)
        for turns in (False, True)
        for flips in ((), (-1,), (-1, -2), (-1, -2, -3))
    }
    # a square has 8 symmetries, a square prism 16
    assert [made[2, False, n] for n in range(4)] == [1, 2, 4, 4]
    assert [made[2, True, n] for n in range(4)] == [4, 8, 8, 8]
    assert [made[3, False, n] for n in range(4)] == [1, 2, 4, 8]
    assert [made[3, True, n] for n in range(4)] == [4, 8, 8, 16]


def test_what_depends_on_the_place_is_averaged() -> None:
    image = np.full((1, 4, 6), 100, np.uint8)
    learner = TestTimeAugmentation(learner=INNER, flip_axes=(-1,))
    tilted = Pixelwise(tilt=0.7)
    seen = ViewsPredictor(tilted, learner).predict(image, seed=1).moments
    one = tilted.predict(image, seed=1).moments.probability
    np.testing.assert_allclose(seen.probability, one + one[..., ::-1])
    assert seen.count == 4


def test_turned_axes_keep_their_spacing_and_views_have_their_own_seed() -> None:
    learner = TestTimeAugmentation(learner=INNER, quarter_turns=True)
    inner = Pixelwise()
    image = np.zeros((1, 3, 4, 5), np.uint8)
    ViewsPredictor(inner, learner).predict(image, seed=1, spacing=(3.0, 2.0, 1.0))
    assert inner.asked == [(3.0, 1.0, 2.0) if view.turns % 2 else (3.0, 2.0, 1.0) for view in learner.views(3)]
    assert len(set(inner.seeds)) == 8


def test_samples_are_shared_out_among_the_views() -> None:
    image = np.random.default_rng(3).integers(0, 256, (1, 4, 6)).astype(np.uint8)
    learner = TestTimeAugmentation(learner=INNER)
    both = Pixelwise().samples(image, count=2, seed=0)
    drawn = ViewsPredictor(Pixelwise(), learner).samples(image, count=6, seed=0)
    np.testing.assert_array_equal(drawn, np.concatenate([both, both, both[:1], both[:1]]))
    assert len(ViewsPredictor(Pixelwise(), learner).samples(image, count=2, seed=0)) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_noise_keeps_the_type_and_has_the_size_asked_for(dtype: type) -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(120, 30, (2, 60, 60)).clip(0, 255).astype(dtype)
    image[1] //= 2
    learner = TestTimeAugmentation(learner=INNER, flip_axes=(), noise=0.5, copies=3)
    seen = [shown for _, shown, _ in ViewsPredictor(Pixelwise(), learner)._views(image, 7)]
    assert len(seen) == 3
    assert all(shown.dtype == dtype for shown in seen)
    assert not np.array_equal(seen[0], seen[1])
    for channel in range(2):
        change = seen[0][channel].astype(float) - image[channel]
        assert change.std() == pytest.approx(0.5 * image[channel].std(), rel=0.05)


def test_a_learner_inside_a_learner_comes_from_yaml_and_goes_back() -> None:
    given = {"type": "tta", "learner": {"type": "deep_ensemble", "members": 3}, "noise": 0.1}
    learner = adapter(TestTimeAugmentation, "tta").validate_json(json.dumps(given))
    assert learner == TestTimeAugmentation(learner=DeepEnsemble(members=3), noise=0.1)
    spelled = resolved(learner)
    assert spelled["learner"]["type"] == "deep_ensemble"
    assert adapter(TestTimeAugmentation, "tta").validate_json(json.dumps({"type": "tta", **spelled})) == learner


def test_what_makes_no_sense_is_refused() -> None:
    for field, value in {"flip_axes": (-4,), "noise": -1.0, "copies": 2}.items():
        with pytest.raises(InvalidValue, match=field):
            TestTimeAugmentation(learner=INNER, **{field: value})
    with pytest.raises(InvalidValue, match="flip_axes"):
        TestTimeAugmentation(learner=INNER, flip_axes=(-1, -1))
