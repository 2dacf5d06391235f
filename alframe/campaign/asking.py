"""Which raters a round asks: names for new queries, and queries that ask for another opinion about old ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from alframe.campaign.round import Round
from alframe.strategies.opinions import RaterRecord, next_raters, one_more, rater_records
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
            records = one_more(records, chosen)
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
        records = one_more(records, chosen)
        found.append(replace(query, raters=chosen))
    return tuple(found)


def _names(work: Round, item: str) -> tuple[str, ...]:
    return work.settings.opinions.names or work.parts.pool.info(item).raters


def _records(work: Round) -> dict[str, RaterRecord]:
    """What is known of each rater when the round begins."""
    return rater_records(work.labels.answers, work.parts.ledger.metrics(work.settings.name), index=work.index)
