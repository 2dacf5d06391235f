"""What a check found, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from alframe.ports import StoredFile
from alframe.types import ArtifactRef

__all__ = ["LABELS", "Finding", "Outcome", "Progress", "Report"]

LABELS = frozenset(("mask", "answer"))
"""Kinds of artifacts that hold what a person said: never deleted, never renamed."""

Outcome = Literal["left", "repaired", "renamed", "quarantined", "collected", "noted"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    `outcome`: ``left`` damage that is still there; ``repaired`` recomputed with the same hash; ``renamed`` recomputed with
    another hash, and the ledger names it now; ``quarantined`` a damaged label, kept aside (it is damage still);
    ``collected`` a leftover, removed; ``noted`` harmless. `round`, `key` (or `query`) and `ref` name an artifact,
    `file` something in the store.
    """

    code: str
    where: str
    found: str
    advice: str = ""
    outcome: Outcome = "left"
    round: int = -1
    key: str = ""
    query: str = ""
    ref: ArtifactRef | None = None
    file: StoredFile | None = None

    @property
    def damage(self) -> bool:
        """Whether something is wrong still."""
        return self.outcome in ("left", "quarantined")

    def plain(self) -> dict[str, Any]:
        """What is printed as JSON."""
        names = ("code", "where", "found", "advice", "outcome")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, and how much was looked at (`checked`, by kind)."""

    campaign: str
    checked: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether no damage is left; what is merely lying about does not count."""
        return not any(finding.damage for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """What is printed as JSON."""
        return {
            "campaign": self.campaign,
            "clean": self.clean,
            "checked": self.checked,
            "findings": [finding.plain() for finding in self.findings],
        }
