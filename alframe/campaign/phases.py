"""The phases of a round up to the commit: each a small function from a round to the rows that make it durable."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from alframe.campaign.asking import named, opinions
from alframe.campaign.round import Round
from alframe.campaign.settings import Parts, Settings
from alframe.campaign.writer import Stored, checked
from alframe.errors import InvalidValue, NonFiniteError, StoreUnavailable
from alframe.jobs import ExplainJob, FitContext, FitJob, ScoreContext, explain_boxes, fit_member, score_range
from alframe.ports import Checkpoint, Transition
from alframe.types import AnswerRecord, ArtifactRef, Candidates, Metric, Outcome, Phase, Query, Split, query_id

__all__ = ["ask", "awaited", "commit", "fit", "score", "select", "tell", "version_after"]


def fit(work: Round) -> Transition:
    """Train every member, as many times as the learner restarts, and keep the best restart by validation loss."""
    step = Transition(round=work.index, source=Phase.PLANNED, target=Phase.TRAINED)
    if work.index == 0:
        return step
    if not work.labels.items():
        raise InvalidValue(
            f"round {work.index}: no item has an annotated pixel to train on; every earlier query was refused. "
            "Let another rater answer, or start with other initial items"
        )
    learner = work.parts.learner
    runs = [(member, restart) for member in range(learner.members) for restart in range(learner.restarts)]
    stored = _train(work, runs)
    losses = {run: _validation_loss(work, stored, run) for run in runs}
    best = {member: min((losses[run], run) for run in runs if run[0] == member)[1] for member in range(learner.members)}
    return replace(
        step,
        artifacts={f"member/{m}": stored[_key("checkpoint", run)] for m, run in best.items()},
        metrics=tuple(
            Metric(
                name="validation_loss",
                scope="train",
                label=f"{member}/{restart}",
                value=loss,
                convention="lowest of the training run; label is member/restart",
            )
            for (member, restart), loss in losses.items()
        ),
    )


def _key(kind: str, run: tuple[int, int]) -> str:
    return f"{kind}/{run[0]}/{run[1]}"


def _train(work: Round, runs: list[tuple[int, int]]) -> dict[str, ArtifactRef]:
    """Checkpoints and training curves of all runs; those that the ledger names already are not trained again."""
    parts, name = work.parts, work.settings.name
    stored = parts.ledger.artifacts(name, work.index)
    missing = [run for run in runs if _key("checkpoint", run) not in stored]
    earlier = parts.ledger.artifacts(name, work.index - 1) if parts.learner.warm_start else {}
    jobs = []
    for member, restart in missing:
        before = earlier.get(f"member/{member}")
        weights = None if before is None else parts.artifacts.get(before)
        seed = work.seed(f"fit/{member}/{restart}")
        key = _snapshot(work, (member, restart))
        jobs.append(FitJob(member=member, restart=restart, seed=seed, initial=weights, snapshot=key))
    context = FitContext(
        learner=parts.learner,
        pool=parts.pool,
        labels=work.labels,
        validation=tuple(work.ids(Split.VALIDATION, with_truth=True)),
        compute=parts.compute,
        snapshots=parts.snapshots,
        snapshot_seconds=work.settings.snapshot_seconds,
    )
    parts.observer.phase_started(work.index, Phase.TRAINED, len(runs))
    parts.observer.advanced(len(runs) - len(missing))
    fitted = parts.executor.run("fit", fit_member, context, jobs, kind="fit")
    for done, (position, checkpoint) in enumerate(fitted, start=len(runs) - len(missing) + 1):
        work.alive()
        stored |= _keep(work, missing[position], checkpoint)
        parts.observer.advanced(done)
    _forget(work, runs)
    return stored


def _snapshot(work: Round, run: tuple[int, int]) -> str:
    """The name of a training run's snapshot."""
    return f"{work.settings.name}.{work.index}.{run[0]}.{run[1]}"


def _forget(work: Round, runs: list[tuple[int, int]]) -> None:
    """Remove the snapshots of training runs whose checkpoints are recorded. One that stays is harmless."""
    if work.parts.snapshots is not None:
        with suppress(StoreUnavailable):
            for run in runs:
                work.parts.snapshots.at(_snapshot(work, run)).clear()


def _keep(work: Round, run: tuple[int, int], checkpoint: Checkpoint) -> dict[str, ArtifactRef]:
    """Make a training run durable; the checkpoint's row comes last, so that it implies the curve's."""
    if not math.isfinite(checkpoint.validation_loss):
        raise NonFiniteError(
            f"round {work.index}, member {run[0]}, restart {run[1]}: validation loss is {checkpoint.validation_loss}"
        )
    names = sorted({"epoch"}.union(*checkpoint.history))
    columns = {name: np.array([epoch.get(name, np.nan) for epoch in checkpoint.history]) for name in names}
    artifacts, ledger = work.parts.artifacts, work.parts.ledger
    refs = {
        _key("loss", run): artifacts.put_arrays("loss", {"validation_loss": np.array(checkpoint.validation_loss)}),
        _key("history", run): artifacts.put_table("history", columns),
        _key("checkpoint", run): artifacts.put("checkpoint", checkpoint.weights),
    }
    return {key: ledger.record_artifact(work.fence, work.index, key, ref) for key, ref in refs.items()}


