"""A throw-away S3-speaking server on loopback for tests and benchmarks (moto, in threads of this process)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

__all__ = ["s3_server"]

BUCKET = "alframe-test"


@contextmanager
def s3_server() -> Iterator[str]:
    """A running server with one empty bucket; yields the bucket's address.

    While it runs, the environment (of child processes too) names its endpoint and throw-away credentials.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    wanted = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT"), timeout=30):
            pass
        yield f"s3://{BUCKET}"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()
