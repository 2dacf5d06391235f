"""A real server on the loopback, killed and raced: no draft that was saved is lost, and no label is there twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from alframe import failpoints
from alframe.annotator import Office, Serving, create_app
from alframe.labelling import LabellingDesk, Roster, TaskState, verify
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.annotating import square, submission, tasks_of
from alframe.testing.campaigns import blobs

CAMPAIGN = "glands"
POOL = blobs(6)


class Quiet:
    """A campaign that stands still."""

    def status(self) -> str:
        return "waiting"

    def overview(self) -> dict[str, Any]:
        return {}


class Server:
    """A labelling server in a forked process; it keeps its port over restarts."""

    def __init__(self, folder: Path, lease_seconds: float) -> None:
        self.folder, self.lease_seconds = folder, lease_seconds
        self.port, self.pid, self.url = 0, 0, ""

    def desk(self) -> LabellingDesk:
        ledger = SqlLabelling(f"sqlite:///{self.folder}/ledger.db")
        return LabellingDesk(ledger, FileArtifacts(self.folder / "store"), lease_seconds=self.lease_seconds)

    def start(self, failpoint: str = "", count: int = 1) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(reader)
                if failpoint:
                    failpoints._default = failpoints.kill_at(failpoint, count)
                serving = Serving(port=self.port)
                office = Office(self.desk(), POOL, CAMPAIGN, Quiet(), door=serving.door)
                serving.run(create_app(office), lambda url: (os.write(writer, url.encode()), os.close(writer)))
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as said:
            self.url = said.read().rstrip("/")
        assert self.url, "the server did not start"
        self.port = int(self.url.rpartition(":")[2])

    def ended(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def end(self, number: int) -> int:
        os.kill(self.pid, number)
        return self.ended()


class Rater:
    """A browser of one rater."""

    def __init__(self, server: Server, token: str) -> None:
        self.server, self.token = server, token

    def __call__(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = more.pop("headers", {}) | {"Authorization": f"Bearer {self.token}"}
        with httpx2.Client(base_url=f"{self.server.url}/api/v1", timeout=30) as client:
            return client.request(method, path, headers=headers, **more)

    def claim(self) -> Any:
        return self("POST", "/leases").json()

    def save(self, given: Any, data: bytes, tag: str | None = None) -> httpx2.Response:
        headers = {"If-None-Match": "*"} if tag is None else {"If-Match": f'"{tag}"'}
        return self("PUT", f"/leases/{given['lease']['id']}/draft", content=data, headers=headers)

    def hand_in(self, given: Any, name: str, drawn: Any = None) -> httpx2.Response:
        body = submission(square(given) if drawn is None else drawn, lease=given["lease"]["id"])
        return self("PUT", f"/submissions/{name}", json=body)


Open = Callable[..., tuple[Server, list[Rater]]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Asks tasks, enrolls raters and prepares a server that is not started yet."""
    servers: list[Server] = []

    def make(*, raters: int = 1, lease_seconds: float = 1200.0, **fields: Any) -> tuple[Server, list[Rater]]:
        server = Server(tmp_path, lease_seconds)
        servers.append(server)
        desk = server.desk()
        with desk.ledger:
            desk.ask(tasks_of(POOL, FileArtifacts(tmp_path / "store"), CAMPAIGN, **fields))
            roster = Roster(desk.ledger)
            for number in range(raters):
                roster.add(f"rater-{number}")
            return server, [Rater(server, roster.token(f"rater-{number}")) for number in range(raters)]

    yield make
    for server in servers:
        if server.pid:
            server.end(signal.SIGKILL)


def sound(server: Server, submissions: int) -> LabellingDesk:
    """The desk, whose audit holds; no place is taken twice."""
    desk = server.desk()
    assert verify(desk.ledger, desk.artifacts).problems == ()
    assert len(desk.ledger.submissions(CAMPAIGN)) == submissions
    assert all(task.counted <= task.taken <= task.replicas for task in desk.ledger.tasks(CAMPAIGN))
    return desk


