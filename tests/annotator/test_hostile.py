"""Hostile requests: each is refused with a problem document that says why, and nothing at all is stored."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import create_engine, func, select

from alframe.storage import labelling_tables as tables
from alframe.testing.annotating import packed, square, submission

BASE = "/api/v1"
JSON = {"Content-Type": "application/json"}
Attack = Callable[[Any], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def stage(serve_in: Any, folder: Path) -> Iterator[Any]:
    """Anna has a lease with a draft and a submission, bo a lease and a session. All attacks share it: none may change it."""
    with serve_in(folder) as served:
        served.submit(served.claim())
        served.given = served.claim()
        path = f"/leases/{served.given['lease']['id']}/draft"
        served("PUT", path, content=b"x", headers={"If-None-Match": "*"})
        served.theirs = served.claim("bo")
        roster = served.office.roster
        served.tokens["late"] = roster.token("anna", seconds=1e-6)
        served.tokens["invite"] = roster.invite("anna")
        roster.add("gone")
        served.tokens["gone"] = roster.token("gone")
        roster.revoke("gone")
        session = served.client.post(f"{BASE}/session", json={"invite": roster.invite("bo")})
        served.csrf, served.cookie = session.json()["csrf"], session.headers["set-cookie"].partition(";")[0]
        served.client.cookies.clear()
        yield served


def kept(folder: Path) -> dict[str, Any]:
    """Everything there is: rows of each table, and every file of the store."""
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    with engine.connect() as connection:
        counted = {
            name: connection.execute(select(func.count()).select_from(getattr(tables, name))).scalar_one()
            for name in tables.__all__
        }
        drafts = connection.execute(select(tables.drafts.c.sha256)).scalars().all()
    engine.dispose()
    files = sorted(str(path.relative_to(folder)) for path in (folder / "store").rglob("*"))
    return {**counted, "drafts' content": drafts, "files": files}


def raw(method: str, path: str, **more: Any) -> Attack:
    """A request as it stands, without a credential unless it brings one."""
    return lambda s: s.client.request(method, path, **more)


def as_rater(method: str, path: str, who: str = "anna", **more: Any) -> Attack:
    """A request of somebody with a token; ``{mine}``, ``{theirs}`` and ``{new}`` are filled in."""

    def send(s: Any) -> Any:
        filled = path.format(mine=s.given["lease"]["id"], theirs=s.theirs["lease"]["id"], new=uuid.uuid4())
        return s(method, filled, who, **more)

    return send


def by_cookie(method: str, path: str, csrf: str | bytes | None = None, **more: Any) -> Attack:
    """A request of a browser, as another site would make it send one."""

    def send(s: Any) -> Any:
        headers: dict[str, Any] = (
            {"Cookie": s.cookie} | ({} if csrf is None else {"X-CSRF-Token": csrf}) | more.pop("headers", {})
        )
        return s.client.request(method, BASE + path, headers=headers, **more)

    return send


def handing_in(change: Callable[[dict[str, Any], Any], Any], name: str = "") -> Attack:
    """A submission to my own lease, spoilt by `change`, which may return other bytes to send."""

    def send(s: Any) -> Any:
        body = submission(square(s.given), lease=s.given["lease"]["id"])
        data = change(body, s)
        content = data if isinstance(data, bytes) else json.dumps(body).encode()
        return s("PUT", f"/submissions/{name or uuid.uuid4()}", content=content, headers=JSON)

    return send


def fields(**values: Any) -> Attack:
    """A submission with other fields."""
    return handing_in(lambda body, s: body.update(values))


def mask(**values: Any) -> Attack:
    """A submission with other fields of its mask."""
    return handing_in(lambda body, s: body["mask"].update(values))


def encoded(encoding: str, data: bytes) -> Attack:
    """A submission whose mask is these bytes."""
    return mask(encoding=encoding, data=base64.b64encode(data).decode())


def drawn(classes: Callable[[Any], Any], **values: Any) -> Attack:
    """A submission with another mask."""
    return handing_in(lambda body, s: body.update({"mask": packed(classes(square(s.given))), **values}))


def png(size: tuple[int, int] = (12, 12), mode: str = "L", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, "PNG", **options)
    return buffer.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of 12 × 12 pixels whose header claims another size."""
    data = bytearray(png())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def with_text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 80_000_000, zip=True)
    return png(pnginfo=info)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (12, 12), 1).save(buffer, "JPEG")
    return buffer.getvalue()


