"""A trained model measured on demand: the numbers of a campaign's round, of any checkpoint, on any split with truth."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alframe import access, compose, metrics
from alframe.config import Config
from alframe.errors import InvalidValue, NotFound
from alframe.evaluation import EvaluateContext, Sums, measure_range
from alframe.jobs import Model
from alframe.metrics import EvaluationState, RaterState
from alframe.types import ArtifactRef, Metric, Split

__all__ = ["COLUMNS", "Scorecard", "evaluate", "rows", "write"]

Progress = Callable[[int, int], None]

COLUMNS = {
    "dice": "Dice",
    "object_f1": "object F1",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
    "ged": "GED²",
    "ncc": "NCC",
    "rater_nll": "NLL, raters",
    "rater_brier": "Brier, raters",
    "rater_ece": "ECE, raters",
    "pixel_agreement": "pixel agreement",
    "image_agreement": "image agreement",
}
"""The metrics of the table, those that were measured; JSON and CSV have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """One model on one split. `round` is None for checkpoints from files; `seconds` is the work on all `images`."""

    model: str
    split: str
    round: int | None
    images: int
    seconds: float
    metrics: tuple[Metric, ...]

    def value(self, name: str) -> float | None:
        """A metric over all classes and pixels (or images); None where it is undefined or was not measured."""
        wanted = (name, "", "pooled")
        return next((one.value for one in self.metrics if (one.name, one.label, one.statistic) == wanted), None)

    def plain(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        numbers = [{key: value for key, value in asdict(one).items() if key != "scope"} for one in self.metrics]
        head = {"model": self.model, "split": self.split, "round": self.round, "images": self.images}
        return head | {"seconds": self.seconds, "metrics": numbers}


def evaluate(
    config: Config,
    *,
    split: Split = Split.TEST,
    index: int | None = None,
    files: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Scorecard:
    """Measure the model of a round (the last one with a model when `index` is None), or the checkpoints in `files`, on the
    items of `split` that have truth. The numbers of a round are those that its campaign recorded, to the last bit.

    Raises:
        NotFound: when there is no such pool, campaign, round, or model, or no item with truth.
        InvalidValue: when the number of files is not that of the learner's members, or they hold another network.
        ArtifactMissing: when the store lost a checkpoint.
        ArtifactDamaged: when a checkpoint does not match its hash.
    """
    pool, learner = compose.open_pool(config), config.learner.value
    items = [info.id for info in pool.items(split) if info.raters]
    if not items:
        raise NotFound(
            f"the pool has no item with truth in the split {split}; ingest masks for some, or choose another"
        )
    sources: tuple[ArtifactRef | bytes, ...]
    if files:
        index, sources = None, _weights(files, learner.members)
    else:
        index, sources = access.checkpoints(config, index)
    model = Model(
        learner=learner,
        artifacts=compose.open_artifacts(config),
        checkpoints=sources,
        compute=compose.compute(config),
        seed=config.seed,
        round=index or 0,
    )
    context = EvaluateContext(
        pool=pool,
        artifacts=model.artifacts,
        model=model,
        spec=compose.metric_spec(config, pool),
        raters=compose.rater_spec(config, pool),
        fusion=config.metrics.fusion,
    )
    began = time.perf_counter()
    found = _measured(config, context, items, progress)
    return Scorecard(
        model=f"{config.name}, round {index}" if index is not None else ", ".join(path.stem for path in files),
        split=split.value,
        round=index,
        images=len(items),
        seconds=time.perf_counter() - began,
        metrics=found,
    )


def _weights(files: Sequence[Path], members: int) -> tuple[bytes, ...]:
    if len(files) != members:
        raise InvalidValue(f"the learner predicts with {members} checkpoints, one for each member, got {len(files)}")
    if missing := [str(path) for path in files if not path.is_file()]:
        raise NotFound(f"no checkpoint at {', '.join(missing)}; `alframe export FILE model` writes them")
    return tuple(path.read_bytes() for path in files)


def _measured(
    config: Config, context: EvaluateContext, items: Sequence[str], progress: Progress | None
) -> tuple[Metric, ...]:
    size = config.runtime.range
    jobs = [tuple(items[start : start + size]) for start in range(0, len(items), size)]
    executor, parts, done = compose.open_executor(config), [], 0
    try:
        for position, sums in executor.run("evaluate", measure_range, context, jobs):
            parts.append(sums)
            done += len(jobs[position])
            if progress is not None:
                progress(done, len(items))
    finally:
        executor.close()
    return _summary(context, parts)


def _summary(context: EvaluateContext, parts: Sequence[Sums]) -> tuple[Metric, ...]:
    spec, raters = context.spec, context.raters
    found = metrics.summarise(spec, EvaluationState.empty(spec).merge(*(one.state for one in parts)))
    if raters is None:
        return found
    states = (one.raters for one in parts if one.raters is not None)
    return (*found, *metrics.summarise_raters(raters, RaterState.empty(raters).merge(*states)))


def rows(cards: Sequence[Scorecard]) -> list[dict[str, Any]]:
    """The table for people: a row a model, a column a metric that any of them has."""
    shown = [name for name in COLUMNS if any(card.value(name) is not None for card in cards)]
    return [
        {"model": card.model, "split": card.split, "images": card.images}
        | {COLUMNS[name]: _written(card.value(name)) for name in shown}
        for card in cards
    ]


def _written(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def write(cards: Sequence[Scorecard], path: Path) -> Path:
    """Write the table: ``.md`` as people read it; ``.csv`` (a line a number) and ``.json`` with every metric. All or nothing.

    Raises:
        InvalidValue: for another suffix.
    """
    makers = {".md": _markdown, ".csv": _csv, ".json": _json}
    if path.suffix not in makers:
        raise InvalidValue(f"a table is written as {', '.join(makers)}, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(makers[path.suffix](cards), encoding="utf-8")
    part.replace(path)
    return path


def _markdown(cards: Sequence[Scorecard]) -> str:
    table = rows(cards)
    names = list(table[0])
    lines = [names, ["---"] + ["---:" if name not in ("split",) else "---" for name in names[1:]]]
    lines += [[str(row[name]).replace("|", "\\|") for name in names] for row in table]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _csv(cards: Sequence[Scorecard]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", "split", "round", "name", "label", "statistic", "value", "convention"])
    for card in cards:
        for one in card.metrics:
            value = "" if one.value is None else repr(one.value)
            head = [card.model, card.split, "" if card.round is None else card.round]
            writer.writerow([*head, one.name, one.label, one.statistic, value, one.convention])
    return stream.getvalue()


def _json(cards: Sequence[Scorecard]) -> str:
    return json.dumps([card.plain() for card in cards], indent=2, ensure_ascii=False) + "\n"
