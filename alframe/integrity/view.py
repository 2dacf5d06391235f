"""A round as its phases saw it: the ledger read-only, with some artifacts left out or exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from alframe.campaign import Parts, Settings
from alframe.campaign.round import Round
from alframe.campaign.writer import AnswerWriter
from alframe.ports import Executor, Fence, Ledger, RoundRecord
from alframe.types import ArtifactRef, Query

__all__ = ["LedgerView", "round_as_seen"]


class LedgerView:
    """Reads as `ledger` does, without the artifacts `hidden` of one round and with `given` ones in their place.

    What a phase records is kept in `recorded` and written nowhere. Every other write is refused by its fence.
    """

    def __init__(
        self, ledger: Ledger, round: int, hidden: frozenset[str], given: Mapping[str, ArtifactRef] | None = None
    ) -> None:
        self._ledger, self._round, self._hidden, self._given = ledger, round, hidden, dict(given or {})
        self.recorded: dict[str, ArtifactRef] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def artifacts(self, name: str, round: int) -> dict[str, ArtifactRef]:
        """Named artifacts of a round, as this view has them."""
        found = self._ledger.artifacts(name, round)
        if round != self._round:
            return found
        return {key: ref for key, ref in found.items() if key not in self._hidden} | self._given

    def record_artifact(self, fence: Fence, round: int, key: str, ref: ArtifactRef) -> ArtifactRef:
        """Remember what a phase made."""
        self.recorded[key] = ref
        return ref


class _Mute:
    """An oracle that nobody hears: a pre-fill that is made again asks nothing."""

    def ask(self, campaign: str, queries: tuple[Query, ...]) -> None:
        """Ignore."""


def _alive() -> None:
    return


def round_as_seen(
    settings: Settings, parts: Parts, record: RoundRecord, view: LedgerView, executor: Executor | None = None
) -> Round:
    """A round whose phases can be run again; they change nothing but the store."""
    muted = replace(parts, ledger=cast(Ledger, view), oracle=cast(Any, _Mute()), executor=executor or parts.executor)
    return Round(
        settings=settings,
        parts=muted,
        fence=Fence(campaign=settings.name, epoch=-1),
        record=record,
        writer=AnswerWriter(parts.artifacts),
        alive=_alive,
    )
