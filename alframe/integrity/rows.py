"""What the ledger's rows must say to agree with each other: rounds, versions, queries, answers. No file is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from alframe.campaign.phases import version_after
from alframe.integrity.findings import Finding
from alframe.ports import Ledger, RoundRecord
from alframe.types import AnswerRecord, Box, ItemInfo, Phase, Query, Split, query_id

__all__ = ["check_rows"]

_ADVICE = "Rows are never recomputed: restore the ledger from a backup taken before, then `alframe resume`."


def check_rows(ledger: Ledger, name: str, items: Mapping[str, ItemInfo] | None) -> Iterator[Finding]:
    """Contradictions between rows; `items` is what the pool holds, None when it cannot be read. Raises NotFound."""
    rounds = ledger.rounds(name)
    answers = ledger.answers(name)
    yield from _rounds(ledger, name, rounds)
    earlier: Counter[tuple[str, Box]] = Counter()
    for record in rounds:
        yield from _version(ledger, name, record, answers)
        yield from _members(ledger, name, record)
        yield from _queries(name, record, ledger.queries(name, record.index), items, earlier)
    yield from _answers(rounds, {query.id: query for query in ledger.queries(name)}, answers)


def _wrong(code: str, where: str, expected: str, found: str) -> Finding:
    return Finding(code=code, where=where, found=f"expected {expected}, found {found}", advice=_ADVICE)


def _rounds(ledger: Ledger, name: str, rounds: Sequence[RoundRecord]) -> Iterator[Finding]:
    if [record.index for record in rounds] != list(range(len(rounds))):
        yield _wrong("rounds", "rounds", f"0 to {len(rounds) - 1}", str([record.index for record in rounds]))
        return
    parent = ledger.campaign(name).pool_hash
    reached: dict[int, list[Phase]] = {record.index: [] for record in rounds}
    for index, phase, _ in ledger.seconds(name):
        reached[index].append(phase)
    for record in rounds:
        where = f"round {record.index}"
        if record.parent != parent:
            yield _wrong("parent", where, f"parent {parent[:12]}", record.parent[:12])
        parent = record.version
        due = [phase for phase in Phase if 0 < phase.order <= record.phase.order]
        if reached[record.index] != due:
            yield _wrong("phases", where, ", ".join(due), ", ".join(reached[record.index]) or "none")
        last = record is rounds[-1]
        if not last and (record.phase is not Phase.DONE or not record.acquire):
            yield _wrong("phases", where, "a round that is done and acquires, as others follow", str(record.phase))


def _version(ledger: Ledger, name: str, record: RoundRecord, answers: Sequence[AnswerRecord]) -> Iterator[Finding]:
    """The chain parent → manifest → version."""
    where = f"round {record.index}"
    if record.phase.order < Phase.COMMITTED.order:
        if record.version:
            yield _wrong("version", where, "no version before the commit", record.version[:12])
        return
    manifest = ledger.artifacts(name, record.index).get("manifest")
    given = any(answer.round == record.index for answer in answers)
    if given and manifest is None:
        yield _wrong("version", where, "a manifest of its answers", "none")
        return
    expected = record.parent if manifest is None else version_after(record.parent, manifest)
    if record.version != expected:
        yield _wrong("version", where, f"version {expected[:12]}, from its parent and manifest", record.version[:12])


def _members(ledger: Ledger, name: str, record: RoundRecord) -> Iterator[Finding]:
    """A trained round has its members, each one of its own checkpoints; the parts of a fan-out have no gap."""
    stored = ledger.artifacts(name, record.index)
    where = f"round {record.index}"
    members = [key for key in stored if key.startswith("member/")]
    if record.index and record.phase.order >= Phase.TRAINED.order:
        wanted = {int(key.split("/")[1]) for key in stored if key.startswith("checkpoint/")} or {0}
        if missing := sorted(f"member/{member}" for member in wanted if f"member/{member}" not in stored):
            yield _wrong("members", where, f"the artifacts {', '.join(missing)}", "none")
    for key in members:
        own = [ref for other, ref in stored.items() if other.startswith(f"checkpoint/{key.split('/')[1]}/")]
        if stored[key] not in own:
            yield _wrong("members", where, f"{key} among its {len(own)} checkpoints", stored[key].sha256[:12])
    parts: dict[str, set[int]] = {}
    for key in stored:
        if key.startswith(("score/", "evaluate/", "panel/", "blobs/")):
            prefix, position, what = key.rsplit("/", 2)
            parts.setdefault(f"{prefix}/*/{what}", set()).add(int(position))
    for what, positions in parts.items():
        if gaps := sorted(set(range(max(positions) + 1)) - positions):
            yield _wrong("parts", where, f"all parts of {what}", f"none at {gaps}")


def _queries(
    name: str,
    record: RoundRecord,
    queries: Sequence[Query],
    items: Mapping[str, ItemInfo] | None,
    earlier: Counter[tuple[str, Box]],
) -> Iterator[Finding]:
    if [query.rank for query in queries] != list(range(len(queries))):
        yield _wrong("ranks", f"round {record.index}", f"ranks 0 to {len(queries) - 1}", str([q.rank for q in queries]))
    for query in queries:
        where = f"round {record.index} query {query.id}"
        expected = query_id(name, query.item, query.box, again=earlier[query.item, query.box])
        earlier[query.item, query.box] += 1
        if query.id != expected:
            yield _wrong("query-id", where, f"the id {expected} of its item and box", query.id)
        info = None if items is None else items.get(query.item)
        if items is not None and (info is None or info.split is not Split.TRAIN or not query.box.within(info.shape)):
            yield _wrong(
                "query-box", where, "a box of a training item", f"{query.item} {query.box.start}..{query.box.stop}"
            )
        asked = record.phase.order >= Phase.ASKED.order
        if asked and record.index and query.prefill is None:
            yield _wrong("prefill", where, "a pre-fill, as a model was there", "none")


def _answers(
    rounds: Sequence[RoundRecord], queries: Mapping[str, Query], answers: Sequence[AnswerRecord]
) -> Iterator[Finding]:
    numbers = [answer.sequence for answer in answers]
    if numbers != list(range(len(answers))):
        gaps = sorted(set(range(max(numbers, default=-1) + 1)) - set(numbers))
        yield _wrong("sequence", "answers", f"0 to {max(numbers)} without gaps", f"none at {gaps}")
    for answer in answers:
        where, query = f"answer {answer.sequence}", queries.get(answer.query)
        if query is None or (query.item, query.box) != (answer.item, answer.box):
            yield _wrong("answer", where, f"item and box of its query {answer.query}", f"{answer.item} {answer.box}")
        if answer.outcome.carries_label != (answer.mask is not None):
            yield _wrong("answer", where, f"a mask only where {answer.outcome} carries one", str(answer.mask))
    answered = {(answer.round, answer.query) for answer in answers}
    for record in rounds:
        given = {query for round, query in answered if round == record.index}
        if given and record.phase.order < Phase.LABELLED.order:
            yield _wrong("answers", f"round {record.index}", "no answers yet", f"{len(given)}")
