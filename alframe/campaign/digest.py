"""One number for everything a campaign decided: the same on any executor, after any crash."""

from __future__ import annotations

import hashlib
import json

from alframe.ports import Ledger

__all__ = ["campaign_digest"]


def campaign_digest(ledger: Ledger, name: str) -> str:
    """SHA-256 (hex) over the queries, answers (with the hashes of their masks), versions, metrics, bins and
    confusions of a campaign.

    Floats enter by ``repr``, so a difference in the last bit shows. Times are left out: they are measurements of the
    machine. Raises NotFound.
    """
    record = ledger.campaign(name)
    rows: list[object] = [record.pool_hash]
    rows += [[r.index, r.phase.value, r.parent, r.acquire, r.version] for r in ledger.rounds(name)]
    for record_ in ledger.rounds(name):
        rows += [
            [record_.index, q.item, q.box.start, q.box.stop, repr(q.score), q.rank, q.prefill and q.prefill.sha256]
            for q in ledger.queries(name, record_.index)
        ]
    rows += [
        [a.sequence, a.round, a.query, a.rater, a.outcome.value, a.mask and a.mask.sha256] for a in ledger.answers(name)
    ]
    rows += [
        [t, m.scope, m.name, m.label, m.statistic, m.convention, repr(m.value)]
        for t, m in ledger.metrics(name)
        if not m.name.endswith("seconds")
    ]
    rows += [[t, b.scope, b.index, repr(b.count), repr(b.confidence), repr(b.correct)] for t, b in ledger.bins(name)]
    rows += [[t, c.rater, c.agreed, c.chosen, c.pixels] for t, c in ledger.confusions(name)]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
