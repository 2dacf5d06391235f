"""The server keeps to its OpenAPI description, whatever is sent: schemathesis makes the requests up."""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alframe import annotator
from alframe.annotator import Door
from alframe.testing.annotating import square, submission

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
DOOR = Door(hosts=("testserver",), rate=1e6, burst=10**6, strangers=1e6)


@contextmanager
def a_stage(serve_in: Any, folder: Path) -> Iterator[Any]:
    """A desk with something of everything in it; nobody is slowed down."""
    with serve_in(folder, door=DOOR, count=40) as served:
        receipt = served.submit(served.claim("chief"), who="chief").json()
        given = served.claim("chief")
        served.known = {
            "lease": given["lease"]["id"],
            "task": given["task"]["id"],
            "submission": receipt["submission"]["id"],
        }
        served.body = submission(square(given), lease=given["lease"]["id"])
        yield served


@pytest.fixture(scope="module")
def stage(serve_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all requests that are made up."""
    with a_stage(serve_in, tmp_path_factory.mktemp("openapi")) as served:
        yield served


@pytest.fixture
def fresh(serve_in: Any, tmp_path: Path) -> Iterator[Any]:
    """One that nobody touched."""
    with a_stage(serve_in, tmp_path) as served:
        yield served


def operations(stage: Any) -> dict[str, Any]:
    document = stage.client.get("/api/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def test_the_reference_page_has_every_call(stage: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    told = {f"{method} /api/v1{path}" for method, path in re.findall(r"^\| `([A-Z]+) (/\S+)` \|", page, re.MULTILINE)}
    assert told == set(operations(stage))


def test_the_reference_page_has_every_refusal() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| [45]\d\d.*", page, re.MULTILINE))))
    code = "".join(file.read_text(encoding="utf-8") for file in Path(annotator.__file__).parent.glob("*.py"))
    refused = set(re.findall(r'Refused\(\s*4\d\d, "([a-z-]+)"', code))
    known = set(re.findall(r'^    \(\w+, [45]\d\d, "([a-z-]+)"', code, re.MULTILINE))
    assert refused | known - {"damaged"} == told


def test_everything_is_described(stage: Any) -> None:
    found = set(operations(stage))
    assert len(found) == 23
    for label in ("POST /api/v1/leases", "PUT /api/v1/submissions/{submission}", "GET /api/v1/tasks/{task}/image.png"):
        assert label in found


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_breaks_the_server_or_its_description(stage: Any, mode: GenerationMode) -> None:
    sent = 0

    def attempt(case: Any, dice: random.Random) -> None:
        nonlocal sent
        for name in set(case.path_parameters or {}) & set(stage.known):
            if dice.random() < 0.6:
                case.path_parameters[name] = stage.known[name]
        if (
            isinstance(case.body, dict) and dice.random() < 0.4
        ):  # mostly sound, so that more than the first check is met
            case.body = stage.body | {key: value for key, value in case.body.items() if dice.random() < 0.2}
        told = {"Authorization": f"Bearer {stage.tokens[dice.choice(['anna', 'bo', 'rev', 'chief', 'chief'])]}"}
        request = case.as_transport_kwargs(base_url="http://testserver", headers=told)
        request.pop("cookies", None)
        if isinstance(request.get("data"), bytes | str):
            request["content"] = request.pop("data")
        answer = stage.client.request(**request)
        case.validate_response(answer, checks=CHECKS)
        sent += 1

    for label, operation in operations(stage).items():
        if label == "DELETE /api/v1/session":
            continue  # its only answer to a token is a refusal
        strategy = operation.as_strategy(generation_mode=mode)
        test = hypothesis.given(case=strategy, dice=hypothesis.strategies.randoms(use_true_random=False))(attempt)
        hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )(test)()
    assert sent >= 12 * EXAMPLES


def test_a_sound_request_of_each_kind_is_as_described(fresh: Any) -> None:
    """What schemathesis rarely guesses: answers that succeed."""
    found = operations(fresh)
    lease, task, said = fresh.known["lease"], fresh.known["task"], fresh.known["submission"]
    headers = {"If-None-Match": "*", "Content-Type": "application/octet-stream"}
    sound: dict[str, tuple[str, dict[str, Any], int]] = {
        "GET /api/v1/session": ("/session", {}, 200),
        "POST /api/v1/leases": ("/leases", {}, 201),
        "GET /api/v1/leases/{lease}": (f"/leases/{lease}", {}, 200),
        "POST /api/v1/leases/{lease}/heartbeat": (f"/leases/{lease}/heartbeat", {}, 200),
        "GET /api/v1/progress": ("/progress", {}, 200),
        "PUT /api/v1/leases/{lease}/draft": (f"/leases/{lease}/draft", {"content": b"x", "headers": headers}, 201),
        "GET /api/v1/leases/{lease}/draft": (f"/leases/{lease}/draft", {}, 200),
        "GET /api/v1/submissions": ("/submissions", {}, 200),
        "GET /api/v1/submissions/{submission}/mask": (f"/submissions/{said}/mask", {}, 200),
        **{
            f"GET /api/v1/tasks/{{task}}/{kind}": (f"/tasks/{task}/{kind}", {}, 200)
            for kind in ("image.png", "pixels", "context.png", "prefill", "uncertainty")
        },
        "GET /api/v1/review/tasks": ("/review/tasks", {}, 200),
        "GET /api/v1/review/tasks/{task}": ("/review/tasks/task-0", {}, 200),
        "PUT /api/v1/adjudications/{submission}": (
            f"/adjudications/{uuid.uuid4()}",
            {"json": {key: value for key, value in fresh.body.items() if key != "lease"} | {"task": "task-0"}},
            201,
        ),
        "PUT /api/v1/submissions/{submission}": (f"/submissions/{uuid.uuid4()}", {"json": fresh.body}, 201),
        "GET /api/v1/events": ("/events", {}, 200),
        "GET /api/v1/campaign": ("/campaign", {}, 200),
        "DELETE /api/v1/leases/{lease}": (f"/leases/{lease}", {}, 204),
    }
    assert found.keys() - sound.keys() == {"POST /api/v1/session", "DELETE /api/v1/session"}
    for label, (path, more, status) in sound.items():
        answer = fresh(label.partition(" ")[0], path, "chief", **more)
        assert answer.status_code == status, (label, answer.text)
        case = found[label].Case(
            path_parameters={name: value for name, value in fresh.known.items() if f"{{{name}}}" in label}
        )
        case.validate_response(answer, checks=CHECKS)


def test_the_description_is_json_that_names_no_rater(stage: Any) -> None:
    text = json.dumps(stage.client.get("/api/v1/openapi.json").json())
    assert not any(name in text for name in ("anna", "chief"))
