"""What each rater did, and how far they agree with each other."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import combinations
from typing import Any

from alframe.labelling import Effort, LabellingDesk, Opinion
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
        by_task: dict[str, list[Opinion]] = defaultdict(list)
        for one in self._desk.ledger.opinions(self._campaign):
            by_task[one.task].append(one)
        shared: dict[str, list[float]] = defaultdict(list)
        for said in by_task.values():
            for one, other in combinations(said, 2):
                if one.rater != other.rater:
                    value = self._agreement(*sorted((one.mask, other.mask), key=lambda ref: ref.sha256))
                    shared[one.rater].append(value)
                    shared[other.rater].append(value)
        return [self._row(one, shared[one.rater]) for one in self._desk.ledger.efforts(self._campaign)]

    def _row(self, one: Effort, shared: list[float]) -> dict[str, Any]:
        return {
            "name": one.rater,
            "labels": one.labels,
            "seconds": None if one.active_ms is None else one.active_ms / 1000,
            "agreement": sum(shared) / len(shared) if shared else None,
        }

    def _compared(self, one: ArtifactRef, other: ArtifactRef) -> float:
        a, b = (LabelMap(classes=self._desk.artifacts.get_arrays(ref)["classes"]) for ref in (one, other))
        return agreement(a, b)
