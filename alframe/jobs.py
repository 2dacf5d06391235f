"""The functions that travel to workers: fit a member, score a range of items, explain chosen boxes.

Each takes a context (sent once to every worker) and a small job, reads pixels itself, writes what is large to the artifact
store and returns references and sums. Nothing here depends on which worker runs it or in what order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe import metrics, seeding, teams
from alframe.composition import CONTOUR_RADIUS, Placed, compose
from alframe.metrics import EvaluationState, MetricSpec, fuse
from alframe.metrics.fusion import Fusion
from alframe.ports import (
    Artifacts,
    Checkpoint,
    FitTask,
    ItemView,
    Labels,
    Learner,
    Moments,
    Pool,
    Prediction,
    Predictor,
    Snapshots,
    Strategy,
)
from alframe.strategies import moments as moment
from alframe.strategies.opinions import Opinions, opinion_rows
from alframe.types import UNANNOTATED, ArtifactRef, Box, Candidates, Compute, LabelMap

__all__ = [
    "ExplainJob",
    "FitContext",
    "FitJob",
    "Model",
    "ScoreContext",
    "explain_boxes",
    "fit_member",
    "fused_truth",
    "observe_item",
    "predicted_objects",
    "score_range",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class FitContext:
    """What all training runs of a round share."""

    learner: Learner
    pool: Pool
    labels: Labels
    validation: tuple[str, ...]
    compute: Compute
    snapshots: Snapshots | None = None
    snapshot_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitJob:
    """One member, one restart; `initial` names the weights of a warm start, `snapshot` the run among all snapshots."""

    member: int
    restart: int
    seed: int
    initial: bytes | None = None
    snapshot: str = ""


def fit_member(context: FitContext, job: FitJob) -> Checkpoint:
    """Train one member, or as one process of a team that does. Raises NonFiniteError when its loss is not a number."""
    return context.learner.fit(
        FitTask(
            pool=context.pool,
            labels=context.labels,
            validation=context.validation,
            member=job.member,
            restart=job.restart,
            seed=job.seed,
            compute=context.compute,
            initial=job.initial,
            rank=teams.here(),
            snapshot=None if context.snapshots is None else context.snapshots.at(job.snapshot),
            snapshot_seconds=context.snapshot_seconds,
        )
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """The round's predictor, rebuilt from checkpoints once on each worker that needs it.

    `checkpoints`, in member order, are names of artifacts or the weights themselves. The seed of a prediction is its
    identity (campaign seed, round, item): scoring, pre-fill and evaluation of one item in one round see the very same
    stochastic passes.
    """

    learner: Learner
    artifacts: Artifacts
    checkpoints: tuple[ArtifactRef | bytes, ...]
    compute: Compute
    seed: int
    round: int

    @cached_property
    def _predictor(self) -> Predictor:
        weights = [one if isinstance(one, bytes) else self.artifacts.get(one) for one in self.checkpoints]
        return self.learner.predictor(weights, self.compute)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_predictor"}

    def predict(
        self, pool: Pool, item: str, *, votes: bool = False, log: bool = False, spread: bool = False
    ) -> Prediction:
        """Predict one item of the pool."""
        return self._predictor.predict(
            pool.image(item),
            spacing=pool.info(item).spacing,
            seed=seeding.derive(self.seed, self.round, "predict", item),
            votes=votes,
            log=log,
            spread=spread,
        )

    def samples(self, pool: Pool, item: str, count: int) -> NDArray[np.float32]:
        """Draws of whole segmentations (N ≤ count, C, S) of one item."""
        return self._predictor.samples(
            pool.image(item),
            count=count,
            seed=seeding.derive(self.seed, self.round, "samples", item),
            spacing=pool.info(item).spacing,
        )

    def foreground_logit(self, pool: Pool, item: str) -> NDArray[np.float64]:
        """The mean log odds of foreground (S), of learners that say `foreground_logits`."""
        predictor: Any = self._predictor
        seed = seeding.derive(self.seed, self.round, "predict", item)
        logit: NDArray[np.float64] = predictor.foreground_logit(pool.image(item), seed=seed)
        return logit


def fused_truth(pool: Pool, item: str, how: Fusion = "majority") -> LabelMap:
    """The ingested truth of an item; several raters are fused. Raises NotFound when it has none.

    STAPLE speaks of classes only: where objects are told apart, and where it does not apply, the majority stands.
    """
    info = pool.info(item)
    if len(info.raters) <= 1:
        return pool.truth(item)
    maps = {rater: pool.truth(item, rater) for rater in info.raters}
    if how == "staple" and not info.instances:
        classes, _ = fuse(np.stack([one.classes for one in maps.values()]), classes=len(pool.classes), how=how)
        return LabelMap(classes=classes)
    whole = Box.whole(info.shape)
    placed = [Placed(rater=rater, box=whole, labels=labels) for rater, labels in maps.items()]
    return compose(info.shape, placed, instances=info.instances)


def predicted_objects(
    spec: MetricSpec, mean_CS: NDArray[np.floating[Any]], contour_S: NDArray[np.float32] | None
) -> NDArray[np.int32]:
    """Object numbers (S) of a prediction. A contour target is `CONTOUR_RADIUS` thick on both sides of the border, so what
    the contour cut off is grown back by as much and the border pixel itself."""
    grown = 0 if contour_S is None else CONTOUR_RADIUS + 1
    return metrics.instances_from(1.0 - mean_CS[0], contour_S, min_size=spec.min_object, dilate=grown)


def observe_item(spec: MetricSpec, item: str, prediction: Prediction, truth: LabelMap) -> EvaluationState:
    """Metric sums of one predicted item against `truth` (255 excluded)."""
    mean = moment.mean(prediction.moments)
    found = predicted_objects(spec, mean, prediction.contour) if spec.objects else None
    log_mean = None if prediction.moments.log_probability is None else moment.log_mean(prediction.moments)
    return metrics.observe(spec, item=item, mean=mean, log_mean=log_mean, truth=truth, instances=found)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreContext:
    """What all scoring jobs of a round share.

    `strategy` is None when nothing is acquired, `model` None before the first one exists, `pool_metrics` None when the
    remaining pool is not evaluated (it needs truth, so only simulations can). `queries` is the size of the batch.
    `opinions` is None unless another rater may be asked about boxes that have labels.
    """

    pool: Pool
    labels: Labels
    artifacts: Artifacts
    strategy: Strategy | None
    model: Model | None
    pool_metrics: MetricSpec | None
    queries: int
    seed: int
    fusion: Fusion = "majority"
    opinions: Opinions | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """What one item comes to: candidates, boxes that are worth another opinion, and sums over the pixels that nobody annotated."""

    candidates: Candidates | None = None
    again: Candidates | None = None
    state: EvaluationState | None = None


def score_range(context: ScoreContext, items: tuple[str, ...]) -> dict[str, ArtifactRef]:
    """Score items: the candidates of each, and the metric sums over their pixels that nobody annotated yet.

    Returns references under ``candidates`` and ``again`` (tables) and ``state`` (sums), whichever the context asks for.
    Raises NonFiniteError, naming the item, when a score is not a number.
    """
    scored = [_score_item(context, item) for item in items]
    axes = len(context.pool.info(items[0]).shape)
    refs: dict[str, ArtifactRef] = {}
    for name, wanted in (("candidates", context.strategy is not None), ("again", context.opinions is not None)):
        if wanted:
            tables = [table for one in scored if (table := getattr(one, name)) is not None]
            merged = Candidates.concatenate(tables) if tables else Candidates.empty(axes)
            refs[name] = context.artifacts.put_table("scores", merged.columns())
    if context.pool_metrics is not None:
        states = [one.state for one in scored if one.state is not None]
        total = EvaluationState.empty(context.pool_metrics).merge(*states)
        refs["state"] = context.artifacts.put_arrays("metrics", total.to_arrays())
    return refs


def _score_item(context: ScoreContext, item: str) -> _Scored:
    info, strategy, spec = context.pool.info(item), context.strategy, context.pool_metrics
    annotated = context.labels.labels(item).annotated
    opinions = context.opinions if context.model is not None and annotated.any() else None
    if annotated.all() and opinions is None:
        return _Scored()
    prediction: Prediction | None = None
    wanted = spec is not None or opinions is not None or (strategy is not None and strategy.needs_model)
    if context.model is not None and wanted:
        prediction = context.model.predict(
            context.pool,
            item,
            votes=strategy is not None and strategy.needs_votes,
            log=spec is not None,
            spread=opinions is not None or (strategy is not None and strategy.needs_spread),
        )
    again = None
    if opinions is not None and prediction is not None:
        again = opinion_rows(
            item,
            prediction.moments,
            context.labels.by_rater(item),
            context.labels.history(item),
            most=opinions.most,
            close=opinions.closeness,
        )
    if annotated.all():
        return _Scored(again=again)
    table = state = None
    if strategy is not None:
        view = ItemView(
            info=info,
            annotated=annotated,
            history=context.labels.history(item),
            moments=prediction.moments if prediction is not None and strategy.needs_model else None,
            truth=fused_truth(context.pool, item, context.fusion) if strategy.needs_truth else None,
        )
        seed = seeding.derive(context.seed, "candidates", item)
        table = strategy.candidates(view, count=context.queries, seed=seed)
    if spec is not None and prediction is not None and info.raters:
        truth = fused_truth(context.pool, item, context.fusion)
        rest = LabelMap(classes=np.where(annotated, np.uint8(UNANNOTATED), truth.classes))
        state = observe_item(spec, item, prediction, rest)
    return _Scored(candidates=table, again=again, state=state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainJob:
    """The chosen boxes of one item."""

    item: str
    boxes: tuple[Box, ...]


def explain_boxes(context: ScoreContext, job: ExplainJob) -> tuple[ArtifactRef, ...]:
    """Pre-fill, uncertainty map and predicted probabilities of each chosen box (see :class:`~alframe.types.Query`)."""
    model, strategy = context.model, context.strategy
    assert model is not None
    assert strategy is not None
    moments: Moments = model.predict(
        context.pool, job.item, votes=strategy.needs_votes, spread=strategy.needs_spread
    ).moments
    mean = moment.mean(moments)
    classes = mean.argmax(axis=0).astype(np.uint8)
    uncertainty = strategy.uncertainty(moments)
    return tuple(
        context.artifacts.put_arrays(
            "prefill",
            {
                "classes": np.ascontiguousarray(classes[box.slices]),
                "uncertainty": uncertainty[box.slices].astype(np.float16),
                "mean": mean[(slice(None), *box.slices)].astype(np.float32),
            },
        )
        for box in job.boxes
    )
