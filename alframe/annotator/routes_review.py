"""A reviewer's work: what several raters said, side by side, and the decision."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from alframe.annotator import views
from alframe.annotator.answers import Identifier, Limit, Uuid, body_of, json_of, require_json, said
from alframe.annotator.caller import Body, Call
from alframe.annotator.handing_in import adjudicated, receipt_of
from alframe.annotator.incoming import SubmissionIn
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.annotator.schemas import ReceiptOut, ReviewOut, ReviewTasksOut
from alframe.labelling import Scope, Task, TaskState

__all__ = ["review_routes"]


def review_routes(office: Office, meters: Meters) -> APIRouter:
    """``/review`` and ``/adjudications``."""
    routes = APIRouter(tags=["review"])
    desk = office.desk

    @routes.get("/review/tasks", responses=said(403, model=ReviewTasksOut))
    def listed(
        caller: Call,
        state: TaskState | None = None,
        after: Annotated[int, Query(ge=-1, le=2**53)] = -1,
        limit: Limit = 50,
    ) -> Response:
        """Tasks in the order in which they were asked, with who answered."""
        caller.credential().require(Scope.REVIEW)
        found = desk.ledger.tasks(office.campaign, state=state, after=after, limit=limit)
        return json_of({"tasks": _rows(office, found), "next": found[-1].place if len(found) == limit else None})

    @routes.get("/review/tasks/{task}", responses=said(403, 404, model=ReviewOut))
    def show(task: Identifier, caller: Call) -> Response:
        """A task, what everybody said about it, and how they agree."""
        caller.credential().require(Scope.REVIEW)
        found = office.task(task)
        everything = desk.ledger.submissions(office.campaign, tasks=[found.id])
        drawn = [(one.id, desk.labels(one)) for one in everything if one.current]
        pairs = [
            views.agreement_of(one, other, a, b)
            for (one, a), (other, b) in combinations(drawn, 2)
            if a is not None and b is not None
        ]
        judged = [views.judged(one) for one in everything]
        return json_of({"task": office.shown(found), "submissions": judged, "agreement": pairs})

    @routes.put(
        "/adjudications/{submission}",
        responses={
            **said(400, 403, 404, 408, 409, 415, model=ReceiptOut, note="It was received before"),
            201: {"model": ReceiptOut, "description": "It stands for the task from now on"},
        },
        openapi_extra=body_of(SubmissionIn),
    )
    def decide(submission: Uuid, request: Request, caller: Call, body: Body) -> Response:
        """Decide a task whose labels are all in."""
        require_json(request.headers.get("content-type"))
        who = caller.credential()
        return receipt_of(office, meters, who, adjudicated(office, who, submission, body))

    return routes


def _rows(office: Office, found: Sequence[Task]) -> list[dict[str, Any]]:
    raters: dict[str, list[str]] = {task.id: [] for task in found}
    for one in office.desk.ledger.submissions(office.campaign, tasks=list(raters)) if found else ():
        if one.current and one.rater not in raters[one.task]:
            raters[one.task].append(one.rater)
    return [
        {
            "id": task.id,
            "item": task.item,
            "state": task.state.value,
            "disagreement": task.disagreement,
            "replicas": task.replicas,
            "counted": task.counted,
            "raters": raters[task.id],
        }
        for task in found
    ]
