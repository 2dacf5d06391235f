"""Faults 14 to 17: the same answer twice, another one by the same rater, a late one, an acknowledgement that got lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alframe import failpoints
from alframe.campaign import CampaignLoop
from alframe.errors import ConflictError
from alframe.testing.faults.lab import Lab, answer_to, ledger_rows
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.faults.processes import Ended, Say, spawn
from alframe.types import Query

__all__ = ["ANSWERS"]

TOLD = "SELECT key, sha256 FROM artifacts WHERE key LIKE 'told/%' ORDER BY key"


def _say(lab: Lab, folder: Path, act: Callable[[CampaignLoop, tuple[Query, ...], Say], None]) -> Ended:
    """In a process of its own: ask, then `act` on the queries that wait."""

    def work(say: Say) -> None:
        campaign = lab.campaign(folder, flow="tell")
        act(campaign, campaign.ask(), say)

    return spawn(work).wait()


def _told(folder: Path) -> list[Any]:
    return ledger_rows(folder, TOLD)


def twice(lab: Lab, number: int) -> Outcome:
    """The same submission comes twice, in one call and in another."""
    outcome = Outcome()

    def act(campaign: CampaignLoop, queries: tuple[Query, ...], say: Say) -> None:
        answer = answer_to(campaign, queries[number])
        for batch in ([answer], [answer], [answer, answer]):
            say(status=campaign.tell(batch).status)

    with lab.folder() as folder:
        ended = _say(lab, folder, act)
        outcome.expect(ended.all("status") == ["waiting"] * 3, f"a repeat is not answered as the first: {ended}")
        outcome.expect(len(_told(folder)) == 1, "a repeat made another label")
        lab.finish(folder, outcome, "tell")
    return outcome


def conflicting(lab: Lab, number: int) -> Outcome:
    """The same rater sends another answer to the same query."""
    outcome = Outcome()

    def act(campaign: CampaignLoop, queries: tuple[Query, ...], say: Say) -> None:
        campaign.tell([answer_to(campaign, queries[number])])
        say(first=True)
        try:
            campaign.tell([answer_to(campaign, queries[number], other=True)])
        except ConflictError as error:
            say(conflict=str(error))

    with lab.folder() as folder:
        ended = _say(lab, folder, act)
        outcome.expect("the first one stands" in ended.last("conflict"), f"no conflict was told: {ended}")
        stored = sum(file.is_file() for file in (folder / "artifacts" / "answer").rglob("*"))
        outcome.expect(stored == 2, f"{stored} answers are kept, expected both")
        outcome.expect(len(_told(folder)) == 1, "the second answer became a label")
        lab.finish(folder, outcome, "tell")
    return outcome


def late(lab: Lab, number: int) -> Outcome:
    """A query was given to another rater, who answered; the first one's answer comes after all."""
    outcome = Outcome()

    def act(campaign: CampaignLoop, queries: tuple[Query, ...], say: Say) -> None:
        campaign.tell([answer_to(campaign, queries[number])])
        say(status=campaign.tell([answer_to(campaign, queries[number], rater="ben", other=True)]).status)

    with lab.folder() as folder:
        ended = _say(lab, folder, act)
        keys = [key.rpartition("/")[2] for key, _ in _told(folder)]
        outcome.expect(keys == ["ana", "ben"], f"expected the answers of both raters, found {keys}: {ended}")
        finished = lab.drive(folder, flow="tell").wait()
        outcome.expect(finished.last("status") == "done", f"the campaign did not end: {finished}")
        raters = ledger_rows(folder, "SELECT rater FROM answers ORDER BY rater")
        outcome.expect(("ben",) in raters, "the late answer is in no round")
        lab.audit(folder, outcome, [], "at the end")
    return outcome


def unacknowledged(lab: Lab, number: int) -> Outcome:
    """The label is in the ledger, and the process dies before it can say so; the rater sends it again."""
    outcome = Outcome()

    def dying(campaign: CampaignLoop, queries: tuple[Query, ...], say: Say) -> None:
        def hook(name: str) -> None:
            if name == "ledger.record_artifact.after_commit":
                os.kill(os.getpid(), signal.SIGKILL)

        with failpoints.installed(hook):
            campaign.tell([answer_to(campaign, queries[number])])

    with lab.folder() as folder:

        def again(campaign: CampaignLoop, queries: tuple[Query, ...], say: Say) -> None:
            asked = campaign.parts.ledger.queries(campaign.name, 0)
            say(status=campaign.tell([answer_to(campaign, asked[number])]).status)

        ended = _say(lab, folder, dying)
        outcome.expect(ended.killed, f"the driver was not killed: {ended}")
        outcome.kills += 1
        before = _told(folder)
        outcome.expect(len(before) == 1, "the label was not in the ledger")
        ended = _say(lab, folder, again)
        outcome.expect(ended.code == 0 and _told(folder) == before, f"the retry changed something: {ended}")
        lab.finish(folder, outcome, "tell")
    return outcome


def _numbers(lab: Lab) -> list[int]:
    """Places of the queries of round 0."""
    return [0, 1]


ANSWERS = (
    Fault(
        number=14,
        title="the same submission twice",
        expected="accepted again, one label",
        cases=_numbers,
        trial=twice,
    ),
    Fault(
        number=15,
        title="a conflicting second one",
        expected="kept, told, label unchanged",
        cases=_numbers,
        trial=conflicting,
    ),
    Fault(
        number=16,
        title="a late one after reassignment",
        expected="kept, as long as its round waits for labels",
        cases=_numbers,
        trial=late,
    ),
    Fault(
        number=17,
        title="acknowledgement lost",
        expected="the retry changes nothing",
        cases=_numbers,
        trial=unacknowledged,
    ),
)
