"""Which raters a round asks: names for new queries, and queries that ask for another opinion about old ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from alframe.campaign.round import Round
from alframe.strategies.opinions import RaterRecord, next_raters
from alframe.types import Candidates, Query, query_id

__all__ = ["named", "opinions"]


def opinions(work: Round, worth: Candidates) -> tuple[Query, ...]:
    """The boxes of `worth` that another rater is asked about, best first; ranks begin at 0."""
    policy, name = work.settings.opinions, work.settings.name
    said: dict[tuple[str, str], set[str]] = {}
    for answer in work.labels.answers:
        said.setdefault((answer.item, str(answer.box)), set()).add(answer.rater)
    asked = Counter((query.item, str(query.box)) for query in work.asked_before)
    records = _records(work)
    order = sorted(range(len(worth)), key=lambda row: (-worth.score[row], str(worth.item[row]), worth.box(row)))
    found: list[Query] = []
    for row in order:
        if len(found) == min(policy.again, work.batch):
            break
        item, box = str(worth.item[row]), worth.box(row)
        able = [rater for rater in _names(work, item) if rater not in said.get((item, str(box)), set())]
        seed = work.seed(f"again/{item}/{box.start}/{box.stop}")
        chosen = next_raters(able, records, count=1, how=policy.then, trial=policy.trial, seed=seed)
        if chosen:
            records = _one_more(records, chosen)
            found.append(
                Query(
                    id=query_id(name, item, box, again=asked[item, str(box)]),
                    item=item,
                    box=box,
                    score=float(worth.score[row]),
                    rank=len(found),
                    raters=chosen,
                )
            )
    return tuple(found)


def named(work: Round, queries: Sequence[Query]) -> tuple[Query, ...]:
    """New queries with the names of the raters whom the policy gives them to; ``anyone`` names nobody but those there are."""
    policy = work.settings.opinions
    if policy.first == "anyone":
        return tuple(replace(query, raters=policy.names) for query in queries) if policy.names else tuple(queries)
    records, found = _records(work), []
    for query in queries:
        seed = work.seed(f"first/{query.item}/{query.box.start}/{query.box.stop}")
        able = _names(work, query.item)
        chosen = next_raters(able, records, count=query.replicas, how=policy.first, trial=policy.trial, seed=seed)
        records = _one_more(records, chosen)
        found.append(replace(query, raters=chosen))
    return tuple(found)


def _names(work: Round, item: str) -> tuple[str, ...]:
    return work.settings.opinions.names or work.parts.pool.info(item).raters


def _records(work: Round) -> dict[str, RaterRecord]:
    """What is known of each rater when the round begins."""
    answers = Counter(answer.rater for answer in work.labels.answers)
    judged: dict[str, dict[str, float]] = {}
    for index, metric in work.parts.ledger.metrics(work.settings.name):
        if (index, metric.scope) == (work.index - 1, "raters") and metric.value is not None:
            judged.setdefault(metric.label, {})[metric.name] = metric.value
    return {
        name: RaterRecord(
            answers=answers[name],
            boxes=int(judged.get(name, {}).get("shared_boxes", 0.0)),
            agreement=judged.get(name, {}).get("agreement", 0.0),
        )
        for name in sorted({*answers, *judged})
    }


def _one_more(records: Mapping[str, RaterRecord], chosen: Sequence[str]) -> dict[str, RaterRecord]:
    """The records with a place in this batch counted as an answer, so that one batch is shared out."""
    more = dict(records)
    for name in chosen:
        known = more.get(name, RaterRecord())
        more[name] = replace(known, answers=known.answers + 1)
    return more
