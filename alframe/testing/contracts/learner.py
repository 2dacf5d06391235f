"""What every :class:`alframe.ports.Learner` must do. Subclass and give :meth:`LearnerContract.make`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from alframe.composition import contour_target
from alframe.errors import InvalidValue
from alframe.ports import Checkpoint, FitTask, Learner, Pool, Prediction
from alframe.seeding import generator
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import UNANNOTATED, Box, Compute, LabelMap, Split

__all__ = ["COMPUTE", "LearnerContract", "MemoryLabels", "blob_pool", "fit_task"]

COMPUTE = Compute(device=os.environ.get("ALFRAME_TEST_DEVICE", "cpu"))
"""Where the learners under test compute: ``ALFRAME_TEST_DEVICE``, or the CPU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryLabels:
    """A :class:`~alframe.ports.Labels` of given label maps, and of each rater's where there are several."""

    maps: Mapping[str, LabelMap]
    raters: Mapping[str, Mapping[str, LabelMap]] = field(default_factory=dict)
    unusable: frozenset[str] = field(default_factory=frozenset)

    def items(self) -> tuple[str, ...]:
        """Items with at least one annotated pixel, sorted."""
        return tuple(name for name in sorted(self.maps) if self.maps[name].annotated.any() and not self.retired(name))

    def labels(self, item: str) -> LabelMap:
        """The label map."""
        return self.maps[item]

    def by_rater(self, item: str) -> Mapping[str, LabelMap]:
        """The raters' maps; one rater's where only the composed map was given."""
        return self.raters.get(item) or {"one": self.maps[item]}

    def contours(self, item: str) -> NDArray[np.uint8]:
        """The contour target (S)."""
        return contour_target(self.maps[item])

    def history(self, item: str) -> tuple[Box, ...]:
        """No box was queried."""
        return ()

    def retired(self, item: str) -> bool:
        """Whether the item is not to be used."""
        return item in self.unusable


def blob_pool(axes: int = 2, *, seed: int = 3, instances: bool = True, side: int = 32) -> MemoryPool:
    """Six training, two validation and two test items of bright balls on a dark, noisy ground; two channels, odd sizes."""
    items = []
    for number in range(10):
        rng = generator(seed, "blob", number)
        shape = tuple(int(n) for n in rng.integers(side - 5, side + 4, axes))
        objects = np.zeros(shape, np.int32)
        grid = np.indices(shape)
        for label in range(1, 4):
            centre = [rng.uniform(4, n - 4) for n in shape]
            distance = sum((line - c) ** 2 for line, c in zip(grid, centre, strict=True))
            objects[distance < (side / 6) ** 2] = label
        classes = (objects > 0).astype(np.uint8)
        values = 80 + 90 * classes + rng.normal(0, 15, (2, *shape))
        truth = LabelMap(classes=classes, instances=objects if instances else None)
        split = Split.TRAIN if number < 6 else Split.VALIDATION if number < 8 else Split.TEST
        items.append(pool_item(f"blob{number}", values.clip(0, 255).astype(np.uint8), {"one": truth}, split=split))
    return MemoryPool(items, classes=("background", "blob"))


def fit_task(pool: Pool, labels: MemoryLabels | None = None, *, seed: int = 5, initial: bytes | None = None) -> FitTask:
    """A task on the pool's training items, fully labelled unless `labels` says otherwise."""
    if labels is None:
        labels = MemoryLabels(maps={info.id: pool.truth(info.id) for info in pool.items(Split.TRAIN)})
    return FitTask(
        pool=pool,
        labels=labels,
        validation=tuple(info.id for info in pool.items(Split.VALIDATION)),
        member=0,
        restart=0,
        seed=seed,
        compute=COMPUTE,
        initial=initial,
    )


def _partly(labels: LabelMap, box: Box) -> LabelMap:
    """Only what lies in `box`."""
    classes = np.full(labels.shape, UNANNOTATED, np.uint8)
    classes[box.slices] = labels.classes[box.slices]
    return LabelMap(classes=classes, instances=labels.instances)


