"""Signing in and out: an invite becomes a cookie, once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from alframe.annotator import views
from alframe.annotator.answers import body_of, json_of, require_json, said
from alframe.annotator.caller import Call, SmallBody, cookie_name, csrf_token
from alframe.annotator.door import SESSION_SECONDS
from alframe.annotator.incoming import InviteIn, parsed
from alframe.annotator.office import Office
from alframe.annotator.problems import Refused
from alframe.annotator.schemas import SessionOut
from alframe.labelling import Credential

__all__ = ["session_routes"]


def session_routes(office: Office) -> APIRouter:
    """``/session``."""
    routes = APIRouter(tags=["session"])
    name = cookie_name(office.campaign)

    def described(who: Credential, csrf: str | None) -> dict[str, object]:
        return {
            "rater": who.rater,
            "scopes": sorted(who.scopes),
            "csrf": csrf,
            "campaign": office.campaign,
            "server_version": views.VERSION,
            "classes": views.classes(office.pool.classes),
            "ttl": office.desk.lease_seconds,
        }

    @routes.post(
        "/session", status_code=201, responses=said(400, 415, ok=201, model=SessionOut), openapi_extra=body_of(InviteIn)
    )
    async def redeem(request: Request, body: SmallBody) -> Response:
        """Redeem a one-use invite: sets the session's cookie."""
        require_json(request.headers.get("content-type"))
        invite = parsed(InviteIn, body).invite
        secret, who = await run_in_threadpool(office.roster.redeem, invite, seconds=SESSION_SECONDS)
        answer = json_of(described(who, csrf_token(secret)), 201)
        answer.set_cookie(
            name,
            secret,
            max_age=round(SESSION_SECONDS),
            path="/",
            secure=office.door.secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    @routes.get("/session", responses=said(model=SessionOut))
    def show(caller: Call) -> Response:
        """Who is signed in."""
        who = caller.credential()
        return json_of(described(who, csrf_token(caller.secret) if caller.by_cookie else None))

    @routes.delete("/session", status_code=204, responses=said(403, 409, empty="Signed out"))
    def sign_out(caller: Call) -> Response:
        """Sign out: the session is forgotten, here and in the browser."""
        if caller.credential().kind != "session":
            raise Refused(409, "conflict", "a token is no session; `alframe raters revoke` withdraws it")
        office.roster.sign_out(caller.secret)
        answer = Response(status_code=204)
        answer.delete_cookie(name, path="/", secure=office.door.secure, httponly=True, samesite="strict")
        return answer

    return routes
