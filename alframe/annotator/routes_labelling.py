"""A rater's work: leases, drafts, submissions, progress."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response

from alframe.annotator import views
from alframe.annotator.answers import Binary, Identifier, Limit, Uuid, body_of, bytes_of, json_of, require_json, said
from alframe.annotator.caller import Body, Call, Caller, identified
from alframe.annotator.handing_in import handed_in, receipt_of
from alframe.annotator.incoming import SubmissionIn
from alframe.annotator.masks import gzipped
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.annotator.problems import Refused
from alframe.annotator.schemas import AssignmentOut, DraftSaved, HeartbeatOut, MineOut, ProgressOut, ReceiptOut
from alframe.annotator.together import Together
from alframe.errors import AlframeError, NotFound
from alframe.labelling import Assignment, Credential, DraftConflict, Scope

__all__ = ["draft_routes", "lease_routes", "submission_routes"]

_AGAIN = {"Retry-After": "10"}
_TAG = re.compile(r'"([\w-]{1,100})"')


def _claimed(office: Office, callers: Sequence[Caller]) -> list[Response | AlframeError]:
    """An answer to each caller who wants a task."""
    known = identified(office.roster, callers)
    asking = [who for who in known if isinstance(who, Credential)]
    given = iter(office.desk.claims(asking, office.campaign))
    office.changed()
    return [who if isinstance(who, AlframeError) else _handed_out(office, next(given)) for who in known]


def _handed_out(office: Office, given: Assignment | AlframeError | None) -> Response | AlframeError:
    if given is None:
        return Response(status_code=204, headers=_AGAIN)
    if isinstance(given, AlframeError):
        return given
    try:
        shown = office.assignment(given)
    except AlframeError as error:
        return error
    return json_of(shown, 201, {"Location": f"{views.BASE}/leases/{given.lease.id}"})


def lease_routes(office: Office, meters: Meters) -> APIRouter:
    """``/leases`` and ``/progress``."""
    claims: Together[Caller, Response] = Together(lambda callers: _claimed(office, callers))

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        yield
        claims.close()

    routes = APIRouter(tags=["leases"], lifespan=lifespan)
    desk = office.desk

    @routes.post(
        "/leases",
        status_code=201,
        responses=said(403, 404, ok=201, model=AssignmentOut, empty="Nothing is open; ask again later"),
    )
    async def claim(caller: Call) -> Response:
        """The task to work on now; after a reload the same one."""
        answer = await claims(caller)
        meters.claimed(answer.status_code == 201)
        return answer

    @routes.get("/leases/{lease}", responses=said(403, 404, model=AssignmentOut))
    def show(lease: Identifier, caller: Call) -> Response:
        """A lease of mine, whatever its state."""
        who = caller.credential()
        office.lease(who, lease)
        return json_of(office.assignment(desk.assignment(who, lease)))

    @routes.post("/leases/{lease}/heartbeat", responses=said(403, 404, 409, model=HeartbeatOut))
    def heartbeat(lease: Identifier, caller: Call) -> Response:
        """I am still at it."""
        who = caller.credential()
        office.lease(who, lease)
        return json_of(views.heartbeat(desk.heartbeat(who, lease)))

    @routes.delete("/leases/{lease}", status_code=204, responses=said(403, 404, empty="Given back"))
    def release(lease: Identifier, caller: Call) -> Response:
        """Give a task back; the draft is kept."""
        who = caller.credential()
        office.lease(who, lease)
        desk.release(who, lease)
        office.changed()
        return Response(status_code=204)

    @routes.get("/progress", responses=said(model=ProgressOut))
    def progress(caller: Call) -> Response:
        """How far the latest batch is."""
        return json_of(office.progress(caller.credential()))

    return routes


def draft_routes(office: Office) -> APIRouter:
    """``/leases/{id}/draft``."""
    routes = APIRouter(tags=["drafts"])
    desk = office.desk

    @routes.get(
        "/leases/{lease}/draft",
        responses=said(403, 404, media="application/octet-stream", note="As it was saved", empty="There is none"),
    )
    def read(lease: Identifier, caller: Call) -> Response:
        """The draft of a lease of mine, with its tag."""
        who = caller.credential()
        office.lease(who, lease)
        kept = desk.draft(who, lease)
        if kept is None:
            return Response(status_code=204)
        kind = kept.media_type if kept.media_type.isascii() and kept.media_type else "application/octet-stream"
        headers = {"ETag": f'"{kept.tag}"', "Content-Disposition": "attachment", "Last-Modified-At": kept.saved}
        return Response(kept.data, 200, {**headers, "Content-Type": kind})

    @routes.put(
        "/leases/{lease}/draft",
        responses={
            **said(400, 403, 404, 408, 409, 412, 428, model=DraftSaved),
            201: {"model": DraftSaved, "description": "The first draft"},
        },
        openapi_extra=Binary,
    )
    def save(lease: Identifier, request: Request, caller: Call, body: Body) -> Response:
        """Save a draft over the one with the tag in If-Match (or the first one: If-None-Match: *)."""
        who = caller.credential()
        tag = _condition(request.headers.get("if-match"), request.headers.get("if-none-match"))
        office.lease(who, lease)
        kind = request.headers.get("content-type", "application/octet-stream")
        try:
            kept = desk.save_draft(who, lease, body, media_type=kind, tag=tag)
        except DraftConflict as error:
            there = desk.draft(who, lease)
            now = {} if there is None else {"ETag": f'"{there.tag}"'}
            raise Refused(412, "draft-conflict", str(error), now, tag=there and there.tag) from error
        saved = {"tag": kept.tag, "saved": kept.saved}
        return json_of(saved, 201 if tag is None else 200, {"ETag": f'"{kept.tag}"'})

    return routes


def _condition(if_match: str | None, if_none_match: str | None) -> str | None:
    """The tag that is replaced, None for the first draft. Raises Refused."""
    if if_match is None and if_none_match is None:
        raise Refused(
            428, "condition", 'say which draft is replaced: If-Match: "TAG", or If-None-Match: * for the first one'
        )
    if if_match is None and if_none_match is not None and if_none_match.strip() == "*":
        return None
    found = _TAG.fullmatch((if_match or "").strip()) if if_none_match is None else None
    if found is None:
        raise Refused(400, "malformed", 'expected If-Match: "TAG" with one tag, or If-None-Match: *')
    return found[1]


def submission_routes(office: Office, meters: Meters) -> APIRouter:
    """``/submissions``."""
    routes = APIRouter(tags=["submissions"])
    desk = office.desk

    @routes.put(
        "/submissions/{submission}",
        responses={
            **said(400, 403, 404, 408, 409, 415, model=ReceiptOut, note="It was received before"),
            201: {"model": ReceiptOut, "description": "Received, and stored for good"},
        },
        openapi_extra=body_of(SubmissionIn),
    )
    def submit(submission: Uuid, request: Request, caller: Call, body: Body) -> Response:
        """Hand in a task, in time or late. The same again gives the same receipt."""
        require_json(request.headers.get("content-type"))
        who = caller.credential()
        receipt = handed_in(office, who, submission, body)
        return receipt_of(office, meters, who, receipt)

    @routes.get("/submissions", responses=said(403, model=list[MineOut]))
    def mine(caller: Call, limit: Limit = 20) -> Response:
        """My latest submissions, newest first."""
        who = caller.credential()
        found = desk.ledger.submissions(office.campaign, rater=who.rater, limit=limit)
        tasks = desk.ledger.tasks(office.campaign, ids=sorted({one.task for one in found}))
        items = {task.id: task.item for task in tasks}
        return json_of([views.mine(one, items[one.task]) for one in reversed(found)])

    @routes.get(
        "/submissions/{submission}/mask",
        responses=said(
            403, 404, media="application/octet-stream", note="uint8 classes in C order, the box's shape, gzip"
        ),
    )
    def mask(submission: Uuid, request: Request, caller: Call) -> Response:
        """The labels of a submission: one's own, or any with the scope review."""
        who = caller.credential()
        one = desk.ledger.submission(submission)
        if one.campaign != office.campaign:
            raise NotFound(f"no submission {submission} in campaign {office.campaign}")
        if one.rater != who.rater:
            who.require(Scope.REVIEW)
        labels = desk.labels(one)
        if labels is None or one.mask is None:
            raise NotFound(f"submission {submission} has no mask: its outcome is {one.outcome}")
        packed = gzipped(labels.classes.tobytes())
        match = request.headers.get("if-none-match")
        return bytes_of(packed, "application/octet-stream", name=one.mask.sha256[:32], match=match, packed=True)

    return routes
