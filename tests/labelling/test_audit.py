"""A ledger that somebody edits: every kind of edit is found, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from pathlib import Path

import pytest

from alframe.labelling import Head, LabellingDesk, verify
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.contracts.labelling import CAMPAIGN, drawing, sample_tasks
from alframe.testing.desks import enrolled, work_of
from alframe.types import Outcome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with two submissions, one of them corrected, and a skip."""
    with SqlLabelling(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        desk = LabellingDesk(ledger, FileArtifacts(tmp_path / "store"))
        desk.ask(sample_tasks(3))
        (anna,) = enrolled(desk, "anna")
        work = work_of(drawing())
        desk.deliver(anna, f"{CAMPAIGN}-0", work)
        desk.deliver(anna, f"{CAMPAIGN}-0", work_of(drawing(2), supersedes=work.id))
        desk.deliver(anna, f"{CAMPAIGN}-1", work_of(None, Outcome.SKIPPED))
    return tmp_path


def check(folder: Path, expected: Head | None = None) -> tuple[str, ...]:
    with SqlLabelling(f"sqlite:///{folder}/ledger.db") as ledger:
        return verify(ledger, FileArtifacts(folder / "store"), expected=expected).problems


def head(folder: Path) -> Head:
    with SqlLabelling(f"sqlite:///{folder}/ledger.db") as ledger:
        return ledger.head()


EDITS = {
    "UPDATE events SET actor = 'eve' WHERE sequence = 4": "event 4 .* was changed",
    "UPDATE events SET payload = '{}' WHERE sequence = 2": "event 2 .* was changed",
    "UPDATE events SET at = '2020' WHERE sequence = 1": "event 1 .* was changed",
    "DELETE FROM events WHERE sequence = 3": "events 3 to 3 are missing",
    "DELETE FROM events WHERE sequence = (SELECT MAX(sequence) FROM events)": "events are missing",
    "UPDATE event_head SET sequence = 3": "events are missing|the last event",
    "UPDATE submissions SET reason = 'x' WHERE supersedes IS NOT NULL": "was changed",
    "UPDATE submissions SET rater = 'eve' WHERE outcome = 'skipped'": "was changed",
    "UPDATE submissions SET outcome = 'ambiguous' WHERE outcome = 'skipped'": "was changed",
    "UPDATE submissions SET active_ms = 1 WHERE outcome = 'skipped'": "was changed",
    "DELETE FROM submissions WHERE outcome = 'skipped'": "was removed",
    "UPDATE submissions SET mask_sha256 = (SELECT MIN(mask_sha256) FROM submissions)": "was changed",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_found(folder: Path, edit: str) -> None:
    assert check(folder) == ()
    with sqlite3.connect(folder / "ledger.db") as connection:
        connection.execute("INSERT INTO raters VALUES ('eve', '', 0, '', NULL)")
        connection.execute(edit)
    connection.close()
    problems = "\n".join(check(folder))
    assert re.search(EDITS[edit], problems), problems


def test_a_mask_that_is_damaged_or_gone_is_found(folder: Path) -> None:
    first, second = sorted(path for path in (folder / "store" / "mask").rglob("*") if path.is_file())
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    assert len(check(folder)) == 2


def test_a_history_written_anew_shows_only_against_a_head_kept_elsewhere(folder: Path) -> None:
    kept = head(folder)
    assert check(folder, kept) == ()
    with sqlite3.connect(folder / "ledger.db") as connection:
        rows = connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()
        previous = ""
        connection.execute("DELETE FROM events")
        for sequence, at, campaign, _, action, what, payload, _, _ in rows:
            digest = hashlib.sha256(payload.encode()).hexdigest()
            fields = [sequence, at, campaign, "eve", action, what, digest, previous]
            text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)  # the documented recipe, by hand
            own = hashlib.sha256(text.encode()).hexdigest()
            values = (sequence, at, campaign, "eve", action, what, payload, previous, own)
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            previous = own
        connection.execute("UPDATE event_head SET hash = ?", (previous,))
    connection.close()
    assert check(folder) == ()
    assert "rewritten" in check(folder, kept)[0]
    assert "before the exported event" in check(folder, Head(sequence=999, hash="0" * 64))[0]
