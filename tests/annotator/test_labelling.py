"""A rater's work over HTTP: leases, drafts, submissions, progress."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alframe.labelling import verify
from alframe.testing.annotating import packed, square, submission

CAMPAIGN = "glands"


def test_a_task_is_claimed_drawn_and_handed_in(served: Any) -> None:
    given = served.claim()
    assert given["lease"]["state"] == "active"
    assert 1190 < given["lease"]["seconds_left"] <= 1200
    task = given["task"]
    assert (task["id"], task["axes"], task["shape"]) == ("task-0", "YX", [12, 12])
    assert given["draft"] is None
    answer = served.submit(given)
    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt["created"]
    assert receipt["task"] == {"id": "task-0", "state": "done"}
    assert receipt["progress"]["mine"] == 1
    assert receipt["progress"]["total"] == 6
    (stored,) = served.desk.ledger.submissions(CAMPAIGN)
    labels = served.desk.labels(stored)
    assert labels is not None
    assert np.array_equal(labels.classes, square(given))
    assert verify(served.desk.ledger, served.desk.artifacts).problems == ()


def test_a_reload_gets_the_same_lease_and_two_raters_get_different_ones(served: Any) -> None:
    given = served.claim()
    answer = served("POST", "/leases")
    assert answer.json()["lease"]["id"] == given["lease"]["id"]
    assert answer.headers["location"] == f"/api/v1/leases/{given['lease']['id']}"
    assert served.claim("bo")["task"]["id"] != given["task"]["id"]
    again = served("GET", f"/leases/{given['lease']['id']}").json()
    assert again["task"] == given["task"]


def test_nothing_open_is_204_with_when_to_ask_again(serve: Callable[..., Any]) -> None:
    served = serve(count=1)
    served.submit(served.claim())
    answer = served("POST", "/leases")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (204, b"", "10")


def test_a_lease_is_extended_given_back_and_lost(serve: Callable[..., Any]) -> None:
    served = serve()
    lease = served.claim()["lease"]["id"]
    beat = served("POST", f"/leases/{lease}/heartbeat").json()
    assert beat["state"] == "active"
    assert served("DELETE", f"/leases/{lease}").status_code == 204
    lost = served("POST", f"/leases/{lease}/heartbeat")
    assert (lost.status_code, lost.json()["type"]) == (409, "urn:alframe:problem:lease-lost")
    assert served.claim()["lease"]["id"] == lease


def test_a_draft_is_kept_byte_for_byte_and_replaced_by_its_tag_only(served: Any) -> None:
    path = f"/leases/{served.claim()['lease']['id']}/draft"
    assert served("GET", path).status_code == 204
    assert served("PUT", path, content=b"one").status_code == 428
    first = served(
        "PUT", path, content=b"\x00one", headers={"If-None-Match": "*", "Content-Type": "application/x-strokes"}
    )
    assert first.status_code == 201
    tag = first.headers["etag"]
    assert tag == f'"{first.json()["tag"]}"'
    second = served("PUT", path, content=b"two", headers={"If-Match": tag})
    assert second.status_code == 200
    clash = served("PUT", path, content=b"three", headers={"If-Match": tag})
    assert (clash.status_code, clash.headers["etag"]) == (412, second.headers["etag"])
    assert clash.json()["tag"] == second.json()["tag"]
    read = served("GET", path)
    assert (read.content, read.headers["etag"]) == (b"two", second.headers["etag"])
    for wrong in (
        {"If-Match": "*"},
        {"If-Match": '"a", "b"'},
        {"If-Match": "x", "If-None-Match": "*"},
        {"If-None-Match": tag},
    ):
        assert served("PUT", path, content=b"four", headers=wrong).status_code == 400
    assert served.claim()["draft"]["tag"] == second.json()["tag"]


def test_a_draft_has_its_media_type_and_never_opens_as_a_page(served: Any) -> None:
    path = f"/leases/{served.claim()['lease']['id']}/draft"
    served("PUT", path, content=b"<script>", headers={"If-None-Match": "*", "Content-Type": "text/html"})
    read = served("GET", path)
    assert read.headers["content-type"].startswith("text/html")
    assert read.headers["content-disposition"] == "attachment"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in read.headers["content-security-policy"]


def test_the_same_again_is_200_and_something_else_under_the_id_409(served: Any) -> None:
    given, name = served.claim(), str(uuid.uuid4())
    assert served.submit(given, id=name).status_code == 201
    repeated = served.submit(given, id=name)
    assert (repeated.status_code, repeated.json()["created"]) == (200, False)
    other = square(given)
    other[0, 0] = 1
    clash = served.submit(given, other, id=name)
    assert (clash.status_code, clash.json()["type"]) == (409, "urn:alframe:problem:submission-conflict")
    (stored,) = served.desk.ledger.submissions(CAMPAIGN)
    assert served.desk.labels(stored).classes.sum() == square(given).sum()
    assert [event.action for event in served.desk.ledger.events()][-1] == "submission.refused"


def test_a_correction_names_what_it_supersedes(served: Any) -> None:
    given = served.claim()
    first = served.submit(given).json()["submission"]["id"]
    assert served.submit(given).status_code == 409
    other = square(given)
    other[0, 0] = 255
    corrected = served.submit(given, other, supersedes=first)
    assert corrected.status_code == 201
    listed = served("GET", "/submissions").json()
    assert [one["current"] for one in listed] == [True, False]
    assert listed[0]["item"] == given["task"]["item"]
    mask = served("GET", f"/submissions/{listed[0]['id']}/mask")
    assert mask.headers["content-encoding"] == "gzip"
    assert mask.content == other.tobytes()
    shown = served("GET", f"/leases/{given['lease']['id']}").json()["submission"]
    assert shown["id"] == listed[0]["id"]
    assert shown["mask_url"] == f"/api/v1/submissions/{listed[0]['id']}/mask"


@pytest.mark.parametrize("outcome", ["ambiguous", "unusable", "skipped"])
def test_outcomes_without_a_mask(served: Any, outcome: str) -> None:
    given = served.claim()
    answer = served.submit(given, outcome=outcome, mask=None, reason="blurred")
    assert answer.status_code == 201
    assert answer.json()["submission"]["outcome"] == outcome
    assert served("GET", f"/submissions/{answer.json()['submission']['id']}/mask").status_code == 404


def test_an_empty_region_needs_no_mask(served: Any) -> None:
    answer = served.submit(served.claim(), outcome="empty_confirmed", mask=None)
    assert answer.status_code == 201
    (stored,) = served.desk.ledger.submissions(CAMPAIGN)
    assert not served.desk.labels(stored).classes.any()


@pytest.mark.parametrize("encoding", ["png", "nifti"])
def test_masks_travel_as_png_and_nifti_too(served: Any, encoding: str) -> None:
    import base64
    import io

    import nibabel
    from PIL import Image

    given = served.claim()
    drawn = square(given)
    drawn[0, :3] = 255
    if encoding == "png":
        buffer = io.BytesIO()
        Image.fromarray(drawn, "L").save(buffer, "PNG")
        data = buffer.getvalue()
    else:
        data = gzip.compress(nibabel.Nifti1Image(np.ascontiguousarray(drawn.T), np.eye(4)).to_bytes())
    mask = packed(drawn) | {"encoding": encoding, "data": base64.b64encode(data).decode()}
    answer = served.submit(given, drawn, mask=mask)
    assert answer.status_code == 201, answer.text
    (stored,) = served.desk.ledger.submissions(CAMPAIGN)
    assert np.array_equal(served.desk.labels(stored).classes, drawn)


def test_late_work_is_stored(serve: Callable[..., Any]) -> None:
    served = serve(lease_seconds=0, count=1)
    given = served.claim()
    assert served("POST", f"/leases/{given['lease']['id']}/heartbeat").status_code == 409
    path = f"/leases/{given['lease']['id']}/draft"
    assert served("PUT", path, content=b"late", headers={"If-None-Match": "*"}).status_code == 201
    assert served.submit(given).json()["submission"]["standing"] == "late"
    bo = served("POST", "/leases", "bo")
    assert bo.status_code == 204


def test_progress_names_others_to_reviewers_only(served: Any) -> None:
    served.submit(served.claim())
    served.claim("bo")
    mine = served("GET", "/progress").json()
    assert (mine["submissions"], mine["active"], mine["mine"]) == ({"anna": 1}, {}, 1)
    assert mine["campaign_status"] == "waiting"
    all_of_it = served("GET", "/progress", "rev").json()
    assert (all_of_it["submissions"], all_of_it["active"], all_of_it["mine"]) == ({"anna": 1}, {"bo": 1}, 0)


def test_a_body_that_is_no_json_or_does_not_fit_says_what_was_expected(served: Any) -> None:
    given = served.claim()
    path = f"/submissions/{uuid.uuid4()}"
    as_json = {"Content-Type": "application/json"}
    assert served("PUT", path, content=b"{", headers=as_json).status_code == 400
    assert served("PUT", path, content=b"{}").status_code == 415
    body = submission(square(given), lease=given["lease"]["id"], surprise=1)
    answer = served("PUT", path, content=json.dumps(body), headers=as_json)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"where": "surprise", "expected": "Extra inputs are not permitted"}]
