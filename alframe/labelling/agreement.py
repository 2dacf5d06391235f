"""How raters agree with each other, with themselves, and with what the model had drawn for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from alframe.labelling.consensus import agreement
from alframe.labelling.desk import LabellingDesk
from alframe.labelling.values import Standing, Submission, Task
from alframe.types import LabelMap

__all__ = ["Agreement", "agreements"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two submissions to one task. `kind`: ``between`` raters, ``within`` one rater (a repeat), ``prefill`` (`other` is empty)."""

    task: str
    kind: str
    rater: str
    other: str
    blind: bool
    value: float


def agreements(desk: LabellingDesk, campaign: str) -> tuple[Agreement, ...]:
    """All pairs of current submissions, task by task; reads every mask once."""
    tasks = {task.id: task for task in desk.ledger.tasks(campaign)}
    by_task: dict[str, list[Submission]] = {}
    for one in desk.ledger.submissions(campaign):
        if one.current and one.standing not in (Standing.SKIP, Standing.ADJUDICATION):
            by_task.setdefault(one.task, []).append(one)
    return tuple(row for task, said in by_task.items() for row in _of_task(desk, tasks[task], said))


def _of_task(desk: LabellingDesk, task: Task, said: Sequence[Submission]) -> list[Agreement]:
    labels = {one.id: desk.labels(one) for one in said}
    rows = []
    for one, other in combinations(said, 2):
        within = one.rater == other.rater
        if within or not (one.repeat or other.repeat):
            kind = "within" if within else "between"
            rows.append(_row(task, kind, one.rater, other.rater, agreement(labels[one.id], labels[other.id])))
    shown = None if task.prefill is None else desk.artifacts.get_arrays(task.prefill)["classes"]
    for one in said:
        drawn = labels[one.id]
        if shown is not None and drawn is not None:
            rows.append(_row(task, "prefill", one.rater, "", agreement(LabelMap(classes=shown), drawn)))
    return rows


def _row(task: Task, kind: str, rater: str, other: str, value: float) -> Agreement:
    return Agreement(task=task.id, kind=kind, rater=rater, other=other, blind=task.blind, value=value)