def _validation_loss(work: Round, stored: dict[str, ArtifactRef], run: tuple[int, int]) -> float:
    return float(work.parts.artifacts.get_arrays(stored[_key("loss", run)])["validation_loss"])


def _score_context(work: Round) -> ScoreContext:
    measured = work.index > 0 and work.settings.evaluate_pool
    asks_again = work.index > 0 and work.strategy is not None and work.settings.opinions.again > 0
    return ScoreContext(
        pool=work.parts.pool,
        labels=work.labels,
        artifacts=work.parts.artifacts,
        strategy=work.strategy,
        model=work.model,
        pool_metrics=replace(work.parts.metrics, objects=False) if measured else None,
        queries=work.batch,
        seed=work.seed("score"),
        fusion=work.parts.fusion,
        opinions=work.settings.opinions if asks_again else None,
    )


def score(work: Round) -> Transition:
    """Score the pool in parts; measure its remaining pixels in the same pass where that is asked for."""
    step = Transition(round=work.index, source=Phase.TRAINED, target=Phase.SCORED)
    context = _score_context(work)
    names = ["candidates"] * (context.strategy is not None) + ["state"] * (context.pool_metrics is not None)
    names += ["again"] * (context.opinions is not None)
    if names:
        open_items = [item for item in work.ids(Split.TRAIN) if not work.labels.retired(item)]
        work.fan_out(Phase.SCORED, "score", names, score_range, context, work.cut(open_items))
    return step


def select(work: Round) -> Transition:
    """Choose the batch, and the old boxes that another rater is asked about: a pure function of the stored scores and the seed."""
    step = Transition(round=work.index, source=Phase.SCORED, target=Phase.SELECTED)
    strategy, tables = work.strategy, _tables(work, "candidates")
    if strategy is None or not tables or work.batch < 1:
        return step
    worth = _tables(work, "again")
    again = opinions(work, Candidates.concatenate(worth)) if worth else ()
    count = work.batch - len(again)
    found = Candidates.concatenate(tables)
    chosen = strategy.select(found, count=count, seed=work.seed("select")) if count else found.take([])
    fresh = tuple(
        Query(
            id=query_id(work.settings.name, str(chosen.item[row]), chosen.box(row)),
            item=str(chosen.item[row]),
            box=chosen.box(row),
            score=float(chosen.score[row]),
            rank=row,
            replicas=work.settings.replicas,
        )
        for row in range(len(chosen))
    )
    kept = _affordable(work, named(work, fresh))
    return replace(step, queries=(*kept, *(replace(query, rank=len(kept) + query.rank) for query in again)))


def _tables(work: Round, name: str) -> list[Candidates]:
    """The tables of that name which scoring left, in the order of its parts."""
    stored = work.parts.ledger.artifacts(work.settings.name, work.index)
    return [
        Candidates.from_columns(work.parts.artifacts.get_table(ref))
        for key, ref in sorted(stored.items())
        if key.startswith("score/") and key.endswith(f"/{name}")
    ]


def _affordable(work: Round, queries: tuple[Query, ...]) -> tuple[Query, ...]:
    """The best queries, in rank order, whose pixels still fit the budget (a query that does not fit ends the batch)."""
    budget = work.settings.budget
    limits = [] if budget.pixels is None else [budget.pixels]
    if budget.fraction is not None:
        limits.append(int(budget.fraction * sum(info.size for info in work.parts.pool.items(Split.TRAIN))))
    if not limits:
        return queries
    left = min(limits) - work.labels.annotated_pixels()
    kept: list[Query] = []
    for query in queries:
        known = work.labels.labels(query.item).annotated[query.box.slices]
        left -= query.box.size - int(np.count_nonzero(known))
        if left < 0 and kept:
            break
        kept.append(query)
    return tuple(kept)


def ask(work: Round) -> Transition:
    """Store what raters are shown for each query, and put the queries to the oracle."""
    queries = work.queries
    if queries and work.model is not None:
        by_item: dict[str, list[Query]] = defaultdict(list)
        for query in queries:
            by_item[query.item].append(query)
        jobs = [ExplainJob(item=item, boxes=tuple(q.box for q in by_item[item])) for item in sorted(by_item)]
        work.parts.observer.phase_started(work.index, Phase.ASKED, len(jobs))
        shown: dict[str, ArtifactRef] = {}
        explained = work.parts.executor.run("explain", explain_boxes, _score_context(work), jobs)
        for done, (position, refs) in enumerate(explained, start=1):
            shown |= {query.id: ref for query, ref in zip(by_item[jobs[position].item], refs, strict=True)}
            work.parts.observer.advanced(done)
        queries = tuple(replace(query, prefill=shown[query.id]) for query in queries)
    if queries:
        work.alive()
        work.parts.oracle.ask(work.settings.name, queries)
    return Transition(round=work.index, source=Phase.SELECTED, target=Phase.ASKED, queries=queries)


