"""A served desk: tasks on generated images, raters with their tokens, and a client that speaks HTTP to it in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from alframe.annotator import Door, Office, create_app
from alframe.labelling import LabellingDesk, Roster, Scope
from alframe.ports import Pool
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.annotating import square, submission, tasks_of
from alframe.testing.campaigns import blobs

CAMPAIGN = "glands"
BASE = "/api/v1"
SCOPES = {"anna": [Scope.ANNOTATE], "bo": [Scope.ANNOTATE], "rev": [Scope.REVIEW], "chief": [Scope.ADMIN]}


@dataclass
class Quiet:
    """A campaign that stands still."""

    said: str = "waiting"

    def status(self) -> str:
        return self.said

    def overview(self) -> dict[str, Any]:
        plain = {"name": CAMPAIGN, "status": self.said, "reason": "", "round": 0, "phase": "asked"}
        rounds = [{"index": 0, "phase": "asked", "queries": 3, "annotated_pixels": None, "metrics": {"dice": 0.5}}]
        return {**plain, "rounds": rounds, "costs": {"acquired_pixels": 7.0}}


@dataclass
class Served:
    """What a test needs of a served desk."""

    desk: LabellingDesk
    pool: Pool
    office: Office
    client: TestClient
    tokens: dict[str, str]

    def __call__(self, method: str, path: str, who: str | None = "anna", **more: Any) -> Any:
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        return self.client.request(
            method, path if path.startswith("/healthz") else BASE + path, headers=headers, **more
        )

    def claim(self, who: str = "anna") -> Any:
        answer = self("POST", "/leases", who)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def submit(self, given: Any, drawn: NDArray[np.uint8] | None = None, who: str = "anna", **fields: Any) -> Any:
        name = fields.pop("id", str(uuid.uuid4()))
        body = submission(square(given) if drawn is None else drawn, lease=given["lease"]["id"]) | fields
        return self("PUT", f"/submissions/{name}", who, json=body)


@contextmanager
def opened(
    folder: Path,
    pool: Pool | None = None,
    *,
    door: Door | None = None,
    lease_seconds: float = 1200.0,
    asks: bool = True,
    **fields: Any,
) -> Iterator[Served]:
    """A served desk whose ledger and store are in `folder`."""
    chosen = pool or blobs(6)
    artifacts = FileArtifacts(folder / "store")
    desk = LabellingDesk(
        SqlLabelling(f"sqlite:///{folder}/ledger.db"), artifacts, lease_seconds=lease_seconds, repeat_gap=1
    )
    roster = Roster(desk.ledger)
    for name, scopes in SCOPES.items():
        roster.add(name, *scopes)
    tokens = {name: roster.token(name) for name in SCOPES}
    if asks:
        desk.ask(tasks_of(chosen, artifacts, CAMPAIGN, **fields))
    office = Office(desk, chosen, CAMPAIGN, Quiet(), door=door or Door(hosts=("testserver",)), measure="bald")
    with TestClient(create_app(office), raise_server_exceptions=False) as client:
        yield Served(desk, chosen, office, client, tokens)


@pytest.fixture(scope="session")
def serve_in() -> Callable[..., AbstractContextManager[Served]]:
    """Serves a desk in a folder for the length of a block."""
    return opened


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes a served desk that lives as long as the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(opened(tmp_path, *arguments, **options))


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """Six tasks of two dimensions."""
    return serve()
