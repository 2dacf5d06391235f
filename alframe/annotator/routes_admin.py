"""What the campaign's administrator sees: the audit, and how the campaign stands."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from alframe.annotator import views
from alframe.annotator.answers import Limit, json_of, said
from alframe.annotator.caller import Call
from alframe.annotator.office import Office
from alframe.annotator.people import Table
from alframe.annotator.schemas import CampaignOut, EventsOut
from alframe.labelling import Scope, TaskState

__all__ = ["admin_routes"]

_NEXT = 200


def admin_routes(office: Office) -> APIRouter:
    """``/events`` and ``/campaign``."""
    routes = APIRouter(tags=["administration"])
    ledger = office.desk.ledger
    table = Table(office.desk, office.campaign)

    @routes.get("/events", responses=said(403, model=EventsOut))
    def events(caller: Call, after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Limit = 100) -> Response:
        """The audit of the whole ledger in order, page by page."""
        caller.credential().require(Scope.ADMIN)
        found = ledger.events(after=after, limit=limit)
        following = found[-1].sequence if len(found) == limit else None
        return json_of({"events": [views.event(one) for one in found], "next": following})

    @routes.get("/campaign", responses=said(403, model=CampaignOut))
    def campaign(caller: Call) -> Response:
        """Rounds with their metrics, what comes next, who did what, and what it cost."""
        caller.credential().require(Scope.ADMIN)
        return json_of({**office.watch.overview(), "next": waiting(), "raters": table.rows()})

    def waiting() -> list[dict[str, Any]]:
        states = (TaskState.DISPUTED, TaskState.FULL, TaskState.OPEN)
        found = [task for state in states for task in ledger.tasks(office.campaign, state=state, limit=_NEXT)]
        return [
            {
                "task": task.id,
                "item": task.item,
                "box": views.box(task.box),
                "score": task.score,
                "state": task.state.value,
            }
            for task in found[:_NEXT]
        ]

    return routes