POINTS = [
    *(
        f"artifact.mask.{step}"
        for step in ("before_write", "after_write", "after_fsync", "after_rename", "after_folder")
    ),
    "ledger.labelling.submit.before_commit",
    "ledger.labelling.submit.after_commit",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_server_killed_in_a_submission_keeps_the_draft_and_takes_the_label_once(opened: Open, point: str) -> None:
    server, (anna,) = opened()
    server.start(point)
    given, name = anna.claim(), str(uuid.uuid4())
    saved = anna.save(given, b"strokes").json()
    with pytest.raises(httpx2.TransportError):
        anna.hand_in(given, name)
    assert server.ended() == -signal.SIGKILL
    server.start()
    committed = point.endswith("after_commit")
    if not committed:
        again = anna.claim()
        assert again["lease"]["id"] == given["lease"]["id"]
        assert again["draft"]["tag"] == saved["tag"]
        assert anna("GET", f"/leases/{given['lease']['id']}/draft").content == b"strokes"
    answer = anna.hand_in(given, name)
    assert (answer.status_code, answer.json()["created"]) == ((200, False) if committed else (201, True))
    assert answer.json()["submission"]["standing"] == "on_time"
    with sound(server, 1).ledger as ledger:
        (stored,) = ledger.submissions(CAMPAIGN)
        assert stored.id == name
        assert ledger.task(given["task"]["id"]).state is TaskState.DONE
        labels = server.desk().labels(stored)
        assert labels is not None
        assert np.array_equal(labels.classes, square(given))


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_server_killed_while_it_saves_keeps_what_it_had_acknowledged(opened: Open, side: str) -> None:
    server, (anna,) = opened()
    server.start(f"ledger.labelling.save_draft.{side}_commit", 2)
    given = anna.claim()
    first = anna.save(given, b"one").json()["tag"]
    with pytest.raises(httpx2.TransportError):
        anna.save(given, b"one and two", first)
    assert server.ended() == -signal.SIGKILL
    server.start()
    path = f"/leases/{given['lease']['id']}/draft"
    assert anna("GET", path).content == (b"one" if side == "before" else b"one and two")
    assert anna.save(given, b"one and two", first).status_code == 200
    assert anna("GET", path).content == b"one and two"


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_server_killed_while_it_hands_out_gives_one_place_once(opened: Open, side: str) -> None:
    server, (anna, bo) = opened(raters=2, count=2)
    server.start(f"ledger.labelling.claim.{side}_commit")
    with pytest.raises(httpx2.TransportError):
        anna.claim()
    assert server.ended() == -signal.SIGKILL
    server.start()
    tasks = {rater.claim()["task"]["id"] for rater in (bo, anna, bo)}
    assert len(tasks) == 2
    sound(server, 0).ledger.close()


def test_an_acknowledgement_that_got_lost_changes_nothing(opened: Open) -> None:
    server, (anna,) = opened()
    server.start()
    given, name = anna.claim(), str(uuid.uuid4())
    body = json.dumps(submission(square(given), lease=given["lease"]["id"])).encode()
    head = f"PUT /api/v1/submissions/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {anna.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head.encode() + body)  # and gone, before the answer
    answers = [anna.hand_in(given, name) for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert sum(answer.json()["created"] for answer in answers) <= 1
    assert len({json.dumps(answer.json()["submission"]) for answer in answers}) == 1
    sound(server, 1).ledger.close()


def test_a_connection_cut_within_a_submission_leaves_nothing(opened: Open) -> None:
    server, (anna,) = opened()
    server.start()
    given, name = anna.claim(), str(uuid.uuid4())
    body = json.dumps(submission(square(given), lease=given["lease"]["id"])).encode()
    head = f"PUT /api/v1/submissions/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {anna.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head.encode() + body[:-10])
    assert anna.hand_in(given, name).status_code == 201
    sound(server, 1).ledger.close()


def test_two_tabs_share_a_lease_and_hand_in_one_label(opened: Open) -> None:
    server, (anna,) = opened()
    server.start()
    with ThreadPoolExecutor(4) as tabs:
        leases = list(tabs.map(lambda _: anna.claim()["lease"]["id"], range(8)))
        assert len(set(leases)) == 1
        given = anna.claim()
        saved = list(tabs.map(lambda n: anna.save(given, b"tab %d" % n).status_code, range(4)))
        assert sorted(saved) == [201, 412, 412, 412]
        drawn = [square(given) for _ in range(4)]
        for number, mask in enumerate(drawn):
            mask[0, number] = 1
        sent = list(tabs.map(lambda n: anna.hand_in(given, str(uuid.uuid4()), drawn[n]).status_code, range(4)))
    assert sorted(sent) == [201, 409, 409, 409]
    with sound(server, 1).ledger as ledger:
        refused = [event for event in ledger.events() if event.action == "submission.refused"]
        assert len(refused) == 3
        assert len({event.payload["mask"]["sha256"] for event in refused}) == 3


def test_raters_who_race_get_each_place_once(opened: Open) -> None:
    server, raters = opened(raters=5, count=10, replicas=2)
    server.start()

    def work(rater: Rater) -> int:
        done = 0
        while (answer := rater("POST", "/leases")).status_code == 201:
            given = answer.json()
            assert rater.hand_in(given, str(uuid.uuid4())).status_code == 201
            done += 1
        assert answer.status_code == 204
        return done

    with ThreadPoolExecutor(5) as threads:
        assert sum(threads.map(work, raters)) == 20
    with sound(server, 20).ledger as ledger:
        stored = ledger.submissions(CAMPAIGN)
        assert set(Counter(one.task for one in stored).values()) == {2}
        assert set(Counter((one.task, one.rater) for one in stored).values()) == {1}
        assert {one.standing.value for one in stored} == {"on_time"}


def test_the_last_place_goes_to_one_of_two(opened: Open) -> None:
    server, raters = opened(raters=2, count=1)
    server.start()
    with ThreadPoolExecutor(2) as threads:
        codes = list(threads.map(lambda rater: rater("POST", "/leases").status_code, raters))
    assert sorted(codes) == [201, 204]


@pytest.mark.parametrize("finishes", [True, False])
def test_an_expired_lease_moves_on_and_late_work_is_kept(opened: Open, finishes: bool) -> None:
    server, (anna, bo) = opened(raters=2, lease_seconds=0.0, count=1)
    server.start()
    mine = anna.claim()
    assert anna.save(mine, b"half").status_code == 201
    server.end(signal.SIGTERM)
    server.lease_seconds = 1200.0
    server.start()
    theirs = bo.claim()
    assert theirs["task"]["id"] == mine["task"]["id"]
    assert anna("POST", f"/leases/{mine['lease']['id']}/heartbeat").status_code == 409
    tag = anna("GET", f"/leases/{mine['lease']['id']}").json()["draft"]["tag"]
    assert anna.save(mine, b"half and more", tag).status_code == 200
    assert anna.hand_in(mine, str(uuid.uuid4())).json()["submission"]["standing"] == "extra"
    if finishes:
        assert bo.hand_in(theirs, str(uuid.uuid4())).json()["submission"]["standing"] == "on_time"
    else:
        assert bo("DELETE", f"/leases/{theirs['lease']['id']}").status_code == 204
    with sound(server, 2 if finishes else 1).ledger as ledger:
        counted = [one.rater for one in ledger.submissions(CAMPAIGN) if one.counts]
        assert counted == ["rater-1" if finishes else "rater-0"]
        assert ledger.task(mine["task"]["id"]).state is TaskState.DONE


def test_a_server_that_is_told_to_stop_finishes_what_it_began(opened: Open) -> None:
    server, raters = opened(raters=4, count=40)
    server.start()
    acknowledged = []

    def work(rater: Rater) -> None:
        with contextlib.suppress(httpx2.TransportError):
            while True:
                given = rater.claim()
                if rater.hand_in(given, name := str(uuid.uuid4())).status_code == 201:
                    acknowledged.append(name)
                    if len(acknowledged) == 6:
                        os.kill(server.pid, signal.SIGTERM)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, raters))
    assert (
        server.ended() == -signal.SIGTERM
    )  # the signal goes on once all is finished; the command line turns it into 0
    desk = server.desk()
    with desk.ledger:
        assert {one.id for one in desk.ledger.submissions(CAMPAIGN)} >= set(acknowledged)
        assert verify(desk.ledger, desk.artifacts).problems == ()
