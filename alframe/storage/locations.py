"""Where a pool or an artifact store may be: a folder, or a prefix of an object store. Only addresses are checked here.

Allowed are plain paths and ``file:///folder``, ``s3://bucket/prefix`` and ``gs://bucket/prefix``. Chained addresses (``a::b``),
other schemes, user names, ports and queries are refused: credentials and endpoints come from the environment alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from alframe.errors import InvalidValue
from alframe.hosts import address, is_internal

__all__ = ["OBJECT_SCHEMES", "locate"]

OBJECT_SCHEMES = ("s3", "gs")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@+-]*")


def locate(text: str, base: Path = Path()) -> Path | str:
    """An absolute folder (relative paths start from `base`), or the address of an object store in its one spelling.

    Raises:
        InvalidValue: for anything else.
    """
    if not text.strip() or "\0" in text:
        raise InvalidValue("expected a folder or an address, got an empty text or one with NUL")
    if "::" in text:
        raise InvalidValue(f"expected one address, not a chain of them, got {text!r}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.partition(":")[0] in ("file", *OBJECT_SCHEMES) and ":" in text:
            raise InvalidValue(f"expected {text.partition(':')[0]}:// with two slashes, got {text!r}")
        return (base / text).absolute()
    if scheme == "file":
        return _local(text, rest)
    if scheme in OBJECT_SCHEMES:
        return _object(scheme, rest)
    raise InvalidValue(f"expected a folder, file:///FOLDER, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, got {scheme}://")


def _local(text: str, rest: str) -> Path:
    host, slash, below = rest.partition("/")
    path = unquote(below)
    if host not in ("", "localhost") or not slash or set("?#") & set(below) or "\0" in path or not path.strip("/ "):
        raise InvalidValue(f"expected file:///FOLDER on this machine, got {text!r}")
    return Path("/", path)


def _object(scheme: str, rest: str) -> str:
    bucket, *segments = rest.removesuffix("/").split("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or is_internal(bucket) or address(bucket):
        raise InvalidValue(
            f"expected the name of a bucket (no user, port or IP address; endpoint and credentials belong into the "
            f"environment), got {bucket.rpartition('@')[2]!r}"
        )
    odd = [segment for segment in segments if not _SEGMENT.fullmatch(segment)]
    if odd:
        raise InvalidValue(f"expected a prefix of plain names (letters, digits and ._=@+-), got {odd[0]!r}")
    return "/".join([f"{scheme}://{bucket}", *segments])
