"""What every request passes before a route sees it: host, size, credential, CSRF, rate; and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alframe.annotator.caller import Caller, cookie_name, csrf_token
from alframe.annotator.limits import Buckets
from alframe.annotator.meters import Meters
from alframe.annotator.office import Office
from alframe.annotator.problems import Refused, described
from alframe.annotator.views import BASE

__all__ = ["CSP", "Gate"]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; worker-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_KNOWN_AT_MOST = 10_000


class Gate:
    """The outermost ASGI application. Looks up nothing itself: who a secret belongs to is asked by the route, in its thread."""

    def __init__(
        self, app: ASGIApp, *, office: Office, meters: Meters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app, self.office, self.door, self.meters = app, office, office.door, meters
        self._cookie = cookie_name(office.campaign)
        self._buckets = Buckets(self.door.rate, self.door.burst, clock=clock)
        self._strangers = Buckets(self.door.strangers, 30 * self.door.strangers, clock=clock)
        self._known: dict[str, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.meters.status(scope, message["status"])
                self._dress(scope, MutableHeaders(scope=message))
            await send(message)

        with self.meters.request(scope):
            try:
                caller = self._admitted(request)
            except Refused as error:
                await described(error)(scope, receive, sending)
                return
            caller.keep(request)
            await self.app(scope, receive, sending)

    def _dress(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if self.door.secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")

    def _admitted(self, request: Request) -> Caller:
        """Who calls. Raises Refused."""
        self._check_host(request)
        self._check_size(request)
        secret, by_cookie = self._secret(request)
        mark = hashlib.sha256(secret.encode()).hexdigest()
        address = request.client.host if request.client else ""
        self._check_rate(mark if secret else f"address {address}")
        if secret and mark not in self._known and (wait := self._strangers.wait(address)) > 0:
            raise _too_many(wait, "too many unknown credentials from this address")
        signs_in = request.method == "POST" and request.url.path == f"{BASE}/session"
        if by_cookie and request.method not in _SAFE and not signs_in:
            self._check_csrf(request, secret)
        return Caller(
            secret,
            by_cookie=by_cookie,
            roster=self.office.roster,
            noted=lambda good: self._note(good, mark, address),
            door=self.door,
        )

    def _note(self, good: bool, mark: str, address: str) -> None:
        if not good:
            self._known.pop(mark, None)
            self._strangers.take(address)
        elif mark not in self._known:
            if len(self._known) >= _KNOWN_AT_MOST:
                self._known.clear()
            self._known[mark] = None

    def _check_host(self, request: Request) -> None:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if self.door.hosts and host not in self.door.hosts:
            raise Refused(421, "host", f"this server answers to {', '.join(self.door.hosts)}, not to {host!r}")

    def _check_size(self, request: Request) -> None:
        path, limit = request.url.path, self.door.plain_bytes
        if request.method == "PUT" and path.endswith("/draft"):
            limit = self.door.draft_bytes
        elif request.method == "PUT" and path.startswith((f"{BASE}/submissions/", f"{BASE}/adjudications/")):
            limit = self.door.submission_bytes
        said = request.headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > limit:
            raise Refused(413, "too-large", f"this request may have {limit} bytes, got {said[:20]}")
        request.scope["alframe.limit"] = limit

    def _secret(self, request: Request) -> tuple[str, bool]:
        """The secret of a request, and whether a cookie brought it."""
        said = request.headers.get("authorization")
        if said is not None:
            scheme, _, token = said.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Refused(401, "unauthenticated", "expected `Authorization: Bearer TOKEN`")
            return token.strip(), False
        return request.cookies.get(self._cookie, ""), True

    def _check_rate(self, key: str) -> None:
        wait = self._buckets.take(key)
        if wait > 0:
            raise _too_many(wait, f"more than {self.door.rate:g} requests a second")

    def _check_csrf(self, request: Request, secret: str) -> None:
        said = request.headers.get("x-csrf-token", "")
        if secret and not hmac.compare_digest(said.encode("utf-8", "replace"), csrf_token(secret).encode()):
            raise Refused(403, "csrf", "expected the header X-CSRF-Token that GET /session says; reload the page")


def _too_many(wait: float, what: str) -> Refused:
    return Refused(429, "rate", f"{what}; wait {wait:.1f} s", {"Retry-After": str(max(1, round(wait)))})
