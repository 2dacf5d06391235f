"""The repair: what a machine made is made again, what a person said is kept aside and named, leftovers are collected."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace

from alframe.campaign import Parts, Settings, phases
from alframe.campaign.calibrate import calibrate
from alframe.campaign.heartbeat import beating
from alframe.campaign.round import Round
from alframe.campaign.writer import Stored
from alframe.errors import AlframeError, FencedError
from alframe.integrity.check import GRACE
from alframe.integrity.findings import LABELS, Finding, Progress, Report
from alframe.integrity.replay import same_choice
from alframe.integrity.view import LedgerView, round_as_seen
from alframe.ports import Fence, RoundRecord, Transition, Upkeep
from alframe.types import ArtifactRef

__all__ = ["repair"]

_STEPS: tuple[tuple[tuple[str, ...], Callable[[Round], Transition | None]], ...] = (
    (("checkpoint/", "history/", "loss/", "member/"), phases.fit),
    (("score/",), phases.score),
    (("manifest",), phases.commit),
    (("evaluate/", "panel/", "blobs/"), calibrate),
)
"""Which keys a phase names, in the order in which they depend on each other."""

_FITTED = ("checkpoint", "history", "loss")
_EXACT = frozenset(("manifest", "metrics"))
"""Kinds whose rows the ledger's other rows were computed from: they come back with their own hash or not at all."""


def repair(
    settings: Settings, parts: Parts, report: Report, *, grace: float = GRACE, progress: Progress | None = None
) -> Report:
    """Repair what a :func:`~alframe.integrity.check.check` found; the report says what became of each finding.

    Holds the campaign's lease meanwhile. Raises LeaseHeld when a driver works on it, FencedError when one took over.
    """
    ledger, name = parts.ledger, settings.name
    before, stop = ledger.campaign(name), ledger.stop_requested(name)
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    fence = ledger.claim(name, holder=holder, lease_seconds=settings.lease_seconds)
    try:
        with beating(ledger, fence, settings.lease_seconds) as heart:
            found = _Repair(settings, parts, fence, heart.check).all(report, grace, progress)
    finally:
        ledger.release(fence, status=before.status, reason=before.reason)
        if stop is not None:
            ledger.request_stop(name, stop)
    return replace(report, findings=found)


