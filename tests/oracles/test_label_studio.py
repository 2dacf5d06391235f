"""A real Label Studio behind the oracle's port: tasks with pre-fill appear, annotations come back, nothing is lost or doubled."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

from alframe.errors import NotFound, StoreUnavailable
from alframe.labelling import LabellingDesk, Roster, Unauthenticated, refusals, verify
from alframe.oracles import Simulated
from alframe.oracles.label_studio import LabelStudio, LabelStudioOracle
from alframe.oracles.label_studio.board import CHOICES, KEY, LEFT_OPEN, shown_box
from alframe.oracles.label_studio.brush import decode, encode
from alframe.ports import Oracle, Pool
from alframe.runtime import InlineExecutor
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.campaigns import blobs, small_campaign
from alframe.testing.contracts.oracle import CAMPAIGN, OracleContract, a_query
from alframe.testing.label_studio import LabelStudioServer, label_studio_server
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.types import Outcome, Query

pytestmark = pytest.mark.slow

VARIABLE = "LABEL_STUDIO_API_KEY"


@pytest.fixture(scope="session")
def server() -> Iterator[LabelStudioServer]:
    """A Label Studio of the session's own, or a skip; tests may kill and restart it."""
    try:
        with label_studio_server() as server:
            yield server
    except NotFound as error:
        pytest.skip(str(error))


class Annotator:
    """People at Label Studio's page, as far as its interface shows them: one project at a time."""

    def __init__(self, server: LabelStudioServer, campaign: str) -> None:
        self.server, self._campaign = server, campaign
        self._users: dict[str, int] = {}

    def call(self, method: str, path: str, **content: Any) -> Any:
        headers = {"Authorization": f"Token {self.server.token}"}
        answer = requests.request(method, self.server.url + path, headers=headers, timeout=60, **content)
        assert answer.status_code < 300, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    @property
    def project(self) -> dict[str, Any]:
        found = self.call("GET", "/api/projects", params={"page_size": 1000})["results"]
        (mine,) = [one for one in found if f"[alframe: {self._campaign}]" in one["description"]]
        return dict(mine)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """By our id: what Label Studio has of each task, predictions and annotations included."""
        query = {"project": self.project["id"], "fields": "all", "page_size": 1000}
        found = self.call("GET", "/api/tasks", params=query)["tasks"]
        tasks = {one["data"][KEY]: one for one in found}
        assert len(tasks) == len(found), "a task is there twice"
        return tasks

    def user(self, email: str) -> int:
        """The number of the user with this address, made when new."""
        if email not in self._users:
            known = {one["email"]: one["id"] for one in self.call("GET", "/api/users/")}
            if email not in known:
                made = {"email": email, "username": email, "password": "a password nobody types"}
                known[email] = self.call("POST", "/api/users/", json=made)["id"]
            self._users[email] = known[email]
        return self._users[email]

    def picture(self, path: str) -> NDArray[np.uint8]:
        headers = {"Authorization": f"Token {self.server.token}"}
        return np.asarray(
            Image.open(requests.get(self.server.url + path, headers=headers, stream=True, timeout=60).raw)
        )

    def annotate(self, task: str, result: Sequence[dict[str, Any]], email: str = "", **more: Any) -> int:
        body = {"result": list(result), "completed_by": self.user(email or self.server.email), **more}
        where = f"/api/tasks/{self.tasks()[task]['id']}/annotations/"
        return int(self.call("POST", where, json=body)["id"])

    def edit(self, annotation: int, result: Sequence[dict[str, Any]]) -> None:
        self.call("PATCH", f"/api/annotations/{annotation}/", json={"result": list(result)})

    def delete(self, annotation: int) -> None:
        self.call("DELETE", f"/api/annotations/{annotation}/")


def strokes(classes: NDArray[np.uint8], names: Sequence[str]) -> list[dict[str, Any]]:
    """What the page saves when each class of a map was painted, with one region a class and slice."""
    regions = []
    for page, plane in enumerate(classes if classes.ndim == 3 else [classes]):
        for number in np.unique(plane):
            if number:
                name = LEFT_OPEN if number == 255 else names[number]
                region = {
                    "id": uuid.uuid4().hex[:8],
                    "type": "brushlabels",
                    "from_name": "classes",
                    "to_name": "image",
                    "original_width": plane.shape[1],
                    "original_height": plane.shape[0],
                    "image_rotation": 0,
                    "value": {"format": "rle", "rle": encode(plane == number), "brushlabels": [name]},
                }
                regions.append(region | ({"item_index": page} if classes.ndim == 3 else {}))
    return regions


