"""Who calls: the secret of a request, who that is, and the body once it is clear that somebody may send one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated

import anyio
from anyio import to_thread
from fastapi import Depends
from starlette.requests import ClientDisconnect, Request

from alframe.annotator.door import Door
from alframe.annotator.problems import Refused
from alframe.labelling import Credential, Roster, Unauthenticated

__all__ = ["Body", "Call", "Caller", "SmallBody", "cookie_name", "csrf_token", "identified"]

_KEY = "alframe.caller"


def cookie_name(campaign: str) -> str:
    """Cookies do not know ports: servers of two campaigns on one host must not overwrite each other's."""
    return f"alframe_session_{hashlib.sha256(campaign.encode()).hexdigest()[:8]}"


def csrf_token(session: str) -> str:
    """What a page must send along with its cookie. Derived from the session's 256 random bits, so nothing has to be kept."""
    return hmac.new(session.encode(), b"alframe csrf", hashlib.sha256).hexdigest()


class Caller:
    """The caller of one request. Who it is, is looked up once, when a route asks; `noted` is told whether the secret is good."""

    def __init__(
        self, secret: str, *, by_cookie: bool, roster: Roster, noted: Callable[[bool], None], door: Door
    ) -> None:
        self.secret, self.by_cookie, self.door = secret, by_cookie, door
        self._roster, self._noted = roster, noted
        self._known: Credential | None = None

    def credential(self) -> Credential:
        """Who calls. Raises Unauthenticated."""
        if self._known is None:
            (who,) = identified(self._roster, [self])
            if isinstance(who, Unauthenticated):
                raise who
            self._known = who
        return self._known

    def found(self, who: Credential | Unauthenticated) -> Credential | Unauthenticated:
        """What the roster says of this caller's secret, noted."""
        self._noted(isinstance(who, Credential))
        return who

    def keep(self, request: Request) -> None:
        """Remember this caller for the routes of a request."""
        request.scope[_KEY] = self


def identified(roster: Roster, callers: Sequence[Caller]) -> list[Credential | Unauthenticated]:
    """Who several callers are, or why nobody, looked up together."""
    named = [caller for caller in callers if caller.secret]
    found = iter(roster.identify([caller.secret for caller in named]))
    nobody = "no credential; open the link that you were given, or send a token"
    return [caller.found(next(found)) if caller.secret else Unauthenticated(nobody) for caller in callers]


def _caller(request: Request) -> Caller:
    found = request.scope[_KEY]
    assert isinstance(found, Caller)
    return found


async def _call(request: Request) -> Caller:
    return _caller(request)


async def _body(request: Request) -> bytes:
    """The body of a request that may be large: read only when the caller is known."""
    await to_thread.run_sync(_caller(request).credential)
    return await _read(request)


async def _small_body(request: Request) -> bytes:
    """The body of a request that is small whoever sends it."""
    return await _read(request)


async def _read(request: Request) -> bytes:
    most = request.scope["alframe.limit"]
    parts, size = [], 0
    try:
        with anyio.fail_after(_caller(request).door.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Refused(413, "too-large", f"this request may have {most} bytes", {"Connection": "close"})
                parts.append(part)
    except TimeoutError as error:
        raise Refused(408, "timeout", "the request's body did not arrive in time; send it again") from error
    except ClientDisconnect as error:
        raise Refused(400, "malformed", "the connection ended within the request") from error
    return b"".join(parts)


Call = Annotated[Caller, Depends(_call)]
Body = Annotated[bytes, Depends(_body)]
SmallBody = Annotated[bytes, Depends(_small_body)]
