"""What each rater did, and how far they agree with each other."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import combinations
from typing import Any

from alframe.labelling import LabellingDesk, Standing, Submission
from alframe.labelling.consensus import agreement
from alframe.types import ArtifactRef, LabelMap

__all__ = ["Table"]

_PAIRS = 20_000


class Table:
    """The raters of a campaign. Each pair of masks is compared once and remembered by the masks' hashes. Safe in threads."""

    def __init__(self, desk: LabellingDesk, campaign: str) -> None:
        self._desk, self._campaign = desk, campaign
        self._agreement = functools.lru_cache(maxsize=_PAIRS)(self._compared)

    def rows(self) -> list[dict[str, Any]]:
        """One row a rater, by name: current labels, active seconds, and the mean Dice with others on shared tasks."""
        by_rater: dict[str, list[Submission]] = defaultdict(list)
        by_task: dict[str, list[Submission]] = defaultdict(list)
        for one in self._desk.ledger.submissions(self._campaign):
            if one.current and one.standing is not Standing.SKIP:
                by_rater[one.rater].append(one)
                if one.mask is not None and not one.repeat:
                    by_task[one.task].append(one)
        shared: dict[str, list[float]] = defaultdict(list)
        for said in by_task.values():
            for one, other in combinations(said, 2):
                if one.rater != other.rater and one.mask is not None and other.mask is not None:
                    value = self._agreement(*sorted((one.mask, other.mask), key=lambda ref: ref.sha256))
                    shared[one.rater].append(value)
                    shared[other.rater].append(value)
        return [self._row(name, by_rater[name], shared[name]) for name in sorted(by_rater)]

    def _row(self, name: str, said: list[Submission], shared: list[float]) -> dict[str, Any]:
        known = [one.active_ms for one in said if one.active_ms is not None]
        return {
            "name": name,
            "labels": len(said),
            "seconds": sum(known) / 1000 if known else None,
            "agreement": sum(shared) / len(shared) if shared else None,
        }

    def _compared(self, one: ArtifactRef, other: ArtifactRef) -> float:
        a, b = (LabelMap(classes=self._desk.artifacts.get_arrays(ref)["classes"]) for ref in (one, other))
        return agreement(a, b)
