"""A small HTTP/1.1 client over asyncio for load tests: one connection, kept alive, a tenth of the work of a full client."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Answer", "Connection"]


class Answer(NamedTuple):
    """Status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Connection:
    """One connection to a server, opened at the first request and again when the server closed it."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._always = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __call__(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request and read the answer. A connection that was closed while idle is opened again, as browsers do.

        Raises OSError or EOFError when the server went away within the request.
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"{method} {path} HTTP/1.1\r\n{self._always}{more}Content-Length: {len(body)}\r\n\r\n"
        if self._writer is not None:
            try:
                return await self._exchange(head.encode() + body)
            except ConnectionError:
                pass
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
        return await self._exchange(head.encode() + body)

    async def _exchange(self, request: bytes) -> Answer:
        assert self._reader is not None
        assert self._writer is not None
        try:
            self._writer.write(request)
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
            size = int(found.get("content-length", "0"))
            data = await self._reader.readexactly(size) if size else b""
        except (OSError, EOFError):
            await self.close()
            raise
        if found.get("connection", "").lower() == "close":
            await self.close()
        return Answer(int(lines[0].split()[1]), found, data)

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
