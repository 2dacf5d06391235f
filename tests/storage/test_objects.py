"""Artifacts in an object store: the contract against a real S3 dialogue, conditional puts, and what a broken network does."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from alframe.errors import ArtifactDamaged, ArtifactMissing, InvalidValue, StoreUnavailable
from alframe.storage import ObjectArtifacts, object_artifacts, objects
from alframe.storage.objects import ObjectFolder
from alframe.testing.contracts.artifacts import ArtifactsContract
from alframe.types import ArtifactRef

COUNT = itertools.count()


@pytest.fixture
def address(s3: str) -> str:
    return f"{s3}/store-{next(COUNT)}"


class TestObjectArtifacts(ArtifactsContract):
    @pytest.fixture
    def make(self, address: str) -> ObjectArtifacts:
        return ObjectArtifacts(address)


@pytest.fixture
def store(address: str) -> ObjectArtifacts:
    return ObjectArtifacts(address)


def _key(ref: ArtifactRef) -> str:
    return f"{ref.kind}/{ref.sha256[:2]}/{ref.sha256}"


def test_of_many_writers_of_a_name_one_wins(address: str) -> None:
    folder = ObjectFolder(address)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: folder.create("name", b"%d" % n), range(24)))
    winners = [number for number, answer in enumerate(answers) if answer is None]
    assert len(winners) == 1
    assert folder.read("name") == b"%d" % winners[0]
    assert {answer for answer in answers if answer is not None} == {b"%d" % winners[0]}


def test_every_flipped_bit_is_seen_and_put_heals(store: ObjectArtifacts) -> None:
    data = b"a mask"
    ref = store.put("mask", data)
    for byte, bit in itertools.product(range(len(data)), (0, 7)):
        altered = bytearray(data)
        altered[byte] ^= 1 << bit
        store.folder.overwrite(_key(ref), bytes(altered))
        with pytest.raises(ArtifactDamaged, match=ref.sha256[:12]):
            store.get(ref)
        assert store.put("mask", data) == ref
        assert store.get(ref) == data


@pytest.mark.parametrize("broken", [b"", b"a mas", b"a mask and more"])
def test_another_length_is_seen(store: ObjectArtifacts, broken: bytes) -> None:
    ref = store.put("mask", b"a mask")
    store.folder.overwrite(_key(ref), broken)
    with pytest.raises(ArtifactDamaged):
        store.get(ref)


def test_an_old_object_put_again_counts_as_new(store: ObjectArtifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = store.put("mask", b"x")
    written: list[str] = []
    overwrite = ObjectFolder.overwrite

    def seen(self: ObjectFolder, key: str, data: bytes) -> None:
        written.append(key)
        overwrite(self, key, data)

    monkeypatch.setattr(ObjectFolder, "overwrite", seen)
    store.put("mask", b"x")
    assert written == []
    monkeypatch.setattr(object_artifacts, "FRESH_SECONDS", -1e9)
    store.put("mask", b"x")
    assert written == [_key(ref)]


def test_stored_delete_and_quarantine(store: ObjectArtifacts) -> None:
    assert list(store.stored()) == []
    refs = sorted((store.put("mask", bytes([n])) for n in range(5)), key=lambda ref: ref.sha256)
    store.folder.overwrite("mask/readme", b"no artifact")
    found = list(store.stored())
    assert [file.ref for file in found] == [*refs, None]
    assert [file.place for file in found] == [*map(_key, refs), "mask/readme"]
    assert not store.delete(found[0], older=1e6)
    assert store.folder.read(_key(refs[0])) is not None
    assert store.delete(found[0], older=-1e6)
    assert store.delete(found[0], older=1e6)
    with pytest.raises(ArtifactMissing):
        store.get(refs[0])
    kept = store.quarantine(refs[1])
    assert kept.startswith(f"{store.folder}/.quarantine/mask-{refs[1].sha256}")
    assert [file.ref for file in store.stored()] == [*refs[2:], None]
    with pytest.raises(ArtifactMissing):
        store.quarantine(refs[1])
    with pytest.raises(InvalidValue, match="inside"):
        store.delete(object_artifacts.StoredFile(place="../other/x", age=1.0), older=0)


KILLED = """
import sys
from alframe.storage import ObjectArtifacts
ObjectArtifacts(sys.argv[1]).put("mask", b"precious" * 100)
"""


@pytest.mark.parametrize(("step", "there"), [("before_write", False), ("after_write", True)])
def test_kill_leaves_all_or_nothing(store: ObjectArtifacts, step: str, there: bool) -> None:
    command = [sys.executable, "-c", KILLED, store.folder.url]
    environment = os.environ | {"ALFRAME_FAILPOINT": f"artifact.mask.{step}"}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert [file.ref is not None for file in store.stored()] == [True] * there
    ref = store.put("mask", b"precious" * 100)
    assert store.get(ref) == b"precious" * 100


class _Flaky(BaseHTTPRequestHandler):
    """Keeps objects in a dictionary; the first `failures` requests end in the way of `fault`."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    log: list[tuple[str, bool]]
    failures: int
    fault: str

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        conditional = self.headers.get("If-None-Match") == "*"
        self.log.append(("PUT", conditional))
        failing = len(self.log) <= self.failures
        if failing and self.fault == "refused":
            return self._answer(503)
        if conditional and self.path in self.objects:
            return self._answer(412)
        self.objects[self.path] = body
        if failing:  # written, but the reply is lost
            self.close_connection = True
            self.connection.close()
            return None
        return self._answer(200)

    def do_HEAD(self) -> None:
        self._answer(200 if self.path in self.objects else 404)

    def do_GET(self) -> None:
        self.log.append(("GET", False))
        if len(self.log) <= self.failures:
            return self._answer(503)
        if self.path in self.objects:
            return self._answer(200, self.objects[self.path])
        return self._answer(404)