def nifti(array: Any) -> bytes:
    return bytes(nibabel.Nifti1Image(array, np.eye(4)).to_bytes())


def huge_nifti() -> bytes:
    """A NIfTI of a few bytes whose header claims 30,000³ voxels."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header["dim"][:4] = (3, 30_000, 30_000, 30_000)
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4) + bytes(144)


BOMB = gzip.compress(bytes(50_000_000), 9)
SPARSE = np.ones((12, 12), np.uint8)
ATTACKS: dict[str, tuple[int, Attack]] = {
    # who are you?
    "no token": (401, raw("POST", f"{BASE}/leases")),
    "an unknown token": (401, raw("POST", f"{BASE}/leases", headers={"Authorization": "Bearer alf_" + "x" * 43})),
    "a token of 5,000 characters": (
        401,
        raw("GET", f"{BASE}/progress", headers={"Authorization": "Bearer " + "a" * 5000}),
    ),
    "a token that is no ASCII": (
        401,
        raw("GET", f"{BASE}/progress", headers={b"Authorization": b"Bearer alf_\xff\xfe"}),
    ),
    "another scheme": (401, raw("GET", f"{BASE}/progress", headers={"Authorization": "Basic YW5uYTphbm5h"})),
    "an expired token": (401, as_rater("POST", "/leases", "late")),
    "a revoked rater's token": (401, as_rater("POST", "/leases", "gone")),
    "an invite as a token": (401, as_rater("POST", "/leases", "invite")),
    "an invite that nobody wrote": (401, raw("POST", f"{BASE}/session", json={"invite": "alf_guess"})),
    "an invite that is a list": (422, raw("POST", f"{BASE}/session", json={"invite": ["alf_guess"]})),
    "an invite with a name of one's own": (422, raw("POST", f"{BASE}/session", json={"invite": "x", "rater": "chief"})),
    "an invite from a form of another site": (415, raw("POST", f"{BASE}/session", data={"invite": "x"})),
    "metrics from elsewhere": (401, raw("GET", "/metrics")),
    "a host of another name": (421, raw("GET", "/", headers={"Host": "rebound.example"})),
    # cross-site requests
    "a cookie alone": (403, by_cookie("POST", "/leases")),
    "a cookie and a guessed CSRF token": (403, by_cookie("POST", "/leases", "0" * 64)),
    "a CSRF token that is no ASCII": (403, by_cookie("POST", "/leases", b"\xc3\xa9")),
    "a cookie that signs out": (403, by_cookie("DELETE", "/session")),
    "a cookie that submits": (403, by_cookie("PUT", f"/submissions/{uuid.uuid4()}", json={})),
    # what is not yours
    "another's lease": (403, as_rater("GET", "/leases/{theirs}")),
    "keeping another's lease": (403, as_rater("POST", "/leases/{theirs}/heartbeat")),
    "giving another's lease back": (403, as_rater("DELETE", "/leases/{theirs}")),
    "another's draft": (403, as_rater("GET", "/leases/{theirs}/draft")),
    "over another's draft": (
        403,
        as_rater("PUT", "/leases/{theirs}/draft", content=b"x", headers={"If-None-Match": "*"}),
    ),
    "another's task": (403, as_rater("GET", "/tasks/task-2/image.png")),
    "submitting to another's lease": (403, handing_in(lambda body, s: body.update(lease=s.theirs["lease"]["id"]))),
    "deciding without the scope": (
        403,
        lambda s: s("PUT", f"/adjudications/{uuid.uuid4()}", json=submission(square(s.given), task="task-0")),
    ),
    "deciding what is still open": (
        409,
        lambda s: s("PUT", f"/adjudications/{uuid.uuid4()}", "rev", json=submission(square(s.given), task="task-1")),
    ),
    "deciding by a lease": (
        422,
        lambda s: s("PUT", f"/adjudications/{uuid.uuid4()}", "rev", json=submission(square(s.given), lease="x")),
    ),
    "the audit without the scope": (403, as_rater("GET", "/events", "rev")),
    "the campaign without the scope": (403, as_rater("GET", "/campaign")),
    "the reviewer's list without the scope": (403, as_rater("GET", "/review/tasks")),
    # paths and parameters
    "a path upwards": (404, raw("GET", "/static/../door.py")),
    "a path upwards, coded": (404, raw("GET", "/static/%2e%2e/%2e%2e/door.py")),
    "a path upwards, coded twice": (404, raw("GET", "/static/..%252f..%252fetc/passwd")),
    "a path upwards with a backslash": (404, raw("GET", "/static/..%5c..%5cdoor.py")),
    "a path with a zero byte": (404, raw("GET", "/static/index.html%00.png")),
    "an absolute path": (404, raw("GET", "/static//etc/passwd")),
    "a path in place of a task": (404, as_rater("GET", "/tasks/..%2f..%2fetc%2fpasswd/image.png")),
    "SQL in place of a lease": (422, as_rater("GET", "/leases/'%20OR%201=1%20--")),
    "a zero byte in place of a lease": (422, as_rater("GET", "/leases/a%00b")),
    "a slice beyond all numbers": (422, as_rater("GET", f"/tasks/task-1/image.png?slice={10**40}")),
    "a slice that a flat image has not": (404, as_rater("GET", "/tasks/task-1/image.png?slice=1")),
    "a million submissions": (422, as_rater("GET", "/submissions?limit=1000000")),
    "a state that is none": (422, as_rater("GET", "/review/tasks?state='", "rev")),
    "a method that is none": (405, raw("PATCH", f"{BASE}/leases")),
    # sizes
    "a body said to be a terabyte": (
        413,
        as_rater("PUT", "/leases/{mine}/draft", headers={"Content-Length": str(2**40)}),
    ),
    "a draft that is too large": (413, as_rater("PUT", "/leases/{mine}/draft", content=bytes(2**24 + 1))),
    "an invite without end": (413, lambda s: s.client.post(f"{BASE}/session", content=endless(), headers=JSON)),
    "a gzip bomb": (422, encoded("gzip", BOMB)),
    "a gzip bomb as NIfTI": (422, encoded("nifti", BOMB)),
    "a PNG bomb by its header": (422, encoded("png", png_that_says(60_000, 60_000))),
    "a PNG bomb by its text": (422, lambda s: encoded("png", with_text_bomb())(s)),
    "a NIfTI bomb by its header": (422, encoded("nifti", huge_nifti())),
    # masks that are none
    "a mask that is no base64": (422, mask(data="%%%%")),
    "a mask of another encoding": (422, mask(encoding="pickle")),
    "a mask that is no gzip": (422, encoded("gzip", b"not gzip at all")),
    "a mask with something behind it": (422, encoded("gzip", gzip.compress(SPARSE.tobytes()) + b"more")),
    "a mask that is cut off": (422, encoded("gzip", gzip.compress(SPARSE.tobytes())[:-9])),
    "a PNG that is cut off": (422, encoded("png", png()[:-20])),
    "a PNG in colour": (422, encoded("png", png(mode="RGB"))),
    "a JPEG": (422, encoded("png", jpeg())),
    "a PNG of another size": (422, encoded("png", png((11, 12)))),
    "a NIfTI of another size": (422, encoded("nifti", nifti(np.ones((11, 12), np.uint8)))),
    "a NIfTI of fractions": (422, encoded("nifti", nifti(np.full((12, 12), 0.5, np.float32)))),
    "a NIfTI of NaN": (422, encoded("nifti", nifti(np.full((12, 12), np.nan, np.float32)))),
    "a NIfTI of negative classes": (422, encoded("nifti", nifti(np.full((12, 12), -1, np.int16)))),
    "a shape that is not the box's": (422, mask(shape=[12, 13])),
    "a shape of many axes": (422, mask(shape=[1] * 40)),
    "a hash that is not the mask's": (422, mask(sha256="0" * 64)),
    "an unknown class": (422, drawn(lambda m: np.where(m == 1, 7, m).astype(np.uint8))),
    # submissions that contradict themselves
    "something drawn and said to be empty": (422, fields(outcome="empty_confirmed")),
    "nothing drawn and said to be labelled": (422, drawn(np.zeros_like, outcome="labeled")),
    "a skip with a mask": (422, fields(outcome="skipped")),
    "a label without a mask": (422, fields(mask=None)),
    "an outcome that is none": (422, fields(outcome="perfect")),
    "another class map": (422, fields(class_map="0" * 64)),
    "a pre-fill that was never shown": (422, fields(prefill_shown=True, prefill_sha256="0" * 64)),
    "more pixels changed than there are": (422, fields(pixels_changed=10**6)),
    "time that runs backwards": (422, fields(active_ms=-1)),
    "a year of work": (422, fields(active_ms=10**12)),
    "a script in the reason": (422, fields(reason="<script>alert(1)</script>")),
    "an image in the client's name": (422, fields(client='<img src=x onerror="alert(1)">')),
    "a control character in the reason": (422, fields(reason="a\x00b")),
    "a reason without end": (422, fields(reason="x" * 10_000)),
    "half a character in the reason": (
        400,
        handing_in(lambda body, s: json.dumps(body)[:-1].encode() + b', "reason": "\\ud800"}'),
    ),
    "somebody else's name": (422, fields(rater="chief")),
    "both a lease and a task": (422, fields(task="task-1")),
    "an id that is no UUID": (422, handing_in(lambda body, s: None, "the-first-one")),
    "an id in capitals": (422, handing_in(lambda body, s: None, str(uuid.uuid4()).upper())),
    "SQL in `supersedes`": (422, fields(supersedes="' OR 1=1 --")),
    # JSON that is none
    "no JSON": (400, handing_in(lambda body, s: b"<xml/>")),
    "JSON without end": (400, handing_in(lambda body, s: b"[" * 200_000)),
    "JSON that is no UTF-8": (400, handing_in(lambda body, s: b'{"outcome": "\xff\xfe"}')),
    "NaN in JSON": (422, fields(active_ms=float("nan"))),
    "JSON said to be text": (415, lambda s: s("PUT", f"/submissions/{uuid.uuid4()}", content=b"{}")),
    # drafts
    "a draft over nothing in particular": (428, as_rater("PUT", "/leases/{mine}/draft", content=b"y")),
    "a draft over everything": (400, as_rater("PUT", "/leases/{mine}/draft", content=b"y", headers={"If-Match": "*"})),
    "a draft over a guess": (412, as_rater("PUT", "/leases/{mine}/draft", content=b"y", headers={"If-Match": '"9-0"'})),
    "a draft as if there were none": (
        412,
        as_rater("PUT", "/leases/{mine}/draft", content=b"y", headers={"If-None-Match": "*"}),
    ),
}


def endless() -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(100):
        yield b" " * 1024


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_and_nothing_is_stored(stage: Any, folder: Path, name: str) -> None:
    status, attack = ATTACKS[name]
    before = kept(folder)
    answer = attack(stage)
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["type"].startswith("urn:alframe:problem:")
    assert said["title"]
    assert said["detail"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert kept(folder) == before


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 90
