"""How the server is reached and what it takes: addresses, cookies, limits."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from alframe.errors import InvalidValue
from alframe.labelling import DRAFT_BYTES

__all__ = ["LOOPBACK", "SESSION_SECONDS", "Door"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SESSION_SECONDS = 14 * 86400.0
"""How long a browser stays signed in: an invite works once, and a round of labelling lasts days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What stands between the network and the desk.

    `hosts` are the names that requests may address (empty = any), which keeps other sites from reaching a server on the loopback
    by a name of their own. `secure`: browsers reach it by https. `proxied`: requests come through a reverse proxy, so the
    peer's address proves nothing. Limits are bytes of a request's body; `rate` requests a second by credential, in bursts of
    `burst`; `strangers` are unknown credentials a second by address. `pixels` is the largest box whose masks are taken.

    Raises:
        InvalidValue: for limits that are not positive.
    """

    hosts: tuple[str, ...] = LOOPBACK
    secure: bool = False
    proxied: bool = False
    plain_bytes: int = 64 * 1024
    draft_bytes: int = DRAFT_BYTES
    submission_bytes: int = 48 * 2**20
    pixels: int = 2**28
    rate: float = 60.0
    burst: int = 600
    strangers: float = 2.0
    body_seconds: float = 300.0

    def __post_init__(self) -> None:
        limits = (self.plain_bytes, self.draft_bytes, self.submission_bytes, self.pixels, self.rate, self.burst)
        if min(*limits, self.strangers, self.body_seconds) <= 0:
            raise InvalidValue("limits of the labelling server are positive numbers")

    @classmethod
    def behind(cls, address: str) -> Door:
        """The door of a server that a reverse proxy makes reachable at `address`.

        Raises:
            InvalidValue: unless it is ``https://HOST`` or ``https://HOST:PORT`` (``http`` on the loopback only).
        """
        parts = urlsplit(address)
        local = parts.hostname in LOOPBACK
        sound = parts.hostname and not parts.path.strip("/") and not parts.query and "@" not in parts.netloc
        if not sound or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise InvalidValue(
                f"expected the address that people open, such as https://labels.hospital.example, got {address!r} "
                "(the page must be at the root of its host, and passwords and paths have no place in it)"
            )
        hosts = (parts.hostname or "",) if local else (parts.hostname or "", *LOOPBACK)
        return cls(hosts=tuple(dict.fromkeys((*hosts, *LOOPBACK))), secure=parts.scheme == "https", proxied=True)
