"""A training run that was cut off ends, when it goes on from its snapshot, with the bits of a run that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from alframe.errors import StoreUnavailable
from alframe.learners import DcanResNet, MCDropout, Training, UNet
from alframe.ports import FitTask
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.types import UNANNOTATED, Compute, LabelMap, Split

LEARNER = MCDropout(
    network=UNet(features=(8, 16), dropout_from=0),
    training=Training(steps=12, batch_size=2, patch=(24, 24), validate_every=3, warmup_steps=1),
    passes=2,
)


@dataclass(slots=True)
class Notebook:
    """A snapshot in memory that counts what is done with it."""

    data: bytes | None = None
    saved: list[bytes] = field(default_factory=list)

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data
        self.saved.append(data)

    def clear(self) -> None:
        self.data = None


class Full(Notebook):
    """A store that is full."""

    def save(self, data: bytes) -> None:
        raise StoreUnavailable("no space left on device")


class Stop(Exception):
    """The end of a process."""


def until(done: float, seen: list[float] | None = None) -> Callable[[float], None]:
    def progress(fraction: float) -> None:
        if seen is not None:
            seen.append(fraction)
        if fraction > done:
            raise Stop

    return progress


def watched(notebook: Notebook, **changes: object) -> FitTask:
    return replace(fit_task(blob_pool()), snapshot=notebook, snapshot_seconds=0.0, **changes)  # type: ignore[arg-type]


def interrupted(learner: MCDropout, **changes: object) -> Notebook:
    """What a run leaves that ends in its third part of four."""
    notebook = Notebook()
    with pytest.raises(Stop):
        learner.fit(watched(notebook, **changes), until(0.7))
    assert len(notebook.saved) == 2
    return notebook


def curve(history: object) -> list[tuple[float, float]]:
    return [(row["val_loss"], row["train_loss"]) for row in history]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "learner",
    [
        LEARNER,
        replace(LEARNER, training=replace(LEARNER.training, ema=0.8, optimiser="adam", schedule="one_cycle")),
        replace(LEARNER, training=replace(LEARNER.training, optimiser="sgd", learning_rate=0.05)),
        replace(LEARNER, network=DcanResNet(width=0.125, stem_stride=1, norm="batch")),
        replace(LEARNER, training=replace(LEARNER.training, learning_rate=2.0, schedule="constant", patience=2)),
    ],
    ids=["plain", "average", "momentum", "batch norm", "patience"],
)
def test_a_cut_off_run_ends_as_a_quiet_one(learner: MCDropout) -> None:
    quiet = learner.fit(fit_task(blob_pool()))
    notebook = interrupted(learner)
    seen: list[float] = []
    again = learner.fit(watched(notebook), seen.append)
    assert seen[0] > 0.5  # it did not begin again
    assert again.weights == quiet.weights
    assert again.validation_loss == quiet.validation_loss
    assert curve(again.history) == curve(quiet.history)
    seconds = [row["seconds"] for row in again.history]
    assert seconds == sorted(seconds)


def test_a_run_that_had_ended_is_not_repeated() -> None:
    notebook = Notebook()
    first = LEARNER.fit(watched(notebook))
    seen: list[float] = []
    again = LEARNER.fit(watched(notebook), seen.append)
    assert seen == [1.0]
    assert again.weights == first.weights


def test_a_warm_start_is_part_of_what_is_continued() -> None:
    first = LEARNER.fit(fit_task(blob_pool())).weights
    notebook = interrupted(LEARNER, initial=first)
    cold: list[float] = []
    LEARNER.fit(watched(Notebook(data=notebook.data)), cold.append)
    assert cold[0] < 0.1
    warm: list[float] = []
    LEARNER.fit(watched(notebook, initial=first), warm.append)
    assert warm[0] > 0.5


def _other_labels() -> MemoryLabels:
    maps = {info.id: blob_pool().truth(info.id) for info in blob_pool().items(Split.TRAIN)}
    classes = maps["blob0"].classes.copy()
    classes[0, 0] = UNANNOTATED
    return MemoryLabels(maps=maps | {"blob0": LabelMap(classes=classes, instances=maps["blob0"].instances)})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"member": 1},
        {"labels": _other_labels()},
        {"compute": Compute(precision="bf16")},
        {"validation": ("blob6",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_runs_snapshot_is_not_used(change: dict[str, object]) -> None:
    notebook = interrupted(LEARNER)
    seen: list[float] = []
    mixed = LEARNER.fit(watched(notebook, **change), seen.append)
    assert seen[0] < 0.1
    assert mixed.weights == LEARNER.fit(replace(fit_task(blob_pool()), **change)).weights  # type: ignore[arg-type]


def test_another_recipes_snapshot_is_not_used() -> None:
    other = replace(LEARNER, training=replace(LEARNER.training, learning_rate=2e-3))
    seen: list[float] = []
    other.fit(watched(interrupted(LEARNER)), seen.append)
    assert seen[0] < 0.1


def test_a_damaged_snapshot_is_not_used() -> None:
    """Wherever a bit is flipped, or the end is lost."""
    notebook = interrupted(LEARNER)
    assert notebook.data is not None
    rng = np.random.default_rng(0)
    broken = []
    for place in (3, 40, *rng.integers(0, len(notebook.data), 2)):
        flipped = bytearray(notebook.data)
        flipped[place] ^= 4
        broken.append(bytes(flipped))
    for data in (*broken, notebook.data[:-1], b"", b"x" * 31):
        seen: list[float] = []
        with pytest.raises(Stop):
            LEARNER.fit(watched(Notebook(data=data)), until(0.1, seen))
        assert seen[0] < 0.1


def test_a_full_store_does_not_stop_a_run() -> None:
    assert LEARNER.fit(watched(Full())).weights == LEARNER.fit(fit_task(blob_pool())).weights


def test_a_short_run_leaves_nothing() -> None:
    notebook = Notebook()
    LEARNER.fit(replace(fit_task(blob_pool()), snapshot=notebook))
    assert notebook.saved == []
