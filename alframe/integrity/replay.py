"""The replay: every round's decision taken again from the stored candidates and the seed, and compared with the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from alframe.campaign import Parts, Settings
from alframe.campaign.calibrate import calibrate
from alframe.campaign.phases import commit, select
from alframe.campaign.round import Round
from alframe.errors import AlframeError, NotFound
from alframe.integrity.findings import Finding, Progress, Report
from alframe.integrity.view import LedgerView, round_as_seen
from alframe.ports import RoundRecord, RunKind
from alframe.types import Phase, Query

__all__ = ["replay", "same_choice"]

_ADVICE = "Queries, candidates or settings changed after the decision; compare with a backup, and run `alframe fsck`."


class _Nothing:
    """An executor for work that must be done already."""

    workers = 1

    def run(
        self,
        name: str,
        function: Callable[[Any, Any], Any],
        context: Any,
        tasks: Sequence[Any],
        *,
        kind: RunKind = "score",
    ) -> Iterator[tuple[int, Any]]:
        """Refuse any task."""
        if tasks:
            raise NotFound(
                f"{len(tasks)} parts of {name} are not in the ledger, or were cut by another `runtime.range`"
            )
        return iter(())

    def own(self, factory: Callable[[], Any]) -> Any:
        """The object itself."""
        return factory()

    def close(self) -> None:
        """Nothing to release."""


def replay(settings: Settings, parts: Parts, *, metrics: bool = False, progress: Progress | None = None) -> Report:
    """Confirm every round: queries (item, box, score, rank), manifest, version; with `metrics`, its metrics and bins.

    Metrics are computed again from the stored sums, not predicted again. Nothing is written. Raises NotFound.
    """
    rounds = parts.ledger.rounds(settings.name)
    findings: list[Finding] = []
    confirmed = {"rounds": len(rounds), "queries": 0, "versions": 0, "metrics": 0}
    for done, record in enumerate(rounds, start=1):
        for what, step, reached in (
            ("queries", _selection, Phase.SELECTED),
            ("versions", _commit, Phase.COMMITTED),
            ("metrics", _metrics, Phase.CALIBRATED),
        ):
            if record.phase.order < reached.order or (what == "metrics" and not metrics):
                continue
            view = LedgerView(parts.ledger, record.index, frozenset())
            try:
                count, found = step(round_as_seen(settings, parts, record, view, _Nothing()))
            except AlframeError as error:
                count, found = 0, [_finding(what, record, str(error))]
            confirmed[what] += count
            findings += found
        if progress is not None:
            progress(done, len(rounds))
    return Report(campaign=settings.name, checked=confirmed, findings=tuple(findings))


def _finding(what: str, record: RoundRecord, found: str) -> Finding:
    return Finding(code=what, where=f"round {record.index}", found=found, advice=_ADVICE, round=record.index)


def _plain(query: Query) -> tuple[Any, ...]:
    where = (query.item, query.box.start, query.box.stop)
    return (query.rank, *where, repr(query.score), query.id, query.raters)


def same_choice(work: Round) -> bool:
    """Whether the round's recorded queries are what its candidates and seed give."""
    return _difference(work) == ""


def _difference(work: Round) -> str:
    recorded = [_plain(query) for query in work.queries]
    taken = [_plain(query) for query in select(work).queries]
    if taken != recorded and len(recorded) < len(taken) and taken[: len(recorded)] == recorded:
        return ""  # a smaller budget held then: it cuts the tail of a batch
    if len(recorded) > len(taken):  # a larger budget held then
        settings = replace(
            work.settings, budget=replace(work.settings.budget, queries=None, pixels=None, fraction=None)
        )
        taken = [_plain(query) for query in select(replace(work, settings=settings)).queries][: len(recorded)]
    if taken == recorded:
        return ""
    for ours, theirs in zip(taken, recorded, strict=False):
        if ours != theirs:
            return f"expected the query {ours}, the ledger has {theirs}"
    return f"expected {len(taken)} queries, the ledger has {len(recorded)}"


def _selection(work: Round) -> tuple[int, list[Finding]]:
    difference = _difference(work)
    return (0, [_finding("queries", work.record, difference)]) if difference else (len(work.queries), [])


def _commit(work: Round) -> tuple[int, list[Finding]]:
    step, stored = commit(work), work.parts.ledger.artifacts(work.settings.name, work.index)
    found = []
    if step.artifacts.get("manifest") != stored.get("manifest"):
        found.append(_finding("versions", work.record, "the manifest is not that of the round's answers"))
    if step.version != work.record.version:
        text = f"expected version {step.version[:12]}, the ledger has {work.record.version[:12]}"
        found.append(_finding("versions", work.record, text))
    return (0 if found else 1), found


def _metrics(work: Round) -> tuple[int, list[Finding]]:
    ledger, name = work.parts.ledger, work.settings.name
    step = calibrate(work)
    scopes = {metric.scope for metric in step.metrics}
    ours = {repr(metric) for metric in step.metrics} | {repr(part) for part in step.bins}
    theirs = {
        repr(m) for t, m in ledger.metrics(name) if t == work.index and m.scope in scopes | {"test", "val", "pool"}
    }
    theirs |= {repr(part) for t, part in ledger.bins(name) if t == work.index}
    different = sorted(ours ^ theirs)
    if not different:
        return len(ours), []
    return 0, [_finding("metrics", work.record, f"{len(different)} rows differ, first {different[0]}")]