@contextmanager
def _flaky(fault: str, failures: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Flaky]]:
    handler = type("Handler", (_Flaky,), {"objects": {}, "log": [], "fault": fault, "failures": failures})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setattr(objects, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setitem(objects.RETRIES, "max_retries", 3)
    try:
        yield handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("fault", ["refused", "lost"])
def test_a_put_whose_reply_is_lost_succeeds_and_writes_once(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with _flaky(fault, 1, monkeypatch) as server:
        store = ObjectArtifacts("s3://bucket/prefix")
        ref = store.put("mask", b"data")
        assert store.get(ref) == b"data"
    puts = [conditional for method, conditional in server.log if method == "PUT"]
    assert puts == [True, True]
    assert list(server.objects.values()) == [b"data"]


def test_reads_are_repeated_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with _flaky("refused", 2, monkeypatch) as server:
        server.objects["/bucket/prefix/name"] = b"data"
        assert ObjectFolder("s3://bucket/prefix").read("name") == b"data"
        assert len(server.log) == 3


def test_a_store_that_stays_away_is_an_error_that_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    with _flaky("refused", 10**6, monkeypatch) as server:
        store = ObjectArtifacts("s3://bucket/away")
        with pytest.raises(StoreUnavailable, match=r"s3://bucket/away/mask/.*credentials"):
            store.put("mask", b"data")
        assert 2 <= len(server.log) <= 40
        assert server.objects == {}


def test_no_bucket_is_said(s3: str) -> None:
    with pytest.raises(StoreUnavailable, match="no-such-bucket"):
        ObjectArtifacts("s3://no-such-bucket/x").put("mask", b"data")


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254", "ftp://host", "http://0xA9FEA9FE/latest", "host:80", "http://["]
)
def test_an_endpoint_off_the_list_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(InvalidValue, match="endpoint"):
        ObjectArtifacts("s3://bucket/x").put("mask", b"data")
