"""Who labelled: how much, how long, and how they agree with each other, with themselves, and with what the model suggested."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from alframe.labelling import Agreement, LabellingDesk, LabellingLedger, Standing, Submission, agreements
from alframe.ports import Artifacts
from alframe.report.figure import Cell, Table

__all__ = ["people"]


def people(labelling: LabellingLedger, artifacts: Artifacts, campaign: str) -> list[Table]:
    """Tables of a campaign's raters; none when nobody submitted anything. Reads every mask once.

    Raises: ArtifactMissing, ArtifactDamaged.
    """
    said = [one for one in labelling.submissions(campaign) if one.current]
    if not said:
        return []
    found = agreements(LabellingDesk(labelling, artifacts), campaign)
    return [_work(said), *([_agreement(found)] if found else [])]


def _work(said: Sequence[Submission]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for rater in sorted({one.rater for one in said}):
        own = [one for one in said if one.rater == rater]
        standings = [one.standing for one in own]
        seconds = [one.active_ms / 1000 for one in own if one.active_ms is not None]
        rows.append(
            (
                rater,
                sum(one.outcome.carries_label for one in own),
                sum(not one.outcome.carries_label and one.standing is not Standing.SKIP for one in own),
                standings.count(Standing.SKIP),
                standings.count(Standing.ADJUDICATION),
                statistics.median(seconds) if seconds else None,
                sum(seconds) / 60 if seconds else None,
            )
        )
    columns = ("rater", "labels", "not possible", "skipped", "decided", "median seconds", "minutes in all")
    return Table(title="People at work", columns=columns, rows=tuple(rows))


def _agreement(found: Sequence[Agreement]) -> Table:
    """Mean agreement (Dice) of each pair, a rater's own repeats, and the suggestion where it was shown and where it was not."""
    groups: dict[tuple[int, str, str], list[float]] = {}
    for one in found:
        if one.kind == "between":
            first, second = sorted((one.rater, one.other))
            key = (0, first, second)
        elif one.kind == "within":
            key = (1, one.rater, "the same rater, asked again")
        else:
            key = (2, one.rater, "the model, not shown (blind)" if one.blind else "the model's suggestion")
        groups.setdefault(key, []).append(one.value)
    rows = tuple(
        (rater, other, len(values), statistics.fmean(values)) for (_, rater, other), values in sorted(groups.items())
    )
    columns = ("rater", "with", "tasks", "Dice, mean")
    return Table(title="Agreement", columns=columns, rows=rows)
