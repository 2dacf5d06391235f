"""What the bridge to Label Studio says to servers that answer oddly or not at all, and the page it makes; needs no Label Studio."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from xml.etree import ElementTree

import pytest

from alframe.errors import ConflictError, InvalidValue, NotFound, StoreUnavailable
from alframe.labelling import Forbidden, Unauthenticated
from alframe.oracles.label_studio import LabelStudio
from alframe.oracles.label_studio.board import LEFT_OPEN, label_config
from alframe.oracles.label_studio.service import Service, checked_url

Answer = tuple[int, dict[str, str], bytes]


class Script(HTTPServer):
    """Gives the answers it was told to, one after the other (the last one again and again), and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Reply)
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Reply(BaseHTTPRequestHandler):
    server: Script

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization") or ""))
        status, headers, body = self.server.answers[0] if len(self.server.answers) == 1 else self.server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._any()

    def do_POST(self) -> None:
        self._any()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setenv("LS", "f" * 40)
    monkeypatch.setattr("alframe.oracles.label_studio.service._PAUSES", (0.0, 0.0))
    with Script() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def said(status: int, value: object = None, **headers: str) -> Answer:
    return status, headers, b"" if value is None else json.dumps(value).encode()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (said(401, {"detail": "Invalid token."}), Unauthenticated, "refuses the token in LS .*Invalid token"),
        (said(403, {"detail": "no"}), Forbidden, "may not do that"),
        (said(404, {"detail": "No Task"}), NotFound, "No Task"),
        (said(400, {"validation_errors": {"title": ["too short"]}}), ConflictError, "too short"),
        (said(302, None, Location="https://elsewhere/"), InvalidValue, "https://elsewhere/; set the oracle's url"),
        (said(500), StoreUnavailable, "500"),
        ((200, {}, b"<html>a wiki</html>"), StoreUnavailable, "no Label Studio"),
    ],
)
def test_what_a_server_says_becomes_an_error_for_people(
    script: Script, answer: Answer, error: type[Exception], words: str
) -> None:
    script.answers = [answer]
    with pytest.raises(error, match=words):
        Service(script.url, "LS").get("/api/projects")
    assert "f" * 40 not in str(script.answers)


def test_reading_is_tried_again_and_writing_is_not(script: Script) -> None:
    service = Service(script.url + "/", "LS")
    script.answers = [said(502), said(500), said(200, {"id": 7})]
    assert service.get("/api/tasks/7") == {"id": 7}
    assert script.seen == [("GET", "/api/tasks/7", "Token " + "f" * 40)] * 3
    script.answers, script.seen = [said(502), said(200, {})], []
    with pytest.raises(StoreUnavailable):
        service.post("/api/projects", {})
    assert len(script.seen) == 1


def test_nobody_there(script: Script) -> None:
    url = script.url
    script.shutdown()
    script.server_close()
    service = Service(url, "LS")
    for call in (lambda: service.get("/api/projects"), lambda: service.post("/api/projects", {})):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            call()


def test_a_personal_token_is_exchanged_again_when_it_ran_out(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LS", "e30.e30.e30")
    service = Service(script.url, "LS")
    script.answers = [
        said(200, {"access": "one"}),
        said(200, {"id": 1}),
        said(401, {"detail": "expired"}),
        said(200, {"access": "two"}),
        said(200, {"id": 2}),
    ]
    assert [service.get("/api/tasks/1")["id"], service.get("/api/tasks/2")["id"]] == [1, 2]
    assert [auth for _, _, auth in script.seen] == ["", "Bearer one", "Bearer one", "", "Bearer two"]


def test_lists_come_in_pages(script: Script) -> None:
    service = Service(script.url, "LS")
    full = [{"id": number} for number in range(500)]
    script.answers = [
        said(200, {"tasks": full, "total": 502}),
        said(200, {"tasks": [*full[-1:], {"id": 900}], "total": 502}),
    ]
    assert len(service.tasks(3)) == 501
    script.answers = [said(200, {"results": [1], "next": "x"}), said(200, {"results": [2], "next": None})]
    assert list(service.projects()) == [1, 2]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ls.example.org",
        "ftp://a",
        "http://",
        "https://u:p@a",
        "http://a?b",
        "http://a#b",
        "http://a b",
        "http://a\\b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match="url is"):
        LabelStudio(url=url)
    assert checked_url("https://ls.example.org/labels/") == "https://ls.example.org/labels"


@pytest.mark.parametrize(
    "bad", [{"token": "f" * 40 + "-"}, {"margin": -1.0}, {"margin": float("nan")}, {"replicas": 0}]
)
def test_impossible_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(bad))):
        LabelStudio(**bad)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_page_is_sound_whatever_classes_are_called(axes: int) -> None:
    names = ("background", 'a "b" <c> & d', "ümlaut", "x")
    root = ElementTree.fromstring(label_config(names, axes))
    labels = [label.get("value") for label in root.iter("Label")]
    assert labels == [*names[1:], LEFT_OPEN]
    (image,) = root.iter("Image")
    assert ("valueList" in image.attrib) == (axes == 3)
    with pytest.raises(InvalidValue, match="left open"):
        label_config(("background", LEFT_OPEN), axes)
