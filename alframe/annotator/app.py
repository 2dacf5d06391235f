"""The labelling server: the desk over HTTP. Decides nothing about labels; translates requests into calls of the desk."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from alframe.annotator import heap, problems
from alframe.annotator.caller import cookie_name
from alframe.annotator.gate import Gate
from alframe.annotator.incoming import InviteIn, SubmissionIn
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.annotator.routes_admin import admin_routes
from alframe.annotator.routes_images import image_routes, model_routes
from alframe.annotator.routes_labelling import draft_routes, lease_routes, submission_routes
from alframe.annotator.routes_review import review_routes
from alframe.annotator.routes_root import STATIC, root_routes
from alframe.annotator.routes_session import session_routes
from alframe.annotator.schemas import ProblemOut
from alframe.annotator.views import BASE, VERSION
from alframe.errors import AlframeError

__all__ = ["create_app", "openapi"]

_THREADS = 2
"""Calls of the desk at once, besides claims. More of them answer no faster, since Python runs one at a time, and each of them
is one that a claim has to wait for (see the decision on the labelling server)."""


class _Page(StaticFiles):
    """The page's files: always asked about, so that an upgrade is seen at once."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """One file."""
        answer = super().file_response(*arguments, **options)
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, or what the framework says about it."""
        if "\0" in path:
            raise HTTPException(404)
        return await super().get_response(path, scope)


def create_app(office: Office) -> Gate:
    """The ASGI application of one campaign's desk. It closes the desk's ledger when it is shut down."""
    api, meters = _api(office), Meters()
    for routes in (
        session_routes(office),
        lease_routes(office, meters),
        draft_routes(office),
        submission_routes(office, meters),
        image_routes(office),
        model_routes(office),
        review_routes(office, meters),
        admin_routes(office),
    ):
        api.include_router(routes, prefix=BASE)
    api.include_router(root_routes(office, meters))
    if STATIC.is_dir():
        api.mount("/static", _Page(directory=STATIC), name="static")
    api.add_exception_handler(AlframeError, problems.on_alframe)
    api.add_exception_handler(HTTPException, problems.on_http)
    api.add_exception_handler(RequestValidationError, problems.on_invalid)
    api.add_exception_handler(Exception, problems.on_surprise)
    return Gate(api, office=office, meters=meters)


def _api(office: Office) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        gc.collect()
        gc.freeze()  # what was loaded stays for good; looking through it all would stop the server for 0.1 s now and then
        heap.give_back()
        yield
        office.close()

    api = FastAPI(
        title="alframe labelling server",
        version=VERSION,
        summary="Tasks, leases, drafts, submissions and review of one campaign.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    generate = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _completed(generate(), cookie_name(office.campaign))
        return api.openapi_schema

    api.openapi = described  # type: ignore[method-assign]
    return api


def _completed(document: dict[str, Any], cookie: str) -> dict[str, Any]:
    """The description with what routes check themselves: bodies, problem documents, credentials."""
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for model in (InviteIn, SubmissionIn, ProblemOut):
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`alframe raters add`"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "with X-CSRF-Token to change anything",
        },
    }
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            open_to_all = (path, method) == (f"{BASE}/session", "post")
            route["security"] = [] if open_to_all else [{"token": []}, {"session": []}]
    return document


def openapi(office: Office) -> dict[str, Any]:
    """The OpenAPI description of a server."""
    app = create_app(office).app
    assert isinstance(app, FastAPI)
    return app.openapi()
