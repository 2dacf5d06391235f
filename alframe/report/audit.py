"""The audit as files that outlive the database: JSON lines for machines and auditors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alframe.labelling import Head, LabellingLedger, trace
from alframe.ports import Ledger

__all__ = ["write_audit"]

_PAGE = 1000


def write_audit(labelling: LabellingLedger, ledger: Ledger, campaign: str, folder: Path) -> Head:
    """Write ``events.jsonl`` (the whole chain), ``labels.jsonl`` (one line a submission of `campaign`) and ``head.json``.

    Returns the head of the events written. Raises NotFound when the ledger has no such campaign.
    """
    labels = trace(labelling, ledger, campaign)
    folder.mkdir(parents=True, exist_ok=True)
    end = Head(sequence=0, hash="")
    with (folder / "events.jsonl").open("w", encoding="utf-8") as file:
        while page := labelling.events(after=end.sequence, limit=_PAGE):
            _write(file, (asdict(event) for event in page))
            end = Head(sequence=page[-1].sequence, hash=page[-1].hash)
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        _write(file, labels)
    (folder / "head.json").write_text(json.dumps(asdict(end)) + "\n", encoding="utf-8")
    return end


def _write(file: Any, rows: Iterable[Any]) -> None:
    file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
