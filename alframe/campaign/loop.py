"""The loop: plan → fit → score → select → ask → tell → commit → calibrate, each phase persisted before the next."""

from __future__ import annotations

import functools
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from alframe import failpoints
from alframe.campaign import phases
from alframe.campaign.calibrate import calibrate
from alframe.campaign.digest import campaign_digest
from alframe.campaign.heartbeat import Heartbeat, beating
from alframe.campaign.round import Round
from alframe.campaign.settings import Parts, Settings
from alframe.campaign.stopping import Spent, stop_reason
from alframe.campaign.writer import AnswerWriter, checked
from alframe.errors import AlframeError, ConflictError, FencedError
from alframe.ports import Fence, RoundRecord, Transition
from alframe.types import Answer, Phase, Query, Split

__all__ = ["CampaignLoop", "Standing"]

Step = Callable[[Round], Transition | None]
_SHARE = 20.0
"""Looking for answers takes at most this part of the time spent waiting for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a campaign stands: ``running``, ``waiting``, ``done``, ``stopped`` or ``failed``, and why."""

    status: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.status == "done"


def _finish(work: Round) -> Transition:
    return Transition(round=work.index, source=Phase.CALIBRATED, target=Phase.DONE)


STEPS: dict[Phase, Step] = {
    Phase.PLANNED: phases.fit,
    Phase.TRAINED: phases.score,
    Phase.SCORED: phases.select,
    Phase.SELECTED: phases.ask,
    Phase.ASKED: phases.tell,
    Phase.LABELLED: phases.commit,
    Phase.COMMITTED: calibrate,
    Phase.CALIBRATED: _finish,
}


class CampaignLoop:
    """Drives one campaign over its ports. Everything it knows is in the ledger: a new object goes on where an old one died.

    Not safe for threads; two drivers of one campaign exclude each other by the ledger's lease.
    """

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.settings, self.parts = settings, parts
        self._writer: AnswerWriter = parts.executor.own(functools.partial(AnswerWriter, parts.artifacts))

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.settings.name

    def digest(self) -> str:
        """See :func:`~alframe.campaign.digest.campaign_digest`."""
        return campaign_digest(self.parts.ledger, self.name)

    def run(self, *, poll: float | None = None) -> Standing:
        """Go on until a rule ends the campaign, an answer is missing, or somebody asked to stop.

        With `poll`, missing answers do not end it: they are looked for every `poll` seconds (less often where looking takes
        long). Nobody holds the campaign meanwhile, so that others may read, stop or drive it.
        Raises LeaseHeld when another driver works on it, FencedError when one took over.
        """
        while True:
            standing = self._run()
            if standing.status != "waiting" or poll is None:
                return standing
            if (stop := self._await(poll)) is not None:
                with self._driving() as drive:
                    return drive.leave(Standing(status="stopped", reason=stop))

    def _await(self, poll: float) -> str | None:
        """Return when all answers of the round are there (None), or with the reason why somebody asked to stop."""
        ledger, observer = self.parts.ledger, self.parts.observer
        record = ledger.rounds(self.name)[-1]
        known, took = -1, 0.0
        while True:
            time.sleep(max(poll, _SHARE * took))
            began = time.monotonic()
            if (stop := ledger.stop_requested(self.name)) is not None:
                return stop
            left, asked = phases.awaited(self.settings, self.parts, record.index)
            if known < 0:
                observer.phase_started(record.index, Phase.LABELLED, asked)
            if asked - left != known:
                known = asked - left
                observer.advanced(known)
            if left == 0:
                return None
            took = time.monotonic() - began

    def _run(self) -> Standing:
        with self._driving() as drive:
            while (standing := drive.round()).status == "running":
                pass
            return drive.leave(standing)

    def step(self) -> Standing:
        """Finish the round in hand, or do the next one. Raises as :meth:`run`."""
        with self._driving() as drive:
            return drive.leave(drive.round())

    def ask(self) -> tuple[Query, ...]:
        """Go on to the point where queries wait for answers, and return them (empty when the campaign has ended).

        Queries that :meth:`tell` has answered already are left out. Raises as :meth:`run`.
        """
        with self._driving() as drive:
            while (standing := drive.round(until=Phase.ASKED)).status == "running":
                if waiting := drive.unanswered():
                    drive.leave(Standing(status="waiting", reason=f"{len(waiting)} queries wait for answers"))
                    return waiting
                if (standing := drive.round()).status != "running":
                    break
            drive.leave(standing)
            return ()

    def tell(self, answers: Sequence[Answer]) -> Standing:
        """Store answers to the queries that wait; when none is left, finish the round.

        Each answer is durable when this returns. Telling the same answer twice changes nothing.
        Raises InvalidValue for an answer that fits no query, ConflictError for another answer by the same rater.
        """
        with self._driving() as drive:
            drive.store(answers)
            return drive.leave(drive.round())

    @contextmanager
    def _driving(self) -> Iterator[Drive]:
        """Hold the campaign's lease for the block, and record how it ended, whatever happens."""
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        ledger, lease = self.parts.ledger, self.settings.lease_seconds
        fence = ledger.claim(self.name, holder=holder, lease_seconds=lease)
        broken: Standing | None = Standing(status="failed", reason="the driver ended unexpectedly")
        try:
            with beating(ledger, fence, lease) as heart:
                drive = Drive(self.settings, self.parts, fence, heart, self._writer)
                yield drive
            broken = None
        except FencedError:
            broken = None
            raise  # nothing is written any more, the lease of another least of all
        except AlframeError as error:
            broken = Standing(status="failed", reason=str(error))
            raise
        except KeyboardInterrupt:
            broken = Standing(status="stopped", reason="interrupted")
            raise
        finally:
            if broken is not None:
                with suppress(AlframeError):  # what broke it says more; without a release the lease runs out by itself
                    ledger.release(fence, status=broken.status, reason=broken.reason)
        ledger.release(fence, status=drive.standing.status, reason=drive.standing.reason)


