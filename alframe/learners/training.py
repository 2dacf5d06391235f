"""One training run: a pure function of its task and parameters on a CPU with a fixed number of threads.

Several processes may do it together (``task.rank``); each then makes and learns from its share of every batch.

Legend: ``B`` batch, ``C`` channels, ``S`` space.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alframe.errors import InvalidValue, NonFiniteError
from alframe.learners.augmentation import augment_geometry, augment_intensity, augment_stain, source_shape
from alframe.learners.canvas import rounded_up
from alframe.learners.checkpoints import ModelCard, read_card, restore, save_model
from alframe.learners.computing import computing, reproducible
from alframe.learners.dataset import Patch, TrainingSet
from alframe.learners.nets import divisor_of
from alframe.learners.nets.dcan_resnet import DcanResNetModule
from alframe.learners.networks import AnyNetwork, OwnNetwork
from alframe.learners.objective import Batch, Objective, Segmentation
from alframe.learners.optimisation import MovingAverage, learning_rate_factor, make_optimiser
from alframe.learners.pretrained import load_encoder
from alframe.learners.settings import Inference, NormaliseKind, Training
from alframe.learners.snapshots import Record, Trainable, fingerprint, resume, store
from alframe.learners.together import Team
from alframe.ports import Checkpoint, FitTask
from alframe.seeding import derive, generator
from alframe.teams import Rank
from alframe.types import UNANNOTATED

__all__ = ["Recipe", "Run", "share_of", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is trained, and how; `extra` logits beside the classes mean what the objective makes of them."""

    network: AnyNetwork
    training: Training
    inference: Inference
    normalise: NormaliseKind
    objective: Objective = field(default_factory=Segmentation)
    extra: int = 0


def describe(task: FitTask, recipe: Recipe) -> ModelCard:
    """The kind of model that fits the pool. Raises InvalidValue when the pool is mixed or empty."""
    infos = task.pool.items()
    kinds = {(info.channels, len(info.shape)) for info in infos}
    if len(kinds) != 1:
        raise InvalidValue(f"a network needs items of one kind, the pool has (channels, spatial axes) {sorted(kinds)}")
    channels, dims = kinds.pop()
    wanted = recipe.objective.contours and recipe.training.contour_weight > 0
    contour = wanted and any(info.instances for info in infos)
    return ModelCard(
        network=recipe.network,
        spatial_dims=dims,
        channels=channels,
        classes=task.pool.classes,
        contour=contour,
        normalise=recipe.normalise,
        extra=recipe.extra,
    )


def patch_shape(task: FitTask, training: Training, dims: int, divisor: int) -> tuple[int, ...]:
    """The training patch. Raises InvalidValue when its number of sides, or a side, does not fit the network."""
    if not training.patch:
        largest = [max(info.shape[axis] for info in task.pool.items()) for axis in range(dims)]
        limit = 192 if dims == 2 else 64
        return rounded_up([min(side, limit) for side in largest], divisor)
    if len(training.patch) != dims or any(side % divisor for side in training.patch):
        good = rounded_up((training.patch + training.patch[-1:] * dims)[:dims], divisor)
        raise InvalidValue(
            f"training: patch needs {dims} sides divisible by {divisor} for this network and pool, "
            f"got {training.patch}; use for example {good}"
        )
    return training.patch


def train(task: FitTask, recipe: Recipe, progress: Callable[[float], None] | None = None) -> Checkpoint:
    """Train one member; see :meth:`alframe.ports.Learner.fit`.

    Raises:
        InvalidValue: when the pool does not fit the network, or nothing is annotated.
        NonFiniteError: when a loss is NaN or infinite.
        PeerLost: when another process of the team is gone.
    """
    with computing(task.compute) as device:
        if str(device) == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
        with (
            reproducible(device),
            torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []),
            Team(task.rank, device).guarded(),
        ):
            torch.manual_seed(derive(task.seed, "torch"))
            return Run(task, recipe, device).go(progress)


