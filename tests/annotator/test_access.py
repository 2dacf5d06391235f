"""Who may do what: invites, cookies, CSRF, scopes, hosts, rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alframe.annotator import Door
from alframe.errors import InvalidValue
from alframe.labelling import Scope

BASE = "/api/v1"


def signed_in(served: Any, name: str = "anna", *scopes: Scope) -> Any:
    if scopes:
        served.office.roster.add(name, *scopes)
    return served.client.post(f"{BASE}/session", json={"invite": served.office.roster.invite(name)})


def test_an_invite_becomes_a_cookie_once(served: Any) -> None:
    invite = served.office.roster.invite("anna")
    answer = served.client.post(f"{BASE}/session", json={"invite": invite})
    assert answer.status_code == 201
    said = answer.json()
    assert (said["rater"], said["scopes"], said["campaign"], said["ttl"]) == ("anna", ["annotate"], "glands", 1200.0)
    assert [one["name"] for one in said["classes"]] == ["background", "blob"]
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie
    assert served.client.get(f"{BASE}/session").json() == said
    assert served.client.post(f"{BASE}/session", json={"invite": invite}).status_code == 401


def test_a_cookie_changes_nothing_without_its_csrf_token(served: Any) -> None:
    csrf = signed_in(served).json()["csrf"]
    assert served.client.post(f"{BASE}/leases").status_code == 403
    assert served.client.post(f"{BASE}/leases", headers={"X-CSRF-Token": "0" * 64}).status_code == 403
    assert served.client.post(f"{BASE}/leases", headers={"X-CSRF-Token": csrf}).status_code == 201
    assert served.client.delete(f"{BASE}/session").status_code == 403
    assert served.client.delete(f"{BASE}/session", headers={"X-CSRF-Token": csrf}).status_code == 204
    assert served.client.get(f"{BASE}/session").status_code == 401


def test_a_cookie_is_secure_where_browsers_come_by_https(serve: Callable[..., Any]) -> None:
    served = serve(door=Door.behind("https://labels.example"))
    invite = served.office.roster.invite("anna")
    answer = served.client.post(f"{BASE}/session", json={"invite": invite}, headers={"Host": "labels.example"})
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "address",
    [
        "http://labels.example",
        "https://u:p@labels.example",
        "https://labels.example/al",
        "labels.example",
        "",
        "ftp://x",
    ],
)
def test_an_address_that_browsers_cannot_use_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue, match="the address that people open"):
        Door.behind(address)


def test_tokens_need_no_csrf_and_are_not_signed_out(served: Any) -> None:
    assert served("GET", "/session").json()["csrf"] is None
    assert served("DELETE", "/session").status_code == 409
    assert served("POST", "/leases").status_code == 201


@pytest.mark.parametrize("said", ["", "Bearer alf_nonsense", "Bearer", "Basic YTpi"])
def test_no_credential_no_answer(served: Any, said: str) -> None:
    answer = served.client.post(f"{BASE}/leases", headers={"Authorization": said} if said else {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_rater_is_refused_at_once(served: Any) -> None:
    served.claim()
    served.office.roster.revoke("anna")
    assert served("GET", "/progress").status_code == 401


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("anna", "/review/tasks", 403),
        ("anna", "/events", 403),
        ("anna", "/campaign", 403),
        ("rev", "/events", 403),
        ("rev", "/review/tasks", 200),
        ("chief", "/review/tasks", 200),
        ("chief", "/events", 200),
        ("chief", "/campaign", 200),
    ],
)
def test_scopes(served: Any, who: str, path: str, status: int) -> None:
    assert served("GET", path, who).status_code == status


def test_a_reviewer_does_not_draw(served: Any) -> None:
    assert served("POST", "/leases", "rev").status_code == 403


def test_anothers_lease_draft_and_mask_are_out_of_reach(served: Any) -> None:
    given = served.claim()
    lease = given["lease"]["id"]
    name = served.submit(given).json()["submission"]["id"]
    for method, path in (
        ("GET", f"/leases/{lease}"),
        ("DELETE", f"/leases/{lease}"),
        ("POST", f"/leases/{lease}/heartbeat"),
        ("GET", f"/leases/{lease}/draft"),
        ("GET", f"/submissions/{name}/mask"),
        ("GET", "/tasks/task-0/image.png"),
    ):
        assert served(method, path, "bo").status_code == 403, path
    assert served("GET", f"/submissions/{name}/mask", "rev").status_code == 200
    assert served("GET", "/tasks/task-0/image.png", "rev").status_code == 200


def test_another_campaigns_things_do_not_exist_here(serve: Callable[..., Any]) -> None:
    served = serve()
    from alframe.testing.annotating import tasks_of

    served.desk.ask(tasks_of(served.pool, served.desk.artifacts, "other", count=1, prefix="x"))
    who = served.office.roster.authenticate(served.tokens["anna"])
    given = served.desk.claim(who, "other")
    for path in (f"/leases/{given.lease.id}", f"/leases/{given.lease.id}/draft", "/tasks/x-0/image.png"):
        assert served("GET", path).status_code == 404
    assert served("POST", f"/leases/{given.lease.id}/heartbeat").status_code == 404


def test_another_name_for_this_host_is_refused(served: Any) -> None:
    answer = served.client.get("/healthz", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:alframe:problem:host")


def test_too_many_requests_wait(serve: Callable[..., Any]) -> None:
    served = serve(door=Door(hosts=("testserver",), rate=0.01, burst=3))
    assert [served("GET", "/progress").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = served("GET", "/progress")
    assert int(refused.headers["retry-after"]) > 1
    assert served("GET", "/progress", "bo").status_code == 200


def test_guessed_tokens_are_slowed_down_and_known_ones_are_not(serve: Callable[..., Any]) -> None:
    served = serve(door=Door(hosts=("testserver",), strangers=0.1))
    assert served("GET", "/progress").status_code == 200
    guesses = [
        served.client.get(f"{BASE}/progress", headers={"Authorization": f"Bearer alf_{n}"}).status_code
        for n in range(5)
    ]
    assert guesses == [401, 401, 401, 429, 429]
    assert served("GET", "/progress").status_code == 200
