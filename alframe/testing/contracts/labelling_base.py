"""What the parts of the labelling contract share: sample tasks, a desk and its raters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alframe.labelling import (
    Credential,
    Effort,
    LabellingDesk,
    LabellingLedger,
    NewTask,
    Opinion,
    Receipt,
    Scope,
    Standing,
    verify,
)
from alframe.testing.desks import enrolled, work_of
from alframe.types import Box, LabelMap

__all__ = ["CAMPAIGN", "CLASSES", "LabellingFixtures", "OpenLabelling", "drawing", "sample_tasks"]

OpenLabelling = Callable[[], LabellingLedger]
CAMPAIGN = "glands"
CLASSES = ("background", "Drüse", "tumour")


def sample_tasks(
    count: int, *, first: int = 0, axes: int = 2, campaign: str = CAMPAIGN, **fields: object
) -> list[NewTask]:
    """Tasks of 4 pixels on each side, two to an item."""
    tasks = []
    for number in range(first, first + count):
        at = (4 * (number % 2),) * axes
        box = Box(start=at, stop=tuple(a + 4 for a in at))
        plain = NewTask(
            id=f"{campaign}-{number}", campaign=campaign, item=f"Größe {number // 2}", box=box, classes=CLASSES
        )
        tasks.append(replace(plain, score=1 / (number + 3), **fields))  # type: ignore[arg-type]
    return tasks


def drawing(value: int = 1, rows: int = 2, axes: int = 2) -> LabelMap:
    """A box of 4 on each side whose first `rows` have class `value`."""
    classes = np.zeros((4,) * axes, np.uint8)
    classes[:rows] = value
    return LabelMap(classes=classes)


class LabellingFixtures:
    """A desk over the ledger under test, and raters. `open_labelling` opens the same (at first empty) ledger each time."""

    @pytest.fixture
    def open_labelling(self) -> OpenLabelling:
        """Opens the labelling tables under test."""
        raise NotImplementedError("give the contract a function that opens the labelling tables")

    @pytest.fixture
    def ledger(self, open_labelling: OpenLabelling) -> LabellingLedger:
        """The tables, opened once."""
        return open_labelling()

    @pytest.fixture
    def desk(self, ledger: LabellingLedger, tmp_path: Path) -> LabellingDesk:
        """A desk with a store of its own."""
        from alframe.storage import FileArtifacts

        return LabellingDesk(ledger, FileArtifacts(tmp_path / "masks"), repeat_gap=2)

    @pytest.fixture
    def raters(self, desk: LabellingDesk) -> list[Credential]:
        """Three raters."""
        return enrolled(desk, "anna", "bo", "Cy, MD")

    @pytest.fixture
    def reviewer(self, desk: LabellingDesk) -> Credential:
        """One who may settle disagreements."""
        return enrolled(desk, "reviewer", scopes=(Scope.REVIEW,))[0]

    def brief(self, desk: LabellingDesk) -> LabellingDesk:
        """The same desk, with leases that are over at once."""
        return LabellingDesk(desk.ledger, desk.artifacts, lease_seconds=0, repeat_gap=desk.repeat_gap)

    def sound(self, desk: LabellingDesk) -> None:
        """Everything that happened is in the audit, in order, and the sums are those of the single submissions."""
        assert verify(desk.ledger, desk.artifacts).problems == ()
        labels = [one for one in desk.ledger.submissions(CAMPAIGN) if one.current and one.standing is not Standing.SKIP]
        times = {name: [one.active_ms for one in labels if one.rater == name] for name in {s.rater for s in labels}}
        known = {name: [ms for ms in said if ms is not None] for name, said in times.items()}
        assert desk.ledger.efforts(CAMPAIGN) == tuple(
            Effort(rater=name, labels=len(times[name]), active_ms=sum(known[name]) if known[name] else None)
            for name in sorted(times)
        )
        drawn = [
            Opinion(task=one.task, rater=one.rater, mask=one.mask)
            for one in labels
            if one.mask is not None and not one.repeat
        ]
        assert desk.ledger.opinions(CAMPAIGN) == tuple(
            one for one in drawn if any(o.task == one.task and o.rater != one.rater for o in drawn)
        )

    def done(self, desk: LabellingDesk, who: Credential, labels: LabelMap | None = None, **more: object) -> Receipt:
        """Claim and submit."""
        given = desk.claim(who, CAMPAIGN)
        assert given is not None
        return desk.submit(who, given.lease.id, work_of(labels or drawing(), **more))  # type: ignore[arg-type]

    def size(self, desk: LabellingDesk, sha256: str) -> int:
        """The size of a mask by its hash, from the audit."""
        return next(
            int(event.payload["mask"]["size"])
            for event in desk.ledger.events()
            if event.action.startswith("submission.") and event.payload["mask"]["sha256"] == sha256
        )
