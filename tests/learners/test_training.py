"""Training: the same in another process, schedules and averages in closed form, early stopping, errors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners import Augmentation, DcanResNet, MCDropout, ModelCard, Training, UNet, read_card
from alframe.learners.checkpoints import load_model
from alframe.learners.optimisation import MovingAverage, learning_rate_factor, make_optimiser
from alframe.testing.contracts.learner import MemoryLabels, blob_pool, fit_task
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import UNANNOTATED, Compute, LabelMap, Split

NETWORK = UNet(features=(8, 16), dropout_from=0)
TRAINING = Training(steps=12, batch_size=2, patch=(24, 24), validate_every=4, warmup_steps=1)


def learner(**changes: object) -> MCDropout:
    return MCDropout(network=NETWORK, training=replace(TRAINING, **changes), passes=2)  # type: ignore[arg-type]


PROGRAM = """
import hashlib, sys
from alframe.learners import MCDropout, Training, UNet
from alframe.testing.contracts.learner import blob_pool, fit_task
from alframe.types import Compute
from dataclasses import replace
learner = MCDropout(
    network=UNet(features=(8, 16), dropout_from=0),
    training=Training(steps=12, batch_size=2, patch=(24, 24), validate_every=4, warmup_steps=1),
    passes=2,
)
task = replace(fit_task(blob_pool()), compute=Compute(threads=int(sys.argv[1])))
checkpoint = learner.fit(task)
moments = learner.predictor([checkpoint.weights], task.compute).predict(blob_pool().image("blob9"), seed=4).moments
sys.stdout.write(hashlib.sha256(checkpoint.weights + moments.probability.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_another_process_trains_and_predicts_the_same_bits(threads: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)], check=True, capture_output=True, text=True, timeout=300
    )
    task = replace(fit_task(blob_pool()), compute=Compute(threads=threads))
    torch.manual_seed(12345)  # whatever a caller did before
    torch.set_num_threads(3 - threads)
    checkpoint = learner().fit(task)
    predictor = learner().predictor([checkpoint.weights], task.compute)
    p = predictor.predict(blob_pool().image("blob9"), seed=4).moments.probability
    torch.set_num_threads(1)
    assert hashlib.sha256(checkpoint.weights + p.tobytes()).hexdigest() == run.stdout


def test_training_leaves_torchs_generator_as_it_was() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    learner().fit(fit_task(blob_pool()))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_measured_weights_are_kept() -> None:
    """With a rate that wrecks the network at the end, the kept weights are the earlier ones."""
    checkpoint = learner(steps=10, learning_rate=2.0, schedule="constant", clip_norm=0.0, validate_every=2).fit(
        fit_task(blob_pool())
    )
    losses = [row["val_loss"] for row in checkpoint.history]
    assert losses[-1] > min(losses)
    module, card = load_model(checkpoint.weights)
    from alframe.learners.application import Applier
    from alframe.learners.losses import masked_cross_entropy
    from alframe.learners.settings import Inference

    pool, total, count = blob_pool(), 0.0, 0
    with torch.inference_mode():
        for info in pool.items(Split.VALIDATION):
            (logits,) = Applier(module, card, Inference(), Compute()).logits(pool.image(info.id))
            target = torch.from_numpy(pool.truth(info.id).classes).long()[None]
            total += float(masked_cross_entropy(logits[None, :2], target)) * target.numel()
            count += target.numel()
    assert total / count == pytest.approx(min(losses), rel=1e-5)


def test_training_ends_after_patience_without_progress() -> None:
    wild = learner(steps=40, learning_rate=2.0, schedule="constant", clip_norm=0.0, validate_every=2, patience=2)
    history = wild.fit(fit_task(blob_pool())).history
    losses = [row["val_loss"] for row in history]
    assert len(history) < 20
    assert min(losses) == losses[-3]
    assert history[-1]["step"] == 2 * len(history)


def test_without_validation_items_the_last_weights_count() -> None:
    task = replace(fit_task(blob_pool()), validation=())
    checkpoint = learner().fit(task)
    assert checkpoint.validation_loss == checkpoint.history[-1]["train_loss"]


