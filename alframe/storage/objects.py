"""A prefix of an object store (S3, Google Cloud Storage) as a folder of immutable objects.

An object appears whole or not at all, and is durable when the call returns. `create` takes the place of a rename: it is a put
on the condition that nothing has the name (``If-None-Match: *``). Reads, lists, deletes and unconditional puts are repeated
by the client with a growing pause; a conditional put is repeated here, because only the comparison with what is stored tells
whether a lost reply was a success.

Endpoint, region and credentials come from the environment (``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``GOOGLE_APPLICATION_CREDENTIALS`` …), never from an address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from alframe.errors import ExtraMissing, InvalidValue, StoreUnavailable
from alframe.hosts import is_internal
from alframe.storage.locations import locate

__all__ = ["ObjectFolder", "ObjectStatus"]

PAUSES = (0.1, 0.4, 1.6, 6.4)
"""Seconds before each repetition of a conditional put."""
RETRIES: dict[str, Any] = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=8), "base": 2},
}
"""How the client repeats idempotent calls."""
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStatus:
    """What a listing says of an object: its key below the folder, its size in bytes, and the seconds since it was written."""

    key: str
    size: int
    age: float


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """The objects below `url` (``s3://bucket/prefix``). Holds the address only: picklable, safe in threads and processes.

    Every method may raise StoreUnavailable, after the client gave up, or ExtraMissing without obstore.
    """

    url: str

    def __post_init__(self) -> None:
        found = locate(self.url)
        if not isinstance(found, str):
            raise InvalidValue(f"expected the address of an object store such as s3://bucket/prefix, got {self.url!r}")
        object.__setattr__(self, "url", found)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(f"{self.url}/{name}")

    @property
    def client(self) -> Any:
        """The obstore client of this folder."""
        scheme = self.url.partition(":")[0]
        return _client(self.url, _endpoint() if scheme == "s3" else "")

    def read(self, key: str, *, size: int | None = None) -> bytes | None:
        """The bytes of an object, None when there is none. With `size`, one of another size is not downloaded: b"" comes back."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self.explained("read", key):
            try:
                found = obstore.get(self.client, key)
                return b"" if size is not None and found.meta["size"] != size else bytes(found.bytes())
            except (FileNotFoundError, NotFoundError):
                return None

    def status(self, key: str) -> ObjectStatus | None:
        """Size and age of an object, None when there is none."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self.explained("look at", key):
            try:
                return _status(obstore.head(self.client, key))
            except (FileNotFoundError, NotFoundError):
                return None

    def create(self, key: str, data: bytes) -> bytes | None:
        """Write an object if nothing has its name; else return the bytes that have it (`data` itself is written then already)."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, GenericError

        with self.explained("write", key):
            for pause in (*PAUSES, None):
                try:
                    obstore.put(self.client, key, data, mode="create", use_multipart=False)
                    return None
                except AlreadyExistsError:
                    there = self.read(key)
                    if there is not None:
                        return there  # else a concurrent put of this name was refused or has not ended
                    if pause is None:
                        raise
                except GenericError:
                    if pause is None:
                        raise
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def overwrite(self, key: str, data: bytes) -> None:
        """Write an object, whatever has its name."""
        import obstore

        with self.explained("write", key):
            obstore.put(self.client, key, data, use_multipart=False)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is gone already."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self.explained("delete", key):
            try:
                obstore.delete(self.client, key)
            except (FileNotFoundError, NotFoundError):
                return

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the folder."""
        import obstore

        with self.explained("copy", source):
            obstore.copy(self.client, source, target)

    def listing(self) -> Iterator[ObjectStatus]:
        """All objects, in the order of their keys."""
        import obstore

        with self.explained("list", ""):
            for batch in obstore.list(self.client):
                yield from (_status(meta) for meta in batch)

    @contextmanager
    def explained(self, verb: str, key: str) -> Iterator[None]:
        """Turns what the client raises in the block into StoreUnavailable."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            if isinstance(error, StoreUnavailable):
                raise
            reason = str(error).strip().partition("\n")[0][:300]
            raise StoreUnavailable(
                f"cannot {verb} {self.url}/{key}: {reason}; check bucket, endpoint and credentials in the environment, "
                "then resume"
            ) from error


def _status(meta: Any) -> ObjectStatus:
    age = (datetime.now(UTC) - meta["last_modified"]).total_seconds()
    return ObjectStatus(key=meta["path"], size=meta["size"], age=age)


def _endpoint() -> str:
    """The S3 endpoint of the environment, "" for Amazon's own.

    Raises:
        InvalidValue: for one that is not http(s), or that is a link-local host.
    """
    url = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    try:
        parts = urlsplit(url)
        allowed = not url or (parts.scheme in ("http", "https") and bool(parts.hostname))
        allowed = allowed and not is_internal(parts.hostname or "")
    except ValueError:
        allowed = False
    if not allowed:
        raise InvalidValue(f"expected an http or https endpoint that is not link-local in {_ENDPOINTS[1]}, got {url!r}")
    return url


@lru_cache(maxsize=64)
def _client(url: str, endpoint: str) -> Any:
    try:
        from obstore.store import GCSStore, S3Store
    except ModuleNotFoundError as error:
        raise ExtraMissing("object stores need obstore: pip install 'alframe[s3]'") from error
    options: Any = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=5)}
    retries: Any = dict(RETRIES)
    if url.startswith("gs://"):
        return GCSStore.from_url(url, client_options=options, retry_config=retries)
    if not endpoint:
        return S3Store.from_url(url, client_options=options, retry_config=retries)
    options["allow_http"] = endpoint.startswith("http://")
    return S3Store.from_url(url, config={"endpoint": endpoint}, client_options=options, retry_config=retries)
