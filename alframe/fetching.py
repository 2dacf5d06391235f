"""Files from the network: whole and as expected, or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests

from alframe.errors import ArtifactDamaged, InvalidValue, NotFound, StoreUnavailable

__all__ = ["cached", "fetch", "is_url"]

_PIECE = 1 << 16
"""What is written at a time; at most as much is lost when a connection ends."""
_DIGITS = {"sha256": 64, "md5": 32}
_SECONDS = 30.0
"""For a connection, and between two pieces."""
_PAUSES = (0.5, 2.0, 5.0)
"""Before each further try, in seconds; a try that brought something begins them anew."""


def is_url(text: str) -> bool:
    """Whether `text` is an address on the web rather than a path."""
    return text.startswith(("http://", "https://"))


def cached(url: str, sha256: str) -> Path:
    """A file of the web with this hash (64 hex digits), from the cache where it is there already.

    The cache is ``$ALFRAME_CACHE``, else ``$XDG_CACHE_HOME/alframe``, else ``~/.cache/alframe``; its files are named by their hash.
    Raises what :func:`fetch` raises.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("ALFRAME_CACHE") or Path(root) / "alframe")
    target = folder / sha256.lower()
    if not target.is_file():
        fetch(url, target, f"sha256:{sha256}")
    return target


def fetch(url: str, target: Path, digest: str, *, pauses: tuple[float, ...] = _PAUSES) -> None:
    """Bring the file at `url` to `target`, which appears once all its bytes are there and have the hash `digest`
    (``sha256:`` or ``md5:`` and hex digits; nothing for a file whose hash nobody published).

    What came before a connection ended stays beside it (``.part``) and is gone on from, in this call or in a later one. Two
    processes that want the same file fetch it once.

    Raises:
        InvalidValue: for an address that is not one or that holds a password, and for a digest that is not one.
        NotFound: when the server has no such file (404, 410), or refuses it.
        ArtifactDamaged: when the file has another hash; nothing of it is kept.
        StoreUnavailable: when the server cannot be reached or does not bring it to its end; says how far it came.
    """
    _check(url)
    kind, wanted = _parsed(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _alone(target.with_name(target.name + ".lock")):
        if target.is_file():
            return
        _complete(url, part, pauses)
        found = _hash(part, kind) if kind else ""
        if found != wanted:
            part.unlink()
            raise ArtifactDamaged(
                f"{url} should have {kind}:{wanted}, it has {kind}:{found}; is it another file, or the digest another one's?"
            )
        part.replace(target)
        _sync(target.parent)


def _check(url: str) -> None:
    try:
        parsed = urlsplit(url)
        host, secret = parsed.hostname, parsed.password or parsed.username
    except ValueError as problem:
        raise InvalidValue(f"expected an address like https://example.org/file, got {url!r}: {problem}") from problem
    if parsed.scheme not in ("http", "https") or not host:
        raise InvalidValue(f"expected an address like https://example.org/file, got {url!r}")
    if secret:
        raise InvalidValue(
            f"the address of {host} holds a name or password, which would be written into logs; leave it out"
        )


def _complete(url: str, part: Path, pauses: tuple[float, ...]) -> None:
    """Try until `part` holds the whole file."""
    left = list(pauses)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, before)
            return
        except requests.RequestException as problem:
            now = part.stat().st_size if part.exists() else 0
            if now > before:
                left = list(pauses)
            if not left:
                raise StoreUnavailable(
                    f"{url} came to {now:,} bytes and no further ({type(problem).__name__}: {problem}); they are kept, "
                    "and the next call goes on from there"
                ) from problem
        time.sleep(left.pop(0))


def _receive(url: str, part: Path, have: int) -> None:
    """Append what is missing to `part`, which holds `have` bytes. Raises requests.RequestException when it ends early."""
    note = part.with_name(part.name + ".tag")
    tag = note.read_text() if have and note.exists() else ""
    asked = {"Accept-Encoding": "identity"}
    if tag:  # the rest, if the file is still the one that the first bytes are of
        asked |= {"Range": f"bytes={have}-", "If-Range": tag}
    with requests.get(url, headers=asked, stream=True, timeout=_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable and tag:
            part.unlink()
            raise requests.ConnectionError("there are more bytes here than the server has; beginning anew")
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise NotFound(f"{url}: the server answers {answer.status_code} {answer.reason}; check the address")
        answer.raise_for_status()
        goes_on = answer.status_code == requests.codes.partial_content
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise requests.ConnectionError(
                f"asked for bytes from {have} on, got {answer.headers.get('Content-Range')!r}"
            )
        named = answer.headers.get("ETag", "")
        note.write_text(named if not named.startswith("W/") else answer.headers.get("Last-Modified", ""))
        length = answer.headers.get("Content-Length")
        with part.open("ab" if goes_on else "wb") as file:
            came = sum(file.write(piece) for piece in answer.iter_content(_PIECE))
            file.flush()
            os.fsync(file.fileno())
        if length is not None and came != int(length):
            raise requests.ConnectionError(f"{int(length):,} bytes were announced, {came:,} came")
    note.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process fetches this file."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _parsed(digest: str) -> tuple[str, str]:
    """Kind and hex digits. Raises InvalidValue."""
    kind, _, digits = digest.lower().partition(":")
    if digest and (len(digits) != _DIGITS.get(kind) or set(digits) - set(string.hexdigits)):
        raise InvalidValue(f"expected a digest like sha256:9f86… (64 hex digits) or md5:098f… (32), got {digest!r}")
    return kind, digits


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
