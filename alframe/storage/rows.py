"""The ledger's values as table rows, and back. Pure functions.

Every field is converted to a plain Python type on its way in: database drivers store a NumPy integer as a blob, or refuse it.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from alframe.errors import InvalidValue, NonFiniteError
from alframe.ports import CampaignRecord, RoundRecord
from alframe.types import AnswerRecord, ArtifactRef, Bin, Box, Confusion, Metric, Outcome, Phase, Query

__all__ = [
    "answer",
    "answer_row",
    "artifact",
    "artifact_row",
    "bin_of",
    "bin_row",
    "box_fields",
    "box_of",
    "campaign",
    "confusion",
    "confusion_row",
    "finite",
    "metric",
    "metric_row",
    "query",
    "query_row",
    "ref_fields",
    "ref_of",
    "round_of",
    "timestamp",
]

Fields = dict[str, Any]


def finite(what: str, value: float) -> float:
    """`value` as a plain float. Raises NonFiniteError, naming `what`, for NaN and infinity."""
    number = float(value)
    if not math.isfinite(number):
        raise NonFiniteError(
            f"{what} is {number}; the ledger keeps finite numbers only (None where a metric is undefined)"
        )
    return number


def timestamp(epoch_seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds; sorts as text."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def box_fields(box: Box) -> Fields:
    """A box as the six columns of a table. Raises InvalidValue unless its axes are (Z) Y X."""
    if len(box.start) not in (2, 3):
        raise InvalidValue(f"the ledger keeps boxes with axes (Z) Y X, got {len(box.start)} axes: {box}")
    z = len(box.start) == 3
    corners = {"0": box.start, "1": box.stop}
    return {
        axis + side: int(corner[position]) if z or axis != "z" else None
        for side, corner in corners.items()
        for axis, position in (("z", 0), ("y", -2), ("x", -1))
    }


def box_of(row: Row[Any]) -> Box:
    """The inverse of :func:`box_fields`."""
    start, stop = (row.z0, row.y0, row.x0), (row.z1, row.y1, row.x1)
    return Box(start=start[row.z0 is None :], stop=stop[row.z0 is None :])


def ref_fields(prefix: str, ref: ArtifactRef | None) -> Fields:
    """A reference as three columns, all None when there is none."""
    values = (None, None, None) if ref is None else (str(ref.kind), str(ref.sha256), int(ref.size))
    return dict(zip((f"{prefix}_kind", f"{prefix}_sha256", f"{prefix}_size"), values, strict=True))


def ref_of(kind: str | None, sha256: str | None, size: int | None) -> ArtifactRef | None:
    """The inverse of :func:`ref_fields`."""
    if kind is None or sha256 is None or size is None:
        return None
    return ArtifactRef(kind=kind, sha256=sha256, size=size)


def campaign(row: Row[Any]) -> CampaignRecord:
    """A row of ``campaigns``."""
    return CampaignRecord(
        name=row.name,
        config=row.config,
        config_hash=row.config_hash,
        pool_hash=row.pool_hash,
        status=row.status,
        reason=row.reason,
        epoch=row.epoch,
        holder=row.holder,
        created=row.created,
    )


def round_of(row: Row[Any]) -> RoundRecord:
    """A row of ``rounds``."""
    return RoundRecord(
        index=row.round,
        phase=Phase(row.phase),
        parent=row.parent,
        acquire=row.acquire,
        version=row.version,
        reason=row.reason,
    )


def artifact_row(name: str, round: int, key: str, ref: ArtifactRef) -> Fields:
    """An artifact of a round, for ``artifacts``."""
    fields = {"kind": str(ref.kind), "sha256": str(ref.sha256), "size": int(ref.size)}
    return {"campaign": name, "round": int(round), "key": str(key), **fields}


def artifact(row: Row[Any]) -> ArtifactRef:
    """A row of ``artifacts``."""
    return ArtifactRef(kind=row.kind, sha256=row.sha256, size=row.size)


def query_row(name: str, round: int, value: Query) -> Fields:
    """A query of a round, for ``queries``. Raises NonFiniteError, InvalidValue."""
    return {
        "campaign": name,
        "query": str(value.id),
        "round": int(round),
        "rank": int(value.rank),
        "item": str(value.item),
        **box_fields(value.box),
        "pixels": int(value.box.size),
        "score": finite(f"the score of {value.item} at {value.box.start}", value.score),
        "raters": json.dumps([str(rater) for rater in value.raters]),
        "replicas": int(value.replicas),
        **ref_fields("prefill", value.prefill),
    }


def query(row: Row[Any]) -> Query:
    """A row of ``queries``."""
    return Query(
        id=row.query,
        item=row.item,
        box=box_of(row),
        score=row.score,
        rank=row.rank,
        raters=tuple(json.loads(row.raters)),
        replicas=row.replicas,
        prefill=ref_of(row.prefill_kind, row.prefill_sha256, row.prefill_size),
    )


def answer_row(name: str, value: AnswerRecord) -> Fields:
    """An answer, for ``answers``. Raises NonFiniteError, InvalidValue."""
    seconds = None if value.seconds is None else finite(f"the time {value.rater} took for {value.query}", value.seconds)
    return {
        "campaign": name,
        "sequence": int(value.sequence),
        "round": int(value.round),
        "query": str(value.query),
        "item": str(value.item),
        **box_fields(value.box),
        "rater": str(value.rater),
        "outcome": value.outcome.value,
        **ref_fields("mask", value.mask),
        "seconds": seconds,
        "reason": str(value.reason),
    }


def answer(row: Row[Any]) -> AnswerRecord:
    """A row of ``answers``."""
    return AnswerRecord(
        sequence=row.sequence,
        round=row.round,
        query=row.query,
        item=row.item,
        box=box_of(row),
        rater=row.rater,
        outcome=Outcome(row.outcome),
        mask=ref_of(row.mask_kind, row.mask_sha256, row.mask_size),
        seconds=row.seconds,
        reason=row.reason,
    )


def metric_row(name: str, round: int, value: Metric) -> Fields:
    """A metric of a round, for ``metrics``. Raises NonFiniteError."""
    what = f"metric {value.name} ({value.scope} {value.label} {value.statistic})"
    return {
        "campaign": name,
        "round": int(round),
        "scope": str(value.scope),
        "name": str(value.name),
        "label": str(value.label),
        "statistic": str(value.statistic),
        "convention": str(value.convention),
        "value": None if value.value is None else finite(what, value.value),
    }


def metric(row: Row[Any]) -> Metric:
    """A row of ``metrics``."""
    return Metric(
        name=row.name,
        value=row.value,
        convention=row.convention,
        label=row.label,
        statistic=row.statistic,
        scope=row.scope,
    )


def bin_row(name: str, round: int, value: Bin) -> Fields:
    """A reliability bin of a round, for ``bins``. Raises NonFiniteError."""
    what = f"bin {value.index} of {value.scope}"
    numbers = {
        field: finite(f"{field} of {what}", getattr(value, field))
        for field in ("lower", "upper", "count", "confidence", "correct")
    }
    return {"campaign": name, "round": int(round), "scope": str(value.scope), "bin": int(value.index), **numbers}


def confusion_row(name: str, round: int, value: Confusion) -> Fields:
    """What a rater chose against the others, for ``confusions``."""
    numbers = {"agreed": int(value.agreed), "chosen": int(value.chosen), "pixels": int(value.pixels)}
    return {"campaign": name, "round": int(round), "rater": str(value.rater), **numbers}


def confusion(row: Row[Any]) -> Confusion:
    """A row of ``confusions``."""
    return Confusion(rater=row.rater, agreed=row.agreed, chosen=row.chosen, pixels=row.pixels)


def bin_of(row: Row[Any]) -> Bin:
    """A row of ``bins``."""
    return Bin(
        index=row.bin,
        lower=row.lower,
        upper=row.upper,
        count=row._mapping["count"],
        confidence=row.confidence,
        correct=row.correct,
        scope=row.scope,
    )