def choice(outcome: Outcome) -> dict[str, Any]:
    return {"type": "choices", "from_name": "outcome", "to_name": "image", "value": {"choices": [outcome.value]}}


def reason(text: str) -> dict[str, Any]:
    return {"type": "textarea", "from_name": "reason", "to_name": "image", "value": {"text": [text]}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabellingDesk]:
    with SqlLabelling(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield LabellingDesk(ledger, FileArtifacts(tmp_path / "artifacts"))


@pytest.fixture
def token(server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, server.token)


def bound(pool: Pool, desk: LabellingDesk, server: LabelStudioServer, **parameters: Any) -> LabelStudioOracle:
    return LabelStudio(**{"url": server.url, "blind_share": 0.0, "margin": 0.0, **parameters}).bind(pool, desk)


class TestLabelStudio(OracleContract):
    """Campaigns have names of their own here: the server outlives a test."""

    @pytest.fixture(autouse=True)
    def _place(self, desk: LabellingDesk, server: LabelStudioServer, token: None, pool: Pool) -> Iterator[None]:
        self.desk, self.server, self.pool_ = desk, server, pool
        yield
        for one in Annotator(server, CAMPAIGN).call("GET", "/api/projects", params={"page_size": 1000})["results"]:
            Annotator(server, CAMPAIGN).call("DELETE", f"/api/projects/{one['id']}")

    def make(self, pool: Pool) -> Oracle:
        return bound(pool, LabellingDesk(self.desk.ledger, self.desk.artifacts), self.server)

    def work(self, oracle: Oracle, queries: Sequence[Query]) -> None:
        people = Annotator(self.server, CAMPAIGN)
        for query in queries:
            for rater in ("anna", "bo"):
                classes = self.pool_.truth(query.item, rater).classes[query.box.slices]
                people.annotate(query.id, strokes(classes, self.pool_.classes), f"{rater}@example.org")


@pytest.fixture
def asked(
    desk: LabellingDesk, server: LabelStudioServer, token: None
) -> Iterator[tuple[LabelStudioOracle, Query, Annotator]]:
    """An oracle with one query, and somebody to annotate it."""
    name = f"one-{uuid.uuid4().hex[:8]}"
    oracle, query = bound(blobs(4), desk, server), a_query("blob-00", (2, 3), (12, 15))
    oracle.ask(name, [replace(query, id=uuid.uuid4().hex)])
    people = Annotator(server, name)
    yield oracle, replace(query, id=next(iter(people.tasks()))), people
    oracle.close()


def region(value: int = 1) -> NDArray[np.uint8]:
    classes = np.zeros((10, 12), np.uint8)
    classes[3:6, 4:9] = value
    return classes


NAMES = ("background", "blob")


def collected(asked: tuple[LabelStudioOracle, Query, Annotator]) -> list[tuple[str, Outcome, NDArray[np.uint8] | None]]:
    oracle, query, people = asked
    answers = oracle.collect(people._campaign, [query])
    return [(one.rater, one.outcome, None if one.labels is None else one.labels.classes) for one in answers]


def test_tasks_appear_with_their_pictures_and_pre_fill(
    desk: LabellingDesk, server: LabelStudioServer, token: None
) -> None:
    pool, name = blobs(4), f"prefill-{uuid.uuid4().hex[:8]}"
    query = replace(a_query("blob-00", (2, 3), (12, 15)), id=uuid.uuid4().hex)
    arrays = {"classes": region(), "uncertainty": np.zeros((10, 12), np.float16)}
    query = replace(query, prefill=desk.artifacts.put_arrays("prefill", arrays))
    hidden = replace(a_query("blob-02", (0, 0), (28, 28)), id=uuid.uuid4().hex)
    oracle = bound(pool, desk, server)
    for _ in range(2):  # and again: nothing is there twice
        oracle.ask(name, [query, hidden])
    people = Annotator(server, name)
    assert people.project["maximum_annotations"] == 1
    assert people.project["show_collab_predictions"]
    assert people.project["model_version"] == "alframe"
    tasks = people.tasks()
    assert tasks.keys() == {query.id, hidden.id}
    (prediction,) = tasks[query.id]["predictions"]
    (painted,) = prediction["result"]
    assert painted["value"]["brushlabels"] == ["blob"]
    assert np.array_equal(decode(painted["value"]["rle"], (10, 12)), region() == 1)
    assert tasks[hidden.id]["predictions"] == []
    shown = tasks[query.id]["data"]
    assert np.array_equal(people.picture(shown["image"]), pool.image("blob-00", query.box)[0])
    assert requests.get(server.url + shown["image"], timeout=60).status_code == 401  # only for those who signed in


def test_what_is_painted_comes_back_edits_supersede_and_deletions_are_events(
    asked: tuple[LabelStudioOracle, Query, Annotator], desk: LabellingDesk
) -> None:
    people, query = asked[2], asked[1]
    drawn = region()
    drawn[0, :4] = 255
    unique = str(uuid.uuid4())
    first = people.annotate(query.id, strokes(drawn, NAMES), unique_id=unique, lead_time=12.5)
    again = requests.post(  # an acknowledgement was lost: the client sends the same again
        f"{people.server.url}/api/tasks/{people.tasks()[query.id]['id']}/annotations/",
        headers={"Authorization": f"Token {people.server.token}"},
        json={"result": strokes(drawn, NAMES), "unique_id": unique},
        timeout=60,
    )
    assert again.status_code == 409
    for _ in range(2):
        ((rater, outcome, classes),) = collected(asked)
        assert (rater, outcome) == ("anna@example.org", Outcome.LABELED)
        assert np.array_equal(classes, drawn)
    (stored,) = desk.ledger.submissions(people._campaign)
    assert (stored.active_ms, stored.client.split()[:2]) == (12500, ["label-studio", f"annotation-{first}"])
    assert desk.ledger.raters()[0].asserted

    people.edit(first, strokes(region(), NAMES))
    ((_, _, classes),) = collected(asked)
    assert np.array_equal(classes, region())
    submissions = desk.ledger.submissions(people._campaign)
    assert [one.supersedes for one in submissions] == [None, stored.id]

    people.delete(first)
    for _ in range(2):
        assert len(collected(asked)) == 1  # the label stands
    second = people.annotate(query.id, [choice(Outcome.EMPTY_CONFIRMED), reason("stroma only")])
    ((_, outcome, classes),) = collected(asked)
    assert outcome is Outcome.EMPTY_CONFIRMED
    assert classes is not None
    assert not classes.any()
    actions = [(e.action, e.payload.get("source")) for e in desk.ledger.events() if e.action.startswith("bridge.")]
    assert [one for one in actions if one[0] != "bridge.read"] == [("bridge.deleted", f"annotation-{first}")]
    third = desk.ledger.submissions(people._campaign)[-1]
    assert (third.supersedes, third.reason) == (submissions[-1].id, "stroma only")
    assert third.client.split()[1] == f"annotation-{second}"
    assert verify(desk.ledger, desk.artifacts).problems == ()


@pytest.mark.parametrize(
    ("result", "more", "outcome"),
    [
        ([], {}, Outcome.EMPTY_CONFIRMED),
        ([choice(Outcome.UNUSABLE), reason("torn")], {}, Outcome.UNUSABLE),
        ([*strokes(region(), NAMES), choice(Outcome.AMBIGUOUS)], {}, Outcome.AMBIGUOUS),  # the pre-fill was left there
        (strokes(np.full((10, 12), 255, np.uint8), NAMES), {}, Outcome.AMBIGUOUS),
    ],
)
def test_outcomes(
    asked: tuple[LabelStudioOracle, Query, Annotator], result: list[Any], more: dict[str, Any], outcome: Outcome
) -> None:
    asked[2].annotate(asked[1].id, result, **more)
    assert [one[1] for one in collected(asked)] == [outcome]


def test_a_skip_gives_the_task_to_somebody_else(
    asked: tuple[LabelStudioOracle, Query, Annotator], desk: LabellingDesk
) -> None:
    people, query = asked[2], asked[1]
    Roster(desk.ledger).add("bo@example.org")  # otherwise nobody is left to ask
    people.annotate(query.id, [], was_cancelled=True)
    assert collected(asked) == []
    people.annotate(query.id, strokes(region(), NAMES), "bo@example.org")
    assert [one[:2] for one in collected(asked)] == [("bo@example.org", Outcome.LABELED)]


def test_what_cannot_be_a_label_is_refused_until_it_is_repaired(
    asked: tuple[LabelStudioOracle, Query, Annotator], desk: LabellingDesk
) -> None:
    people, query = asked[2], asked[1]
    (good,) = strokes(region(), NAMES)
    wrong = [
        ({**good, "type": "polygonlabels", "value": {"points": []}}, "only brush strokes"),
        ({**good, "original_width": 13}, "12 wide and 10 high"),
        ({**good, "image_rotation": 90}, "not turned"),
        ({**good, "item_index": 1}, "pages 0 to 0"),
        ({**good, "value": {**good["value"], "brushlabels": ["Blob"]}}, "expected one class"),
        ({**good, "value": {**good["value"], "rle": good["value"]["rle"][:9]}}, "not complete"),
    ]
    number = people.annotate(query.id, [wrong[0][0]])
    for bad, said in wrong:
        people.edit(number, [bad])
        for _ in range(2):
            assert collected(asked) == []
        (found,) = refusals(desk.ledger, people._campaign)
        assert said in found.problem
    people.edit(number, [good, choice(Outcome.EMPTY_CONFIRMED)])
    assert collected(asked) == []
    assert CHOICES[Outcome.EMPTY_CONFIRMED] in refusals(desk.ledger, people._campaign)[0].problem
    people.edit(number, [good])
    assert len(collected(asked)) == 1
    assert refusals(desk.ledger, people._campaign) == ()
    assert sum(event.action == "bridge.refused" for event in desk.ledger.events()) == len(wrong) + 1


def test_two_annotations_of_one_person_are_one_answer(
    asked: tuple[LabelStudioOracle, Query, Annotator], desk: LabellingDesk
) -> None:
    """The page lets a person annotate twice; the later one counts, and the earlier one comes back when that is deleted."""
    people, query = asked[2], asked[1]
    people.annotate(query.id, strokes(region(), NAMES))
    latest = people.annotate(query.id, [])
    for _ in range(2):
        assert [one[1] for one in collected(asked)] == [Outcome.EMPTY_CONFIRMED]
    people.delete(latest)
    for _ in range(2):
        assert [one[1] for one in collected(asked)] == [Outcome.LABELED]
    assert len(desk.ledger.submissions(people._campaign)) == 2


def test_only_what_changed_is_read(
    desk: LabellingDesk, server: LabelStudioServer, token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pool = f"many-{uuid.uuid4().hex[:8]}", blobs(4)
    queries = [replace(a_query("blob-00", (k, 0), (k + 4, 9)), id=uuid.uuid4().hex) for k in range(4)]
    oracle = bound(pool, desk, server)
    oracle.ask(name, queries)
    people = Annotator(server, name)
    for query in queries[:3]:
        people.annotate(query.id, [])
    assert len(oracle.collect(name, queries)) == 3
    monkeypatch.setattr("alframe.oracles.label_studio.oracle._OVERLAP", timedelta(microseconds=-1))
    fresh = bound(pool, desk, server)
    read: list[str] = []
    service = fresh._service
    inner = service.get
    monkeypatch.setattr(service, "get", lambda path, **query: (read.append(path), inner(path, **query))[1])
    people.annotate(queries[3].id, [])
    changed = people.tasks()[queries[3].id]["id"]
    assert len(fresh.collect(name, queries)) == 4
    assert [path for path in read if path.startswith("/api/tasks/")] == [f"/api/tasks/{changed}"]


@pytest.mark.parametrize("kind", ["personal", "wrong legacy", "wrong personal", "none"])
def test_tokens(
    server: LabelStudioServer,
    desk: LabellingDesk,
    token: None,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    name = f"tokens-{uuid.uuid4().hex[:8]}"
    if kind == "personal":
        made = Annotator(server, name).call("POST", "/api/token/")["token"]
        monkeypatch.setenv(VARIABLE, made)
    elif kind == "none":
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, "f" * 40 if kind == "wrong legacy" else "e30.e30.e30")
    oracle, query = bound(blobs(4), desk, server), replace(a_query("blob-00", (0, 0), (9, 9)), id=uuid.uuid4().hex)
    if kind == "personal":
        oracle.ask(name, [query])
        oracle._service._bearer = "expired"  # it lives for five minutes
        assert oracle.collect(name, [query]) == ()
        return
    with pytest.raises(Unauthenticated, match=VARIABLE):
        oracle.ask(name, [query])
    assert Annotator(server, name).server.token not in str(desk.ledger.events())


def test_a_whole_campaign_while_the_server_is_killed_between_polls(
    server: LabelStudioServer, token: None, tmp_path: Path
) -> None:
    """Two rounds after the first, a new process at each wait; the server dies after every annotation and comes back."""
    pool, name = blobs(raters=2), "small"
    simulated = small_campaign(
        tmp_path / "simulated", InlineExecutor(), pool=pool, oracle=Simulated(rater="rater0").bind(pool)
    )
    assert simulated.run().status == "done"
    folder, people = tmp_path / "people", Annotator(server, name)
    with SqlLabelling(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        desk, rounds = LabellingDesk(ledger, FileArtifacts(folder / "artifacts")), 0
        while True:
            oracle = bound(pool, desk, server, margin=0.5)
            campaign = small_campaign(folder, InlineExecutor(), pool=pool, oracle=oracle)
            standing = campaign.run()
            if standing.status != "waiting":
                break
            rounds += 1
            tasks = {task.id: task for task in ledger.tasks(name)}
            for key, found in people.tasks().items():
                if not found["annotations"]:
                    # this rater paints beyond the frame too
                    around = shown_box(tasks[key].box, (28, 28), 0.5)
                    truth = pool.truth(tasks[key].item, "rater0").classes[around.slices]
                    people.annotate(key, strokes(truth, pool.classes))
            server.kill()
            with pytest.raises(StoreUnavailable, match="does not answer"):
                campaign.run()
            server.start()
        assert (standing.status, rounds) == ("done", 3)
        decisions = [
            [(a.query, a.outcome, a.mask) for a in c.parts.ledger.answers("small")] for c in (campaign, simulated)
        ]
        assert decisions[0] == decisions[1]
        assert len(people.tasks()) == len(ledger.tasks(name)) == len(ledger.submissions(name))
        assert verify(ledger, desk.artifacts).problems == ()


def test_pictures_of_other_pixels_are_windowed(desk: LabellingDesk, server: LabelStudioServer, token: None) -> None:
    rng, name = np.random.default_rng(0), f"window-{uuid.uuid4().hex[:8]}"
    image = rng.normal(1000, 200, (1, 3, 20, 24)).astype(np.int16)
    pool = MemoryPool([pool_item("scan", image)])
    query = replace(a_query("scan", (0, 2, 3), (3, 12, 15)), id=uuid.uuid4().hex)
    bound(pool, desk, server).ask(name, [query])
    people = Annotator(server, name)
    shown = people.tasks()[query.id]["data"]
    assert len(shown["images"]) == 3
    picture = people.picture(shown["images"][1]).astype(float)
    crop = image[0, 1, 2:12, 3:15].astype(float)
    inside = (picture > 0) & (picture < 255)
    assert np.corrcoef(picture[inside], crop[inside])[0, 1] > 0.999


def test_around_the_frame_is_shown_and_means_nothing(
    desk: LabellingDesk, server: LabelStudioServer, token: None
) -> None:
    name, pool = f"margin-{uuid.uuid4().hex[:8]}", blobs(4)
    query = replace(a_query("blob-00", (2, 3), (12, 15)), id=uuid.uuid4().hex)
    arrays = {"classes": region(), "uncertainty": np.zeros((10, 12), np.float16)}
    query = replace(query, prefill=desk.artifacts.put_arrays("prefill", arrays))
    oracle = bound(pool, desk, server, margin=0.5)
    oracle.ask(name, [query])
    people = Annotator(server, name)
    shown = people.tasks()[query.id]
    picture = people.picture(shown["data"]["image"])
    assert picture.shape == (17, 21, 3)  # 2 above (the border of the item), 5 below, 3 to the left, 6 to the right
    assert np.array_equal(picture[2:12, 3:15, 0], pool.image("blob-00", query.box)[0])
    frame = np.all(picture == (255, 196, 0), axis=-1)
    assert frame.sum() == 2 * (12 + 12)
    assert not frame[2:12, 3:15].any()
    guess = decode(shown["predictions"][0]["result"][0]["value"]["rle"], (17, 21))
    assert np.array_equal(guess[2:12, 3:15], region() == 1)
    assert guess.sum() == region().sum()
    painted = np.zeros((17, 21), np.uint8)
    painted[0:9, 0:10] = 1
    people.annotate(query.id, strokes(painted, NAMES))
    (answer,) = oracle.collect(name, [query])
    assert answer.labels is not None
    assert np.array_equal(answer.labels.classes, painted[2:12, 3:15])
    (stored,) = desk.ledger.submissions(name)
    assert stored.prefill_shown
    assert stored.pixels_changed == np.sum(painted[2:12, 3:15] != region())
