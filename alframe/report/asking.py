"""Whom the campaign asked and why: raters by name, and boxes put to another rater.

Legend: ``Y X`` the shape of a box.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from alframe.metrics import fuse
from alframe.metrics import raters as measure
from alframe.ports import Artifacts
from alframe.report.figure import Cell, Table
from alframe.report.reading import Arm
from alframe.report.svg import compact
from alframe.strategies.opinions import Choice, Opinions, one_more, rater_records, reason
from alframe.types import AnswerRecord, Box, Query

__all__ = ["Asked", "asked", "by_round", "latest"]

ROWS = 30
"""Queries in the list of reasons: the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query that was put to somebody by name, or to one more rater.

    `before` are the raters who had labelled the box; `why` says why these raters, `apart` how far the new answers lie from the
    majority of the old ones (1 − Dice; None without both).
    """

    round: int
    query: Query
    before: tuple[str, ...]
    why: str
    apart: float | None = None

    @property
    def box(self) -> str:
        """Why this box."""
        if not self.before:
            return f"new, score {compact(self.query.score)}"
        return f"another opinion: {compact(self.query.score)} contested pixels; labelled by {', '.join(self.before)}"


def asked(arm: Arm, artifacts: Artifacts, classes: int) -> list[Asked]:
    """Every query that names raters or asks about a box again, by round and rank.

    The reasons are those of the policy in the campaign's configuration; of a ledger without one they are left empty.
    """
    said: dict[tuple[str, Box], list[AnswerRecord]] = {}
    for answer in arm.answers:
        if answer.mask is not None:
            said.setdefault((answer.item, answer.box), []).append(answer)
    found: list[Asked] = []
    for index, queries in sorted(arm.queries.items()):
        rows = []
        for query in queries:
            answers = said.get((query.item, query.box), [])
            before = [one for one in answers if one.round < index]
            if query.raters or before:
                now = [one for one in answers if one.query == query.id]
                names = tuple(dict.fromkeys(one.rater for one in before))
                apart = _apart(before, now, artifacts, classes)
                rows.append(Asked(round=index, query=query, before=names, why="", apart=apart))
        found += _explained(arm, index, rows)
    return found


def _explained(arm: Arm, index: int, rows: list[Asked]) -> list[Asked]:
    policy = arm.settings.get("raters")
    if not isinstance(policy, dict):
        return rows
    known = {name: policy[name] for name in ("first", "then", "trial") if name in policy}
    opinions, done = Opinions(**known), {}
    ways: tuple[tuple[bool, Choice], ...] = ((True, opinions.then), (False, opinions.first))
    for again, how in ways:
        records = rater_records(arm.answers, arm.metrics, index=index)
        for row in rows:
            if bool(row.before) == again:
                words = [reason(name, records, how=how, trial=opinions.trial) for name in row.query.raters]
                done[row.query.id] = replace(row, why="; ".join(dict.fromkeys(word for word in words if word)))
                records = one_more(records, row.query.raters)
    return [done[row.query.id] for row in rows]


def _apart(before: list[AnswerRecord], now: list[AnswerRecord], artifacts: Artifacts, classes: int) -> float | None:
    if not before or not now:
        return None
    old, new = (
        fuse(np.stack([artifacts.get_arrays(one.mask)["classes"] for one in group if one.mask]), classes=classes)[0]
        for group in (before, now)
    )
    return measure.disagreement(np.stack([old, new]), classes=classes)


def by_round(found: list[Asked]) -> Table | None:
    """Whom each round asked, and how far the other opinions lay from the first ones; None where nobody was asked by name."""
    if not found:
        return None
    raters = sorted({name for one in found for name in one.query.raters})
    rows: list[tuple[Cell, ...]] = []
    for index in sorted({one.round for one in found}):
        here = [one for one in found if one.round == index]
        again = [one for one in here if one.before]
        names = Counter(name for one in here for name in one.query.raters)
        apart = [one.apart for one in again if one.apart is not None]
        worth = float(np.mean([one.query.score for one in again])) if again else None
        mean = float(np.mean(apart)) if apart else None
        rows.append((index, len(here) - len(again), len(again), worth, mean, *(names[name] for name in raters)))
    columns = ("round", "new", "other opinions", "contested pixels, mean", "apart from before, mean", *raters)
    return Table(title="Whom the rounds asked", columns=columns, rows=tuple(rows))


def latest(found: list[Asked]) -> Table | None:
    """Why the latest queries went to whom they went; None where nobody was asked by name."""
    if not found:
        return None
    shown = found[-ROWS:]
    rows = tuple(
        (one.round, one.query.rank + 1, one.query.item, ", ".join(one.query.raters), one.why, one.box, one.apart)
        for one in shown
    )
    many = f", the latest {len(shown)} of {len(found)}" if len(shown) < len(found) else ""
    columns = ("round", "query", "item", "asked", "why this rater", "why this box", "apart from before")
    return Table(title=f"Why this rater{many}", columns=columns, rows=rows)
