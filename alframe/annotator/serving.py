"""Running the server: who may be served from where, the socket, and a shutdown that finishes what it began."""

from __future__ import annotations

import fcntl
import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from alframe.annotator.door import LOOPBACK, Door
from alframe.annotator.gate import Gate
from alframe.errors import ConflictError, InvalidValue, StoreUnavailable

__all__ = ["ADDRESS_FILE", "Addressed", "Serving", "address_of", "announced"]

ADDRESS_FILE = "label-server.json"
"""In the campaign's folder while a server runs: where it can be reached. The server holds a lock on it."""
_GRACE_SECONDS = 20
_IDLE_SECONDS = 65
"""Longer than the minute for which reverse proxies keep a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where to listen. Port 0 takes a free one.

    Raises:
        InvalidValue: for another host than the loopback without TLS and without a proxy; for half of a certificate.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise InvalidValue(f"a port is from 0 to 65535, got {self.port}")
        if (self.certificate is None) != (self.key is None):
            raise InvalidValue("TLS needs a certificate and its key: give both --tls-cert and --tls-key")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise InvalidValue(f"there is no file {file}")
        if self.host not in LOOPBACK and self.certificate is None and not self.proxy:
            raise InvalidValue(
                f"labels and passwords would travel in the clear to {self.host}: give --tls-cert and --tls-key, or stay on "
                "127.0.0.1 behind a reverse proxy that speaks TLS and say its address: --behind-proxy https://HOST"
            )

    @property
    def door(self) -> Door:
        """What the server takes. Raises InvalidValue for an address of a proxy that browsers cannot open."""
        if self.proxy:
            return Door.behind(self.proxy)
        names = LOOPBACK if self.host in LOOPBACK else ()
        return Door(hosts=names, secure=self.certificate is not None)

    def address(self, port: int) -> str:
        """What people open."""
        if self.proxy:
            return self.proxy.rstrip("/") + "/"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}/"

    def run(self, app: Gate, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; what was begun is finished. `ready` is told the address once it listens.

        Raises:
            StoreUnavailable: when the port is taken or the certificate cannot be used.
        """
        server = _Server(
            uvicorn.Config(
                app,
                host=self.host,
                port=self.port,
                ssl_certfile=self.certificate,
                ssl_keyfile=self.key,
                proxy_headers=bool(self.proxy),
                forwarded_allow_ips="127.0.0.1,::1" if self.proxy else "",
                server_header=False,
                access_log=False,
                log_level="warning",
                lifespan="on",
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            ),
            lambda port: ready(self.address(port)),
        )
        try:
            server.run()
        except KeyboardInterrupt:
            return
        except (SystemExit, ssl.SSLError, OSError) as error:
            raise StoreUnavailable(f"cannot serve on {self.host}:{self.port}; is the port taken? ({error})") from error
        if not server.started:
            raise StoreUnavailable(f"cannot serve on {self.host}:{self.port}; is the port taken?")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._ready(self.servers[0].sockets[0].getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """A server that runs now."""

    url: str
    pid: int

    def invitation(self, secret: str) -> str:
        """The link that signs in whoever opens it first; the secret is in the fragment, which browsers send to nobody."""
        return f"{self.url}#invite={secret}"


@contextmanager
def announced(folder: Path) -> Iterator[Callable[[str], None]]:
    """Let other commands find this server for the block; the function is told its address.

    Raises:
        ConflictError: when another server of this campaign runs on this machine.
    """
    path = folder / ADDRESS_FILE
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            there = address_of(folder)
            where = f" at {there.url} (process {there.pid})" if there else ""
            raise ConflictError(f"this campaign is served already{where}; stop that server first") from error

        def say(url: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
            file.flush()

        say("")
        try:
            yield say
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def address_of(folder: Path) -> Addressed | None:
    """The server that runs for the campaign in `folder` on this machine; None when there is none."""
    try:
        with (folder / ADDRESS_FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = json.loads(file.read() or "{}")
                return Addressed(url=str(said["url"]), pid=int(said["pid"])) if said.get("url") else None
            return None  # whoever wrote it is gone
    except FileNotFoundError:
        return None
