"""How routes answer and how they describe themselves to OpenAPI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from alframe.annotator.problems import MEDIA_TYPE, Refused
from alframe.annotator.schemas import ProblemOut

__all__ = ["Binary", "Identifier", "Limit", "Uuid", "body_of", "bytes_of", "json_of", "require_json", "said"]

Identifier = Annotated[str, Path(pattern=r"^[\w.:@-]{1,200}$")]
Uuid = Annotated[str, Path(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
_CODES = {
    400: "Not understood",
    401: "No credential, or an unknown, expired or revoked one",
    403: "Not allowed to this caller",
    404: "There is no such thing, or it is not shown to this caller",
    408: "The body did not arrive in time",
    409: "In conflict with what is there",
    412: "The draft was changed elsewhere",
    413: "Too large",
    415: "Expected application/json",
    421: "The server does not answer to this host",
    422: "The request does not fit",
    428: "Say which draft is replaced",
    429: "Too many requests",
    500: "The server failed",
    503: "Nothing can be stored now; send again",
}
_ANYWHERE = (401, 413, 421, 422, 429, 500, 503)
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)


def json_of(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status, headers, "application/json")


def bytes_of(
    data: bytes,
    media_type: str,
    *,
    name: str,
    match: str | None = None,
    packed: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Bytes that never change under their address; `name` is their entity tag, `match` the request's If-None-Match."""
    kept = {"ETag": f'"{name}"', "Cache-Control": "private, max-age=86400", "Vary": "Authorization, Cookie"}
    if match is not None and f'"{name}"' in match:
        return Response(status_code=304, headers=kept)
    coded = {"Content-Encoding": "gzip"} if packed else {}
    return Response(data, 200, {**kept, **coded, **(headers or {})}, media_type)


def require_json(content_type: str | None) -> None:
    """Raises Refused unless a request says that its body is JSON; no HTML form can say that."""
    if not _JSON.fullmatch(content_type or ""):
        raise Refused(415, "media-type", f"expected Content-Type: application/json, got {(content_type or '')[:100]!r}")


def said(
    *codes: int, ok: int = 200, empty: str = "", model: Any = None, media: str = "", note: str = ""
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: its success, and the problem documents that it may give besides those that any route may."""
    found: dict[int | str, dict[str, Any]] = {
        code: {
            "description": _CODES[code],
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemOut.__name__}"}}},
        }
        for code in sorted({*codes, *_ANYWHERE})
    }
    if model is not None:
        found[ok] = {"model": model, "description": note or "Done"}
    elif media:
        found[ok] = {"description": note, "content": {media: {"schema": {"type": "string", "format": "binary"}}}}
    if empty:
        found[204] = {"description": empty}
    return found


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The description of a JSON body that the route parses itself, in its thread."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": reference}}}}


_OPAQUE = {"schema": {"type": "string", "format": "binary"}}
Binary = {"requestBody": {"required": True, "content": {"application/octet-stream": _OPAQUE}}}
"""The description of an opaque body."""
