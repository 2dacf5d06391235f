"""Raters of a script, who work at a labelling desk as people do: claim, draw, submit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alframe.labelling import Assignment, Credential, LabellingDesk, Receipt, Roster, Scope, Work
from alframe.ports import Pool
from alframe.types import LabelMap, Outcome

__all__ = ["ScriptedRater", "enrolled", "truthful", "work_of"]

Draw = Callable[[Assignment], Work]


def work_of(
    labels: LabelMap | None,
    outcome: Outcome | None = None,
    *,
    id: str | None = None,
    reason: str = "",
    supersedes: str | None = None,
    active_ms: int | None = 1000,
) -> Work:
    """Work with the outcome that the labels speak of, unless one is given."""
    said = outcome
    if said is None:
        assert labels is not None
        said = Outcome.LABELED if np.any(labels.classes[labels.annotated] != 0) else Outcome.EMPTY_CONFIRMED
    return Work(
        id=id or str(uuid.uuid4()),
        outcome=said,
        labels=labels,
        reason=reason,
        supersedes=supersedes,
        active_ms=active_ms,
        wall_ms=active_ms,
        client="script",
    )


def truthful(pool: Pool, rater: str | None = None) -> Draw:
    """Draws what the pool's truth says."""

    def draw(given: Assignment) -> Work:
        labels = pool.truth(given.task.item, rater).crop(given.task.box)
        return work_of(labels)

    return draw


def enrolled(desk: LabellingDesk, *names: str, scopes: Sequence[Scope] = (Scope.ANNOTATE,)) -> list[Credential]:
    """Credentials of new raters, each proven by a token of its own."""
    roster = Roster(desk.ledger)
    for name in names:
        roster.add(name, *scopes)
    return [roster.authenticate(roster.token(name)) for name in names]


@dataclass(frozen=True, slots=True)
class ScriptedRater:
    """One rater at one desk."""

    desk: LabellingDesk
    who: Credential
    draw: Draw

    def turn(self, campaign: str) -> Receipt | None:
        """One task, if there is one."""
        given = self.desk.claim(self.who, campaign)
        return None if given is None else self.desk.submit(self.who, given.lease.id, self.draw(given))

    def work(self, campaign: str, most: int = 10_000) -> int:
        """Tasks until there are no more for this rater, or `most`; how many."""
        done = 0
        while done < most and self.turn(campaign) is not None:
            done += 1
        return done