class _Repair:
    def __init__(self, settings: Settings, parts: Parts, fence: Fence, alive: Callable[[], None]) -> None:
        self._settings, self._parts, self._fence, self._alive = settings, parts, fence, alive

    def all(self, report: Report, grace: float, progress: Progress | None) -> tuple[Finding, ...]:
        """Rounds in order, as later ones are computed from earlier ones; leftovers last."""
        left = [finding for finding in report.findings if finding.ref is None]
        broken = [finding for finding in report.findings if finding.ref is not None]
        records = self._parts.ledger.rounds(self._settings.name)
        for done, record in enumerate(records, start=1):
            left += self._round(record, [finding for finding in broken if finding.round == record.index])
            if progress is not None:
                progress(done, len(records))
        return tuple(self._leftover(finding, grace) for finding in left)

    def _round(self, record: RoundRecord, broken: list[Finding]) -> list[Finding]:
        settled = [self._label(finding) for finding in broken if finding.ref and finding.ref.kind in LABELS]
        machine = [finding for finding in broken if finding.ref and finding.ref.kind not in LABELS]
        for prefixes, step in _STEPS:
            mine = [finding for finding in machine if finding.key.startswith(prefixes)]
            if mine:
                settled += self._attempt(mine, lambda mine=mine, step=step: self._again(record, mine, step))  # type: ignore[misc]
            if step is phases.score and (shown := [finding for finding in machine if finding.query]):
                settled += self._attempt(shown, lambda shown=shown: self._shown(record, shown))  # type: ignore[misc]
        known = {finding.ref for finding in settled}
        return settled + [finding for finding in machine if finding.ref not in known]

    def _attempt(self, broken: list[Finding], work: Callable[[], list[Finding]]) -> list[Finding]:
        try:
            return work()
        except FencedError:
            raise
        except AlframeError as error:
            return [replace(f, advice=f"It could not be recomputed: {error}") for f in broken]

    def _again(
        self, record: RoundRecord, broken: list[Finding], step: Callable[[Round], Transition | None]
    ) -> list[Finding]:
        """Run a phase with the broken artifacts hidden: it makes those again, and only those."""
        stored = self._parts.ledger.artifacts(self._settings.name, record.index)
        hidden = {key for key, ref in stored.items() if any(finding.ref == ref for finding in broken)}
        if step is phases.fit:  # a training run is repeated whole
            runs = {key.partition("/")[2] for key in hidden if not key.startswith("member/")}
            hidden |= {f"{kind}/{run}" for run in runs for kind in _FITTED}
        view = LedgerView(self._parts.ledger, record.index, frozenset(hidden))
        made = step(round_as_seen(self._settings, self._parts, record, view))
        named = dict(view.recorded) | dict(made.artifacts if made is not None else {})
        settled = []
        for finding in broken:
            keys = [key for key, ref in stored.items() if ref == finding.ref and key in named]
            settled.append(self._named(record, finding, named[keys[0]], keys[0]) if keys else finding)
        return settled

    def _shown(self, record: RoundRecord, broken: list[Finding]) -> list[Finding]:
        """Pre-fills are made by explaining the round's queries again."""
        view = LedgerView(self._parts.ledger, record.index, frozenset())
        made = phases.ask(round_as_seen(self._settings, self._parts, record, view))
        prefills = {query.id: query.prefill for query in made.queries}
        settled = []
        for finding in broken:
            ref = prefills.get(finding.query)
            settled.append(finding if ref is None else self._named(record, finding, ref, ""))
        return settled

    def _named(self, record: RoundRecord, finding: Finding, made: ArtifactRef, key: str) -> Finding:
        """`made` lies in the store. With the old hash all is well; with another one its rows must follow."""
        assert finding.ref is not None
        self._alive()
        if made == finding.ref:
            return replace(finding, outcome="repaired", advice="")
        text = f"recomputed as {made.sha256[:12]}"
        if made.kind in _EXACT:
            return replace(finding, advice=f"It was {text}, and other rows depend on its exact bytes: restore it.")
        if made.kind == "scores":
            view = LedgerView(self._parts.ledger, record.index, frozenset(), {key: made})
            if not same_choice(round_as_seen(self._settings, self._parts, record, view)):
                return replace(finding, advice=f"It was {text}, which would have chosen other queries: restore it.")
        self._parts.ledger.rename_artifact(self._fence, finding.ref, made)
        return replace(finding, outcome="renamed", advice=f"It was {text}: the ledger names that now.")

    def _label(self, finding: Finding) -> Finding:
        """An answer's record is written again from its row; a damaged mask is kept aside."""
        assert finding.ref is not None
        artifacts = self._parts.artifacts
        if finding.ref.kind == "answer":
            for answer in self._parts.ledger.answers(self._settings.name):
                if finding.key == f"told/{answer.query}/{answer.rater}":
                    stored = Stored(
                        query=answer.query,
                        rater=answer.rater,
                        outcome=answer.outcome,
                        mask=answer.mask,
                        seconds=answer.seconds,
                        reason=answer.reason,
                    )
                    if artifacts.put("answer", stored.to_json()) == finding.ref:
                        return replace(finding, outcome="repaired", advice="")
        if finding.code == "missing" or not isinstance(artifacts, Upkeep):
            return finding
        advice = f"Its bytes are kept in {artifacts.quarantine(finding.ref)}. Restore the label from a backup."
        return replace(finding, outcome="quarantined", advice=advice)

    def _leftover(self, finding: Finding, grace: float) -> Finding:
        collectable = finding.code in ("orphan", "unfinished") and finding.file is not None
        if not collectable or not isinstance(self._parts.artifacts, Upkeep):
            return finding
        assert finding.file is not None
        gone = self._parts.artifacts.delete(finding.file, older=grace)
        return replace(finding, outcome="collected", advice="") if gone else finding