class Run:
    """The state of one training run: what an :class:`~alframe.learners.objective.Objective` may look at."""

    def __init__(self, task: FitTask, recipe: Recipe, device: torch.device) -> None:
        self.task, self.recipe, self.device = task, recipe, device
        self.team = team = Team(task.rank, device)
        training = recipe.training
        share_of(task.rank, training)
        if not team.alone and not getattr(recipe.objective, "in_teams", False):
            raise InvalidValue(
                f"{type(recipe.objective).__name__} is a loss for one process, got a team of {task.rank.count}"
            )
        self.card = describe(task, recipe)
        self.module = team.prepare(self._build()).to(device)
        if not team.alone:  # all begin with the same weights, and each draws its own dropout masks
            torch.manual_seed(derive(task.seed, "torch", task.rank.index))
        self.patch = patch_shape(task, training, self.card.spatial_dims, divisor_of(self.module))
        self.source = source_shape(self.patch, training.augmentation)
        self.data = TrainingSet(
            task,
            normalise=recipe.normalise,
            contours=self.card.contour,
            cache_mib=training.cache_mib,
            raters=recipe.objective.raters,
        )
        if training.augmentation.stain > 0 and (self.card.channels != 3 or self.data.white is None):
            raise InvalidValue("augmentation: stain needs RGB images of unsigned integers; set it to 0 for this pool")
        self.average = MovingAverage(self.module, training.ema) if training.ema > 0 else None
        self.optimiser = make_optimiser(self.module, training)
        self.scaler = torch.amp.GradScaler(device.type, enabled=task.compute.precision == "fp16")
        unsure = isinstance(recipe.network, OwnNetwork) or training.tap_weight == 0
        self.stepped = team.wrap(self.module, partly_used=unsure)

    def _build(self) -> nn.Module:
        module = self.card.build()
        if self.task.initial is None:
            if isinstance(module, DcanResNetModule) and module.network.weights:
                load_encoder(module, module.network.weights, module.network.weights_sha256)
        else:
            before = read_card(self.task.initial)
            if before != self.card:
                raise InvalidValue(f"a warm start needs weights of {self.card}, got {before}; train from scratch once")
            restore(module, self.task.initial)
        return module

    def go(self, progress: Callable[[float], None] | None) -> Checkpoint:
        """All steps, with measurements on the way; the best weights by validation loss (the last ones without validation)."""
        training, task = self.recipe.training, self.task
        changing = Trainable(
            module=self.module,
            optimiser=self.optimiser,
            scaler=self.scaler,
            average=self.average,
            device=self.device,
        )
        identity = "" if task.snapshot is None else fingerprint(task, self.recipe)
        record = Record() if task.snapshot is None else resume(task, identity, self.team, changing)
        began = time.perf_counter() - record.seconds
        saved = time.perf_counter()
        for epoch, steps in enumerate(_epochs(training.steps, training.validate_every)):
            if steps.stop <= record.step:
                continue
            if training.patience and record.behind >= training.patience:
                break
            train_loss = self._steps(steps, progress)
            self._measure(record, epoch, steps, train_loss, began)
            if task.snapshot is not None and self._due(time.perf_counter() - saved):
                store(task, identity, self.team, changing, record)
                saved = time.perf_counter()
        if progress is not None:
            progress(1.0)
        return Checkpoint(weights=record.best, validation_loss=record.best_loss, history=tuple(record.history))

    def _due(self, seconds: float) -> bool:
        """Whether it is time for a snapshot, by the clock of the leading process."""
        return bool(self.team.totals([float(self.team.leads and seconds >= self.task.snapshot_seconds)])[0])

    def _measure(self, record: Record, epoch: int, steps: range, train_loss: float, began: float) -> None:
        """Validate after `steps`, and keep the weights when they are the best so far."""
        model = self.module if self.average is None else self.average.module
        loss = self._validate(model) if self.task.validation else train_loss
        record.step, record.seconds = steps.stop, time.perf_counter() - began
        record.history.append(
            {
                "epoch": epoch,
                "step": steps.stop,
                "train_loss": train_loss,
                "val_loss": loss,
                "seconds": record.seconds,
            }
        )
        record.behind += 1
        if loss < record.best_loss or not self.task.validation:
            record.best, record.best_loss, record.behind = save_model(model.state_dict(), self.card), loss, 0

    def _steps(self, steps: range, progress: Callable[[float], None] | None) -> float:
        """Some optimiser steps; the mean of their losses."""
        training = self.recipe.training
        self.module.train()
        total = torch.zeros((), device=self.device)
        for step in steps:
            for group in self.optimiser.param_groups:
                group["lr"] = training.learning_rate * learning_rate_factor(step, training)
            loss = self.recipe.objective.loss(self, step)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(self.scaler.scale(self.team.shared_gradient(loss)))
            self.scaler.unscale_(self.optimiser)
            if training.clip_norm > 0:
                nn.utils.clip_grad_norm_(self.module.parameters(), training.clip_norm)
            self.scaler.step(self.optimiser)
            self.scaler.update()
            if self.average is not None:
                self.average.update(self.module)
            total += loss.detach()
            if progress is not None:
                progress((step + 1) / training.steps)
        mean = float(total) / len(steps)
        if not np.isfinite(mean):
            raise NonFiniteError(
                f"the training loss became {mean} by step {steps.stop} (member {self.task.member}, restart {self.task.restart}); "
                "lower training.learning_rate, or use compute.precision fp32"
            )
        return mean

    def batch(
        self, step: int, purpose: str = "batch", size: int | None = None, data: TrainingSet | None = None
    ) -> Batch:
        """This process's share of the batch of a step: of ``training.batch_size`` patches of the run's own data unless told
        otherwise. Each is drawn from the run's seed, `purpose`, the step and its place in the batch alone."""
        places = self.task.rank.share(size or self.recipe.training.batch_size)
        made = [self._patch(data or self.data, generator(self.task.seed, purpose, step, place)) for place in places]
        image, targets = (torch.cat(parts) for parts in zip(*made, strict=True))
        return Batch(
            image=image,
            classes=targets[:, 0],
            contours=targets[:, 1] if self.card.contour else None,
            raters=targets[:, 1 + self.card.contour :] if self.recipe.objective.raters else None,
        )

    def _patch(self, data: TrainingSet, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A normalised patch (1, C, S) and its label maps (1, L, S; long)."""
        training, settings = self.recipe.training, self.recipe.training.augmentation
        patch = data.draw(rng, patch=self.patch, source=self.source, foreground=training.foreground)
        image = torch.from_numpy(patch.image[None]).to(self.device)
        labels = torch.from_numpy(self._maps(patch)[None]).to(self.device)
        image, labels = augment_geometry(image, labels, self.patch, settings, rng)
        if settings.stain > 0:
            assert self.data.white is not None
            image = augment_stain(image, self.data.white, settings, rng)
        ones = (1,) * self.card.spatial_dims
        shift, scale = (
            torch.from_numpy(values).to(self.device).reshape(1, -1, *ones)
            for values in (patch.affine.shift, patch.affine.scale)
        )
        return augment_intensity((image - shift) / scale, settings, rng), labels.long()

    def _maps(self, patch: Patch) -> NDArray[np.uint8]:
        """The label maps of a patch, one above the other: classes, contours if any, then each rater's own."""
        maps = [patch.classes, *(m for m in (patch.contours,) if m is not None), *patch.raters]
        missing = self.data.raters - len(patch.raters)
        return np.stack([*maps, *[np.full_like(patch.classes, UNANNOTATED)] * missing])

    def _validate(self, model: nn.Module) -> float:
        """The objective's measure, as a mean over the annotated pixels of the validation items."""
        model.eval()
        items, rank = self.task.validation, self.task.rank
        losses, pixels = [0.0] * len(items), [0.0] * len(items)
        with torch.inference_mode():
            for number in range(rank.index, len(items), rank.count):
                losses[number], pixels[number] = self.recipe.objective.measure(self, model, items[number])
        total, count = sum(self.team.totals(losses)), sum(self.team.totals(pixels))
        if not np.isfinite(total):
            raise NonFiniteError(f"the validation loss became {total}; lower training.learning_rate")
        return total / max(1, count)


def share_of(rank: Rank, training: Training) -> range:
    """The places in a batch that a process fills. Raises InvalidValue when the batch cannot be shared equally."""
    if training.batch_size % rank.count:
        raise InvalidValue(
            f"training: batch_size {training.batch_size} cannot be shared equally by a team of {rank.count} workers; "
            f"use a multiple of {rank.count}, or another number of workers"
        )
    return rank.share(training.batch_size)


def _epochs(steps: int, every: int) -> Iterator[range]:
    """The steps of a run, cut where the model is measured; the last part may be shorter."""
    for begin in range(0, steps, every):
        yield range(begin, min(begin + every, steps))
