"""Outside the API: health, metrics, and the page itself."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from alframe.annotator.answers import json_of
from alframe.annotator.caller import Call
from alframe.annotator.door import LOOPBACK
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.annotator.views import VERSION
from alframe.errors import NotFound
from alframe.labelling import Scope

__all__ = ["STATIC", "root_routes"]

STATIC = Path(__file__).with_name("static")
_FORWARDED = ("forwarded", "x-forwarded-for", "via", "x-real-ip")


def root_routes(office: Office, meters: Meters) -> APIRouter:
    """``/``, ``/healthz``, ``/readyz`` and ``/metrics``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def page() -> Response:
        """The page, whoever asks: it has nothing in it."""
        index = STATIC / "index.html"
        if not index.is_file():
            raise NotFound("this installation has no page; the API is at /api/v1")
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    @routes.get("/healthz")
    async def alive() -> Response:
        """The process answers."""
        return json_of({"status": "alive", "version": VERSION})

    @routes.get("/readyz")
    def ready() -> Response:
        """The ledger and the pool answer, too. Raises StoreUnavailable."""
        office.progress_now()
        return json_of({"status": "ready", "campaign": office.campaign, "items": bool(office.pool.manifest_hash)})

    @routes.get("/metrics")
    async def metrics(request: Request, caller: Call) -> Response:
        """For Prometheus: on this machine as it is, from elsewhere with an administrator's token."""
        near = request.client is not None and request.client.host in LOOPBACK and not office.door.proxied
        if not near or any(name in request.headers for name in _FORWARDED):
            who = await run_in_threadpool(caller.credential)
            who.require(Scope.ADMIN)
        text = await run_in_threadpool(lambda: meters.text(office.progress_now()))
        return Response(text, 200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return routes
