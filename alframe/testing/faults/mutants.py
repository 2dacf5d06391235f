"""Four ways to get durability wrong, each of which the harness must notice: a harness that cannot fail proves nothing.

Each is a patch for the length of a block; drivers forked within the block have it. For tests of the harness only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from alframe.storage import artifacts, durable, leases
from alframe.storage.artifacts import FileArtifacts
from alframe.storage.ledger_sql import SqlLedger
from alframe.testing.faults.drivers import slept_too_long, while_held
from alframe.testing.faults.kills import Kill, kill
from alframe.testing.faults.lab import Flow, Lab
from alframe.testing.faults.model import Outcome
from alframe.types import ArtifactRef

__all__ = ["MUTANTS", "Mutant"]

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken alframe (`installed`), and those trials of the suite that it should not survive."""

    title: str
    installed: Callable[[], Any]
    cases: Callable[[Lab], Sequence[Any]]
    trial: Callable[[Lab, Any], Outcome]


@contextmanager
def _sql_before_file() -> Iterator[None]:
    waiting: list[tuple[FileArtifacts, str, bytes]] = []
    put, get = FileArtifacts.put, FileArtifacts.get

    def flush() -> None:
        while waiting:
            store, kind, data = waiting.pop()
            put(store, kind, data)

    def put_later(self: FileArtifacts, kind: str, data: bytes) -> ArtifactRef:
        waiting.append((self, kind, data))
        return ArtifactRef(kind=kind, sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def get_now(self: FileArtifacts, ref: ArtifactRef) -> bytes:
        flush()
        return get(self, ref)

    def then_files(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            flush()
            return result

        return wrapped

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(FileArtifacts, "put", put_later))
        stack.enter_context(mock.patch.object(FileArtifacts, "get", get_now))
        for name in ("record_artifact", "advance"):
            stack.enter_context(mock.patch.object(SqlLedger, name, then_files(getattr(SqlLedger, name))))
        yield


def _write_unsynced(path: Path, data: bytes, step: Step) -> None:
    temporary = path.with_name(f"{durable.TEMPORARY}{os.urandom(8).hex()}")
    step("before_write")
    temporary.write_bytes(data)
    step("after_write")
    step("after_fsync")
    temporary.replace(path)
    step("after_rename")
    step("after_folder")


@contextmanager
def _no_fsync() -> Iterator[None]:
    def nothing(folder: Path) -> None:
        pass

    with (
        mock.patch.object(artifacts, "write_file", _write_unsynced),
        mock.patch.object(artifacts, "fsync_folder", nothing),
        mock.patch.object(durable, "fsync_folder", nothing),
    ):
        yield


def _write_over(path: Path, data: bytes, step: Step) -> None:
    step("before_write")
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        step("after_write")
        file.write(data[len(data) // 2 :])
        file.flush()
        os.fsync(file.fileno())
    step("after_fsync")
    step("after_rename")
    durable.fsync_folder(path.parent)
    step("after_folder")


@contextmanager
def _in_place() -> Iterator[None]:
    with (
        mock.patch.object(artifacts, "write_file", _write_over),
        mock.patch.object(artifacts, "_holds", return_value=False),
    ):
        yield


@contextmanager
def _no_fence() -> Iterator[None]:
    with mock.patch.object(leases, "check", return_value=None):
        yield


def _at(flow: Flow, *names: str, power: str = "") -> Callable[[Lab], list[Kill]]:
    def cases(lab: Lab) -> list[Kill]:
        counts = (n for n, name in enumerate(lab.points(flow), start=1) if name in names)
        return [Kill(flow=flow, counts=(n,), power=power) for n in counts]

    return cases


MUTANTS = (
    Mutant(
        title="SQL before file",
        installed=_sql_before_file,
        cases=_at("oracle", "ledger.record_artifact.after_commit", "ledger.advance.after_commit"),
        trial=kill,
    ),
    Mutant(
        title="no fsync",
        installed=_no_fsync,
        cases=_at(
            "tell", "campaign.scored.after", "campaign.labelled.after", "artifact.mask.before_write", power="all"
        ),
        trial=kill,
    ),
    Mutant(
        title="in-place write",
        installed=_in_place,
        cases=_at("tell", "artifact.mask.after_write"),
        trial=kill,
    ),
    Mutant(title="no fence", installed=_no_fence, cases=lambda lab: while_held(lab)[::12], trial=slept_too_long),
)