class Drive:
    """One stretch of work under one lease."""

    def __init__(self, settings: Settings, parts: Parts, fence: Fence, heart: Heartbeat, writer: AnswerWriter) -> None:
        self.settings, self.parts, self.fence, self.heart, self.writer = settings, parts, fence, heart, writer
        self.standing = Standing(status="running")

    def leave(self, standing: Standing) -> Standing:
        """Remember how the stretch ended; the lease is released with it."""
        self.standing = standing
        return standing

    def round(self, until: Phase = Phase.DONE) -> Standing:
        """Work on the current round up to `until`."""
        record = self._current()
        if record is None:
            return Standing(status="done", reason=self._rounds()[-1].reason)
        last = until if record.acquire else Phase.DONE
        while record.phase.order < last.order:
            self.heart.check()
            stop = self.parts.ledger.stop_requested(self.settings.name)
            if stop is not None:
                return Standing(status="stopped", reason=stop)
            advanced = self._advance(record)
            if advanced is None:
                missing = len(self.unanswered())
                return Standing(status="waiting", reason=f"round {record.index}: {missing} queries wait for answers")
            record = advanced
        if record.phase is Phase.DONE and not record.acquire:
            return Standing(status="done", reason=record.reason)
        return Standing(status="running")

    def _rounds(self) -> tuple[RoundRecord, ...]:
        return self.parts.ledger.rounds(self.settings.name)

    def _current(self) -> RoundRecord | None:
        """The unfinished round, or a new one; None when the campaign has ended."""
        rounds = self._rounds()
        if rounds and rounds[-1].phase is not Phase.DONE:
            return rounds[-1]
        if rounds and not rounds[-1].acquire:
            return None
        return self._plan(rounds)

    def _plan(self, rounds: tuple[RoundRecord, ...]) -> RoundRecord:
        """Open the next round; its last one trains and measures but acquires nothing."""
        failpoints.reach("campaign.planned.before")
        ledger, name = self.parts.ledger, self.settings.name
        parent = rounds[-1].version if rounds else self.parts.pool.manifest_hash
        reason = ""
        if rounds:
            reason = stop_reason(self.settings, self._spent(rounds), ledger.metrics(name))
            if not reason and not ledger.queries(name, rounds[-1].index):
                reason = "exhausted: nothing in the pool is left to query"
        record = RoundRecord(index=len(rounds), phase=Phase.PLANNED, parent=parent, acquire=not reason, reason=reason)
        begun = ledger.begin_round(self.fence, record)
        failpoints.reach("campaign.planned.after")
        return begun

    def _spent(self, rounds: tuple[RoundRecord, ...]) -> Spent:
        ledger, name = self.parts.ledger, self.settings.name
        cost: dict[str, float] = {"annotated_pixels": 0.0, "acquired_pixels": 0.0}
        for t, metric in ledger.metrics(name):
            if t == rounds[-1].index and metric.scope == "campaign" and metric.value is not None:
                cost[metric.name] = metric.value
        return Spent(
            rounds=len(rounds) - 1,
            queries=len(ledger.queries(name)),
            pixels=int(cost["annotated_pixels"] + cost["acquired_pixels"]),
            seconds=sum(seconds for _, _, seconds in ledger.seconds(name)),
            training_pixels=sum(info.size for info in self.parts.pool.items(Split.TRAIN)),
        )

    def _work(self, record: RoundRecord) -> Round:
        return Round(
            settings=self.settings,
            parts=self.parts,
            fence=self.fence,
            record=record,
            writer=self.writer,
            alive=self.heart.check,
        )

    def _advance(self, record: RoundRecord) -> RoundRecord | None:
        """One phase: work, then one transaction. None when answers are missing."""
        began = time.monotonic()
        transition = STEPS[record.phase](self._work(record))
        if transition is None:
            return None
        self.heart.check()
        seconds = time.monotonic() - began
        reached = transition.target
        failpoints.reach(f"campaign.{reached}.before")
        self.parts.ledger.advance(self.fence, replace(transition, seconds=seconds))
        failpoints.reach(f"campaign.{reached}.after")
        self.parts.observer.phase_finished(record.index, reached, seconds)
        return replace(record, phase=reached, version=transition.version or record.version)

    def unanswered(self) -> tuple[Query, ...]:
        """Queries of the current round that have fewer answers by :meth:`store` than replicas wanted."""
        rounds = self._rounds()
        if not rounds or rounds[-1].phase is not Phase.ASKED:
            return ()
        told = [key.split("/")[1] for key in self._artifacts(rounds[-1]) if key.startswith("told/")]
        queries = self.parts.ledger.queries(self.settings.name, rounds[-1].index)
        return tuple(query for query in queries if told.count(query.id) < query.replicas)

    def _artifacts(self, record: RoundRecord) -> list[str]:
        return list(self.parts.ledger.artifacts(self.settings.name, record.index))

    def store(self, answers: Sequence[Answer]) -> None:
        """Make answers durable under the round that waits for them."""
        rounds = self._rounds()
        if not rounds or rounds[-1].phase is not Phase.ASKED:
            raise ConflictError(f"campaign {self.settings.name!r} does not wait for answers now; call ask() first")
        index = rounds[-1].index
        queries = {query.id: query for query in self.parts.ledger.queries(self.settings.name, index)}
        for stored in self.writer.write(checked(answers, queries, len(self.parts.pool.classes))):
            ref = self.parts.artifacts.put("answer", stored.to_json())
            kept = self.parts.ledger.record_artifact(self.fence, index, f"told/{stored.query}/{stored.rater}", ref)
            if kept != ref:
                raise ConflictError(
                    f"query {stored.query}: rater {stored.rater!r} gave another answer before; the first one stands"
                )
