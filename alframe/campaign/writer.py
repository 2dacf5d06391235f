"""The single writer of answers: masks become immutable artifacts before any row names them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alframe.composition import label_arrays
from alframe.errors import InvalidValue
from alframe.ports import Artifacts
from alframe.types import UNANNOTATED, Answer, ArtifactRef, Outcome, Query

__all__ = ["AnswerWriter", "Stored", "checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An answer whose pixels are durable."""

    query: str
    rater: str
    outcome: Outcome
    mask: ArtifactRef | None
    seconds: float | None
    reason: str

    def to_json(self) -> bytes:
        """Canonical JSON."""
        mask = None if self.mask is None else [self.mask.kind, self.mask.sha256, self.mask.size]
        fields = {
            "query": self.query,
            "rater": self.rater,
            "outcome": self.outcome.value,
            "mask": mask,
            "seconds": self.seconds,
            "reason": self.reason,
        }
        return json.dumps(fields, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Stored:
        """The inverse of :meth:`to_json`."""
        fields = json.loads(data)
        mask = fields["mask"] and ArtifactRef(kind=fields["mask"][0], sha256=fields["mask"][1], size=fields["mask"][2])
        return cls(**{**fields, "outcome": Outcome(fields["outcome"]), "mask": mask})


class AnswerWriter:
    """Writes masks to the artifact store. One instance a campaign, owned by the executor (on Ray: an actor)."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def write(self, answers: Sequence[Answer]) -> list[Stored]:
        """Make the pixels of `answers` durable; what comes back may be named by the ledger."""
        return [
            Stored(
                query=answer.query,
                rater=answer.rater,
                outcome=answer.outcome,
                mask=None if answer.labels is None else self._artifacts.put_arrays("mask", label_arrays(answer.labels)),
                seconds=answer.seconds,
                reason=answer.reason,
            )
            for answer in answers
        ]


def checked(answers: Sequence[Answer], queries: Mapping[str, Query], classes: int) -> Sequence[Answer]:
    """`answers` unchanged, after making sure that each fits its query.

    Raises:
        InvalidValue: for an unknown query, a rater without a name, a map of another shape than the box, or a class that
            the pool does not have.
    """
    for answer in answers:
        query = queries.get(answer.query)
        if query is None:
            raise InvalidValue(
                f"answer by {answer.rater!r}: query {answer.query!r} is not one of this round's {len(queries)}"
            )
        if not answer.rater:
            raise InvalidValue(f"answer to query {answer.query!r}: a rater needs a name")
        if answer.labels is None:
            continue
        where = f"answer to {query.item} {query.box.start}-{query.box.stop} by {answer.rater!r}"
        if answer.labels.shape != query.box.shape:
            raise InvalidValue(f"{where}: expected a label map of shape {query.box.shape}, got {answer.labels.shape}")
        found = answer.labels.classes[answer.labels.annotated]
        if found.size and int(found.max()) >= classes:
            raise InvalidValue(
                f"{where}: expected classes 0 to {classes - 1} or {UNANNOTATED} (not annotated), got {int(found.max())}"
            )
    return answers
