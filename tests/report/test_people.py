"""The tables of people against submissions counted by hand."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from alframe.labelling import LabellingDesk, NewTask, Scope
from alframe.report.people import people
from alframe.storage import FileArtifacts, SqlLabelling
from alframe.testing.desks import enrolled, work_of
from alframe.types import Box, LabelMap, Outcome

BOX = Box(start=(0, 0), stop=(10, 10))


def rows(wide: int) -> LabelMap:
    classes = np.zeros((10, 10), np.uint8)
    classes[:wide] = 1
    return LabelMap(classes=classes)


def test_work_and_agreement_are_counted(tmp_path: Path) -> None:
    desk = LabellingDesk(SqlLabelling(f"sqlite:///{tmp_path}/l.db"), FileArtifacts(tmp_path / "store"), repeat_gap=0)
    assert people(desk.ledger, desk.artifacts, "c") == []
    shown = {
        "classes": rows(4).classes,
        "uncertainty": np.zeros((10, 10), np.float16),
        "mean": np.zeros((2, 10, 10), np.float32),
    }
    prefill = desk.artifacts.put_arrays("prefill", shown)
    plain = {"campaign": "c", "item": "i", "box": BOX, "classes": ("background", "gland"), "prefill": prefill}
    desk.ask([NewTask(id=f"q{n}", replicas=2, blind=n == 1, **plain) for n in range(3)])  # type: ignore[arg-type]
    anna, bo = enrolled(desk, "anna", "bo")
    (chief,) = enrolled(desk, "chief", scopes=(Scope.REVIEW,))
    for who, widths, active in ((anna, {"q0": 4, "q1": 2, "q2": 0}, 10_000), (bo, {"q0": 8, "q1": 2}, 30_000)):
        while given := desk.claim(who, "c"):
            wide = widths.get(given.task.id)
            work = work_of(rows(wide), active_ms=active) if wide is not None else work_of(None, Outcome.AMBIGUOUS)
            desk.submit(who, given.lease.id, work)
    desk.adjudicate(chief, "q0", work_of(rows(5), id=str(uuid.uuid4()), active_ms=None))
    work, agreement = people(desk.ledger, desk.artifacts, "c")
    assert work.rows == (
        ("anna", 3, 0, 0, 0, 10.0, 0.5),
        ("bo", 2, 1, 0, 0, 30.0, pytest.approx(61 / 60)),
        ("chief", 1, 0, 0, 1, None, None),
    )
    found = {(row[0], row[1]): row[2:] for row in agreement.rows}
    assert found["anna", "bo"] == (3, pytest.approx((2 * 4 / 12 + 1 + 0) / 3))
    assert found["anna", "the model's suggestion"] == (2, pytest.approx((1 + 0) / 2))
    assert found["anna", "the model, not shown (blind)"] == (1, pytest.approx(2 * 2 / 6))
    assert found["bo", "the model's suggestion"] == (1, pytest.approx(2 * 4 / 12))
    assert ("chief", "the model's suggestion") not in found
