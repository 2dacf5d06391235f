"""What raters said, as the campaign takes it: one answer by consensus, or one by each rater.

A campaign that wants several answers to a query gets them as they are. One that wants a single answer gets the reviewer's if
there was a review, else the only rater's, else the majority of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alframe.labelling.consensus import fused, outcome_of
from alframe.labelling.desk import LabellingDesk
from alframe.labelling.values import CONSENSUS, Standing, Submission, Task, TaskState
from alframe.types import Answer, LabelMap, Outcome

__all__ = ["answers"]


def answers(desk: LabellingDesk, campaign: str, wanted: Mapping[str, int]) -> tuple[Answer, ...]:
    """The answers to the tasks in `wanted` (by id, with how many answers each query wants) that are closed, in that order."""
    ids = list(wanted)
    desk.settle(campaign, ids=ids)
    tasks = {task.id: task for task in desk.ledger.tasks(campaign, ids=ids)}
    closed = [tasks[one] for one in ids if one in tasks and tasks[one].state in (TaskState.DONE, TaskState.RETIRED)]
    said: dict[str, list[Submission]] = {task.id: [] for task in closed}
    for submission in desk.ledger.submissions(campaign, tasks=list(said)) if said else ():
        if submission.current and not submission.repeat:
            said[submission.task].append(submission)
    retired = desk.ledger.retired(campaign) if any(task.state is TaskState.RETIRED for task in closed) else {}
    found: list[Answer] = []
    for task in closed:
        if task.state is TaskState.RETIRED:
            found += _retired(desk, task, said[task.id], retired[task.item])
        else:
            found += _closed(desk, task, said[task.id], wanted[task.id])
    return tuple(found)


def _closed(desk: LabellingDesk, task: Task, said: Sequence[Submission], count: int) -> list[Answer]:
    decided = [one for one in said if one.standing is Standing.ADJUDICATION]
    if decided:
        return [_single(desk, decided[-1])]
    counted = [one for one in said if one.counts]
    if count > 1:
        passed = [one for one in said if one.standing is Standing.SKIP]
        return [_single(desk, one) for one in (*counted, *passed)][:count]
    if len(counted) > 1:
        return [_consensus(desk, task, counted)]
    return [_single(desk, one) for one in counted or said[-1:]]


def _retired(desk: LabellingDesk, task: Task, said: Sequence[Submission], verdict: Submission) -> list[Answer]:
    """The item's verdict, behind the labels that other raters gave before."""
    before = [_single(desk, one) for one in said if one.counts and one.rater != verdict.rater]
    where = "" if verdict.task == task.id else f" (said of task {verdict.task})"
    return [
        *before,
        Answer(
            query=task.id,
            rater=verdict.rater,
            outcome=Outcome.UNUSABLE,
            reason=(verdict.reason or "the item is unusable") + where,
            seconds=_seconds([verdict]) if verdict.task == task.id else None,
        ),
    ]


def _single(desk: LabellingDesk, one: Submission) -> Answer:
    labels = desk.labels(one)
    return Answer(
        query=one.task, rater=one.rater, outcome=one.outcome, labels=labels, seconds=_seconds([one]), reason=one.reason
    )


def _consensus(desk: LabellingDesk, task: Task, counted: Sequence[Submission]) -> Answer:
    read = [(one.rater, desk.labels(one)) for one in counted]
    drawn = {rater: mask for rater, mask in read if mask is not None}
    labels: LabelMap | None = fused(drawn) if drawn else None
    outcome = Outcome.AMBIGUOUS if labels is None else outcome_of(labels)
    named = ", ".join(one.rater for one in counted)
    return Answer(
        query=task.id,
        rater=CONSENSUS,
        outcome=outcome,
        labels=labels if outcome.carries_label else None,
        seconds=_seconds(counted),
        reason=f"of {named}; disagreement {task.disagreement or 0.0:.3f}",
    )


def _seconds(submissions: Sequence[Submission]) -> float | None:
    known = [one.active_ms for one in submissions if one.active_ms is not None]
    return sum(known) / 1000 if known else None