class LearnerContract:
    """Subclass, implement :meth:`make`, and pytest runs every promise over your learner. It should train for seconds."""

    axes = 2

    def make(self) -> Learner:
        """A learner with few steps and few passes."""
        raise NotImplementedError

    def pool(self) -> MemoryPool:
        """The tiny pool."""
        return blob_pool(self.axes)

    def predict(self, learner: Learner, checkpoint: Checkpoint, *, seed: int = 1, votes: bool = True) -> Prediction:
        """The prediction of one test item by `members` copies of a checkpoint."""
        predictor = learner.predictor([checkpoint.weights] * learner.members, COMPUTE)
        return predictor.predict(self.pool().image("blob8"), seed=seed, votes=votes, log=votes)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> Checkpoint:
        """One training run on all labels, shared by the tests of the class."""
        contract = cls()
        return contract.make().fit(fit_task(contract.pool()))

    def test_a_learner_travels(self) -> None:
        learner = self.make()
        assert pickle.loads(pickle.dumps(learner)) == learner  # noqa: S301 - our own bytes
        assert learner.members >= 1
        assert learner.restarts >= 1

    def test_fitting_twice_gives_the_same_bytes(self, fitted: Checkpoint) -> None:
        again = self.make().fit(fit_task(self.pool()))
        assert again.weights == fitted.weights
        assert again.validation_loss == fitted.validation_loss

    def test_another_seed_gives_other_weights(self, fitted: Checkpoint) -> None:
        assert self.make().fit(fit_task(self.pool(), seed=6)).weights != fitted.weights

    def test_it_learns_what_is_plain_to_see(self, fitted: Checkpoint) -> None:
        truth = self.pool().truth("blob8").classes
        guess = self.predict(self.make(), fitted).moments.probability.argmax(0)
        shared = 2 * np.count_nonzero((guess == 1) & (truth == 1))
        assert shared / (np.count_nonzero(guess == 1) + np.count_nonzero(truth == 1)) > 0.8

    def test_the_curve_of_training_is_told(self, fitted: Checkpoint) -> None:
        assert fitted.history
        assert all({"epoch", "train_loss", "val_loss", "seconds"} <= set(row) for row in fitted.history)
        assert fitted.validation_loss == min(row["val_loss"] for row in fitted.history)

    def test_progress_rises_to_one(self) -> None:
        seen: list[float] = []
        self.make().fit(fit_task(self.pool()), seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(1)

    def test_moments_are_valid(self, fitted: Checkpoint) -> None:
        moments = self.predict(self.make(), fitted).moments
        shape = self.pool().info("blob8").shape
        assert moments.votes is not None
        assert moments.log_probability is not None
        assert moments.probability.shape == moments.votes.shape == moments.log_probability.shape == (2, *shape)
        assert moments.entropy.shape == shape
        np.testing.assert_allclose(moments.probability.sum(0), moments.count, rtol=1e-5)
        np.testing.assert_array_equal(moments.votes.sum(0), moments.count)
        np.testing.assert_allclose(np.exp(moments.log_probability), moments.probability, rtol=1e-4, atol=1e-12)
        assert moments.entropy.min() >= 0
        assert moments.entropy.max() <= moments.count * np.log(2) * (1 + 1e-5)

    def test_votes_and_logs_come_only_when_asked_for(self, fitted: Checkpoint) -> None:
        moments = self.predict(self.make(), fitted, votes=False).moments
        assert moments.votes is None
        assert moments.log_probability is None

    def test_the_spread_comes_only_when_asked_for_and_is_one(self, fitted: Checkpoint) -> None:
        learner = self.make()
        predictor = learner.predictor([fitted.weights] * learner.members, COMPUTE)
        image = self.pool().image("blob8")
        plain, moments = (predictor.predict(image, seed=1, spread=wanted).moments for wanted in (False, True))
        assert plain.squares is None
        assert plain.noise is None
        assert plain.disagreement is None
        assert moments.squares is not None
        assert moments.noise is not None
        np.testing.assert_array_equal(moments.probability, plain.probability)
        assert moments.squares.shape == moments.noise.shape == moments.probability.shape
        lowest = np.asarray(moments.probability, np.float64) ** 2 / moments.count  # Cauchy and Schwarz
        assert (moments.squares >= lowest - 1e-6).all()
        assert (moments.squares <= moments.probability + 1e-6).all()
        assert (moments.noise >= 0).all()
        if moments.disagreement is not None:
            assert moments.disagreement.shape == image.shape[1:]
            assert moments.disagreement.min() >= 0
            assert moments.disagreement.max() <= moments.count * (1 + 1e-6)

    def test_samples_are_probabilities_and_depend_on_the_seed_alone(self, fitted: Checkpoint) -> None:
        learner = self.make()
        predictor = learner.predictor([fitted.weights] * learner.members, COMPUTE)
        image = self.pool().image("blob8")
        drawn = predictor.samples(image, count=3, seed=1)
        assert drawn.dtype == np.float32
        assert 1 <= len(drawn) <= 3
        assert drawn.shape[1:] == (2, *image.shape[1:])
        np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(predictor.samples(image, count=3, seed=1), drawn)
        with pytest.raises(InvalidValue, match="sample"):
            predictor.samples(image, count=0, seed=1)

    def test_prediction_depends_on_the_seed_alone(self, fitted: Checkpoint) -> None:
        learner = self.make()
        predictor = learner.predictor([fitted.weights] * learner.members, COMPUTE)
        image = self.pool().image("blob8")
        first = predictor.predict(image, seed=1).moments
        predictor.predict(self.pool().image("blob9"), seed=2)
        np.testing.assert_array_equal(predictor.predict(image, seed=1).moments.probability, first.probability)
        np.testing.assert_array_equal(self.predict(learner, fitted).moments.probability, first.probability)

    def test_a_global_generator_changes_nothing_and_is_not_changed(self, fitted: Checkpoint) -> None:
        np.random.seed(99)  # noqa: NPY002
        assert self.make().fit(fit_task(self.pool())).weights == fitted.weights
        drawn = np.random.randint(1 << 30)  # noqa: NPY002
        np.random.seed(99)  # noqa: NPY002
        assert drawn == np.random.randint(1 << 30)  # noqa: NPY002

    def test_labels_outside_a_region_have_no_influence(self) -> None:
        """A rater's box is all that is known: what truth says elsewhere must not matter, and 255 gives no NaN."""
        pool = self.pool()
        box = Box(start=(4,) * self.axes, stop=(14,) * self.axes)
        maps = {info.id: _partly(pool.truth(info.id), box) for info in pool.items(Split.TRAIN)}
        checkpoint = self.make().fit(fit_task(pool, MemoryLabels(maps=maps)))
        assert np.isfinite([row["train_loss"] for row in checkpoint.history]).all()

    def test_one_annotated_pixel_is_enough(self) -> None:
        pool = self.pool()
        box = Box(start=(9,) * self.axes, stop=(10,) * self.axes)
        labels = MemoryLabels(maps={"blob0": _partly(pool.truth("blob0"), box)})
        checkpoint = self.make().fit(fit_task(pool, labels))
        assert np.isfinite(self.predict(self.make(), checkpoint).moments.probability).all()

    def test_nothing_annotated_is_refused(self) -> None:
        pool = self.pool()
        labels = MemoryLabels(maps={"blob0": LabelMap.blank(pool.info("blob0").shape)})
        with pytest.raises(InvalidValue, match="annotated"):
            self.make().fit(fit_task(pool, labels))

    def test_a_warm_start_goes_on_from_the_weights(self, fitted: Checkpoint) -> None:
        warm = self.make().fit(fit_task(self.pool(), initial=fitted.weights))
        assert warm.history[0]["train_loss"] < fitted.history[0]["train_loss"]

    def test_too_few_checkpoints_are_refused(self) -> None:
        with pytest.raises(InvalidValue, match="checkpoint"):
            self.make().predictor([], COMPUTE)
