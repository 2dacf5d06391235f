"""Refusals as problem documents (RFC 9457): one shape for everything that goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from alframe.errors import (
    AlframeError,
    ArtifactDamaged,
    ArtifactMissing,
    ConflictError,
    InvalidValue,
    NonFiniteError,
    NotFound,
    StoreUnavailable,
)
from alframe.labelling import DraftConflict, Forbidden, LeaseLost, SubmissionConflict, Unauthenticated

__all__ = ["MEDIA_TYPE", "Refused", "described", "on_alframe", "on_http", "on_invalid", "on_surprise", "problem"]

MEDIA_TYPE = "application/problem+json"
Headers = Mapping[str, str]


class Refused(AlframeError):
    """A request that the server itself refuses; `name` is the last part of the problem's type."""

    def __init__(self, status: int, name: str, detail: str, headers: Headers | None = None, **extras: Any) -> None:
        self.status, self.name, self.detail, self.headers, self.extras = status, name, detail, headers or {}, extras
        super().__init__(detail)


_KINDS: tuple[tuple[type[AlframeError], int, str, str], ...] = (
    (Unauthenticated, 401, "unauthenticated", "Sign in first"),
    (Forbidden, 403, "forbidden", "Not yours to do"),
    (LeaseLost, 409, "lease-lost", "The lease is not active any more"),
    (DraftConflict, 412, "draft-conflict", "The draft was changed elsewhere"),
    (SubmissionConflict, 409, "submission-conflict", "Another submission stands in the way"),
    (ConflictError, 409, "conflict", "Not in this state"),
    (NotFound, 404, "not-found", "There is no such thing"),
    (InvalidValue, 422, "invalid", "The request does not fit"),
    (NonFiniteError, 422, "invalid", "The request does not fit"),
    (StoreUnavailable, 503, "unavailable", "Nothing can be stored now"),
    (ArtifactMissing, 500, "damaged", "Stored bytes are missing"),
    (ArtifactDamaged, 500, "damaged", "Stored bytes are damaged"),
)
_HEADERS: Mapping[int, Headers] = {401: {"WWW-Authenticate": 'Bearer realm="alframe"'}, 503: {"Retry-After": "5"}}


def problem(status: int, name: str, title: str, detail: str, headers: Headers | None = None, **extras: Any) -> Response:
    """A problem document. `name` names the kind for programs, `title` for people; `detail` says what to do next."""
    body = {"type": f"urn:alframe:problem:{name}", "title": title, "status": status, "detail": detail, **extras}
    return Response(
        json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        status,
        {**_HEADERS.get(status, {}), **(headers or {})},
        MEDIA_TYPE,
    )


def described(error: AlframeError) -> Response:
    """The problem document of an error."""
    if isinstance(error, Refused):
        title = HTTPStatus(error.status).phrase
        return problem(error.status, error.name, title, error.detail, error.headers, **error.extras)
    for kind, status, name, title in _KINDS:
        if isinstance(error, kind):
            return problem(status, name, title, str(error))
    return problem(500, "failed", "The server failed", f"{type(error).__name__}; the server's log says more")


async def on_alframe(request: Request, error: Exception) -> Response:
    """What alframe raises on purpose."""
    assert isinstance(error, AlframeError)
    return described(error)


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    names = {404: "not-found", 405: "method-not-allowed", 400: "malformed", 413: "too-large"}
    title = HTTPStatus(error.status_code).phrase
    name = names.get(error.status_code, "refused")
    detail = "there is nothing at this path" if error.status_code == 404 else f"{request.method}: {error.detail}"
    return problem(error.status_code, name, title, detail, error.headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    """A path or query that does not fit its description."""
    assert isinstance(error, RequestValidationError)
    errors = [{"where": ".".join(map(str, one["loc"])), "expected": one["msg"]} for one in error.errors()]
    detail = "; ".join(f"{one['where']}: {one['expected']}" for one in errors[:5])
    return problem(422, "invalid", "The request does not fit", detail, errors=errors[:20])


async def on_surprise(request: Request, error: Exception) -> Response:
    """Our own mistake: no detail goes out, the log has it."""
    return problem(500, "failed", "The server failed", "nothing was acknowledged; the server's log says more")