def test_unannotated_validation_pixels_do_not_count() -> None:
    base = blob_pool()
    items = []
    for info in base.items():
        truth = base.truth(info.id)
        if info.split is Split.VALIDATION:
            classes = truth.classes.copy()
            classes[: classes.shape[0] // 2] = UNANNOTATED
            truth = LabelMap(classes=classes, instances=truth.instances)
        items.append(pool_item(info.id, base.image(info.id), {"one": truth}, split=info.split))
    half = learner(steps=1).fit(fit_task(MemoryPool(items, classes=base.classes)))
    whole = learner(steps=1).fit(fit_task(base))
    assert half.weights == whole.weights
    assert half.validation_loss != whole.validation_loss


def test_the_contour_head_is_there_when_objects_are() -> None:
    for instances, weight, expected in ((True, 1.0, True), (False, 1.0, False), (True, 0.0, False)):
        pool = blob_pool(instances=instances)
        card = read_card(learner(steps=1, contour_weight=weight).fit(fit_task(pool)).weights)
        assert card.contour is expected
        assert card.out_channels == (4 if expected else 2)


def test_a_changed_network_refuses_a_warm_start() -> None:
    weights = learner(steps=1).fit(fit_task(blob_pool())).weights
    other = MCDropout(network=UNet(features=(8, 8), dropout_from=0), training=TRAINING)
    with pytest.raises(InvalidValue, match="warm start"):
        other.fit(fit_task(blob_pool(), initial=weights))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_training() -> None:
    with pytest.raises(NonFiniteError, match=r"training loss became (nan|inf)"):
        learner(learning_rate=1e30, clip_norm=0.0, schedule="constant").fit(fit_task(blob_pool()))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"patch": (24, 25)}, r"divisible by 2 .*\(24, 26\)"),
        ({"patch": (24, 24, 24)}, "2 sides"),
        ({"augmentation": Augmentation(stain=0.1)}, "stain needs RGB"),
    ],
)
def test_training_that_does_not_fit_the_pool_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        learner(**changes).fit(fit_task(blob_pool()))


def test_a_mixed_pool_is_refused() -> None:
    items = [pool_item("a", np.zeros((1, 9, 9), np.uint8)), pool_item("b", np.zeros((3, 9, 9), np.uint8))]
    pool = MemoryPool(items, classes=("background", "object"))
    with pytest.raises(InvalidValue, match=r"\[\(1, 2\), \(3, 2\)\]"):
        learner().fit(fit_task(pool, MemoryLabels(maps={})))


def test_the_default_patch_holds_small_items() -> None:
    """Items of at most 35 pixels a side, in a network of divisor 2: a patch of at most 36, not of 192."""
    checkpoint = MCDropout(network=NETWORK, training=replace(TRAINING, patch=(), steps=2)).fit(fit_task(blob_pool()))
    assert np.isfinite(checkpoint.validation_loss)


def test_cosine_and_one_cycle_have_their_shapes() -> None:
    training = Training(steps=100, warmup_steps=9, schedule="cosine")
    factors = [learning_rate_factor(step, training) for step in range(100)]
    assert factors[0] == pytest.approx(0.1, rel=0.01)
    assert max(factors) == pytest.approx(1, abs=0.03)
    assert factors[50] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx(0.01, abs=0.001)
    cycle = replace(training, schedule="one_cycle")
    module = nn.Linear(1, 1)
    torch_cycle = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.SGD(module.parameters(), lr=1.0), 1.0, total_steps=102, pct_start=31 / 102, final_div_factor=400
    )
    ours = [learning_rate_factor(step, cycle) for step in range(100)]
    theirs = []
    for _ in range(100):
        theirs.append(torch_cycle.get_last_lr()[0])
        torch_cycle.optimizer.step()
        torch_cycle.step()
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert learning_rate_factor(70, replace(training, schedule="constant")) == 1


def test_weight_decay_spares_biases_and_normalisation() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decayed, spared = make_optimiser(module, Training(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert decayed["weight_decay"] == 0.1
    assert [tuple(p.shape) for p in spared["params"]] == [(2,), (2,), (2,)]
    assert spared["weight_decay"] == 0


def test_the_moving_average_is_its_recursion() -> None:
    module = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    average = MovingAverage(module, 0.9)
    expected = module[0].weight.detach().clone()
    for step in range(1, 120):
        with torch.no_grad():
            module[0].weight.fill_(float(step))
            module[1].running_mean.fill_(float(step))
        average.update(module)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(average.module[0].weight, nn.Parameter(expected, requires_grad=False), check_dtype=True)
    assert average.module[1].running_mean == 119


def test_taps_are_trained_on_and_fade() -> None:
    """The weight of the taps decides what is learned, and only until it fades."""
    network = DcanResNet(width=0.125, stem_stride=1, dropout=0.1)
    weights = [
        MCDropout(network=network, training=replace(TRAINING, steps=2, tap_weight=tap, tap_decay_steps=decay))
        .fit(fit_task(blob_pool()))
        .weights
        for tap, decay in ((0.0, 300), (1.0, 300), (1.0, 1))
    ]
    assert len(set(weights)) == 3


def test_the_card_of_a_checkpoint_tells_what_it_is() -> None:
    card = read_card(learner(steps=1).fit(fit_task(blob_pool())).weights)
    assert card == ModelCard(
        network=NETWORK, spatial_dims=2, channels=2, classes=("background", "blob"), contour=True, normalise="range"
    )