def tell(work: Round) -> Transition | None:
    """Collect answers and make them durable; None while some query still waits for a rater."""
    queries = {query.id: query for query in work.queries}
    classes = len(work.parts.pool.classes)
    given = {(told.query, told.rater): told for told in _told(work.settings, work.parts, work.index)}
    if missing := _unanswered(queries, _outcomes(given)):
        answers = checked(work.parts.oracle.collect(work.settings.name, missing), queries, classes)
        fresh = [answer for answer in answers if (answer.query, answer.rater) not in given]
        given |= {(stored.query, stored.rater): stored for stored in work.writer.write(fresh)}
        if _unanswered(queries, _outcomes(given)):
            return None
    ordered = sorted(given.values(), key=lambda stored: (queries[stored.query].rank, stored.rater))
    first = len(work.labels.answers)
    records = (
        AnswerRecord(
            sequence=first + position,
            round=work.index,
            query=stored.query,
            item=queries[stored.query].item,
            box=queries[stored.query].box,
            rater=stored.rater,
            outcome=stored.outcome,
            mask=stored.mask,
            seconds=stored.seconds,
            reason=stored.reason,
        )
        for position, stored in enumerate(ordered)
    )
    return Transition(round=work.index, source=Phase.ASKED, target=Phase.LABELLED, answers=tuple(records))


def _outcomes(given: Mapping[tuple[str, str], Stored]) -> dict[tuple[str, str], Outcome]:
    return {who: stored.outcome for who, stored in given.items()}


def _unanswered(queries: Mapping[str, Query], given: Mapping[tuple[str, str], Outcome]) -> tuple[Query, ...]:
    """Queries with fewer answers, listed by (query, rater), than replicas wanted. One ``unusable`` is all that can be said."""
    count = Counter(query for query, _ in given)
    closed = {query for (query, _), outcome in given.items() if outcome is Outcome.UNUSABLE}
    return tuple(query for query in queries.values() if count[query.id] < query.replicas and query.id not in closed)


def _told(settings: Settings, parts: Parts, index: int) -> list[Stored]:
    """Answers that were given to the campaign itself (``Campaign.tell``) and are durable already."""
    stored = parts.ledger.artifacts(settings.name, index)
    return [
        Stored.from_json(parts.artifacts.get(ref)) for key, ref in sorted(stored.items()) if key.startswith("told/")
    ]


def awaited(settings: Settings, parts: Parts, index: int) -> tuple[int, int]:
    """How many queries of round `index` still lack answers, and how many were asked. Changes nothing, and needs no fence."""
    queries = {query.id: query for query in parts.ledger.queries(settings.name, index)}
    given = {(told.query, told.rater): told.outcome for told in _told(settings, parts, index)}
    if missing := _unanswered(queries, given):
        given |= {(one.query, one.rater): one.outcome for one in parts.oracle.collect(settings.name, missing)}
    return len(_unanswered(queries, given)), len(queries)


def commit(work: Round) -> Transition:
    """Seal the answers into a manifest; its hash, chained to the parent's, is the new version of the pool."""
    step = Transition(round=work.index, source=Phase.LABELLED, target=Phase.COMMITTED)
    answers = [a for a in work.parts.ledger.answers(work.settings.name) if a.round == work.index]
    if not answers:
        return replace(step, version=work.record.parent)
    manifest = work.parts.artifacts.put_table(
        "manifest",
        {
            "sequence": np.array([a.sequence for a in answers]),
            "query": np.array([a.query for a in answers]),
            "item": np.array([a.item for a in answers]),
            "start": np.array([",".join(map(str, a.box.start)) for a in answers]),
            "stop": np.array([",".join(map(str, a.box.stop)) for a in answers]),
            "rater": np.array([a.rater for a in answers]),
            "outcome": np.array([a.outcome.value for a in answers]),
            "mask": np.array(["" if a.mask is None else a.mask.sha256 for a in answers]),
        },
    )
    return replace(step, version=version_after(work.record.parent, manifest), artifacts={"manifest": manifest})


def version_after(parent: str, manifest: ArtifactRef) -> str:
    """The pool version (SHA-256, hex) that `manifest` makes of its `parent`."""
    return hashlib.sha256(f"{parent}/{manifest.sha256}".encode()).hexdigest()
