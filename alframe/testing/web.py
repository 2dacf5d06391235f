"""A web server with one file that misbehaves on demand, for tests of downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["Site", "served"]


@dataclass
class Site:
    """A file on the web. `cuts`: after how many bytes each connection ends; `statuses`: what is answered first."""

    data: bytes
    tag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    name: str = "file"
    url: str = ""


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """Serve it on the loopback for the block; `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range") or ""
            site.asked.append(asked)
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            start = 0
            if asked and site.ranges and self.headers.get("If-Range") == site.tag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(site.data):
                    self.send_error(416)
                    return
            body = site.data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.data) - 1}/{len(site.data)}")
            self.send_header("ETag", site.tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/{site.name}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
