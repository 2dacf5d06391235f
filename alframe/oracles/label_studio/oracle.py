"""People who label in Label Studio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from alframe.errors import InvalidValue
from alframe.labelling import Intake, LabellingDesk, Task, TaskState
from alframe.oracles.human import Human, HumanOracle
from alframe.oracles.label_studio.annotations import author, checked, said, source
from alframe.oracles.label_studio.board import KEY, project_of, put_up, shown_box
from alframe.oracles.label_studio.service import Service, checked_url
from alframe.ports import Pool
from alframe.types import Answer, Query

__all__ = ["LabelStudio", "LabelStudioOracle"]

_TOOL = "label-studio"
_OVERLAP = timedelta(minutes=5)
"""What changed so long before the last look is looked at again: a transaction there may have been on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStudio:
    """The parameters of labelling in Label Studio.

    `url` is the server's address; the environment variable `token` holds a personal access token or a legacy token of a
    user who may make projects. The picture of a region also shows `margin` times its sides of what surrounds it, outside a
    frame. `replicas`, `blind_share`, `adjudicate_above`, `skips`, `seed`: as of ``human``.

    Raises:
        InvalidValue: when the address is none, or a number cannot be.
    """

    people: ClassVar[bool] = True
    places: ClassVar[tuple[str, ...]] = ("url", "token")

    url: str = "http://127.0.0.1:8080"
    token: str = "LABEL_STUDIO_API_KEY"
    margin: float = 0.5
    replicas: int = 1
    blind_share: float = 0.1
    adjudicate_above: float | None = None
    skips: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        checked_url(self.url)
        if not self.token.isidentifier() or not self.token.isascii():
            raise InvalidValue(
                f"token is the name of an environment variable, not the token itself, got {self.token[:8]!r}…"
            )
        if not (math.isfinite(self.margin) and 0 <= self.margin <= 4):
            raise InvalidValue(f"margin is 0 to 4 times the region's sides, got {self.margin}")
        self.rules()

    def rules(self) -> Human:
        """How tasks are put up at the desk."""
        return Human(
            replicas=self.replicas,
            blind_share=self.blind_share,
            repeat_share=0.0,
            adjudicate_above=self.adjudicate_above,
            skips=self.skips,
            seed=self.seed,
        )

    def bind(self, pool: Pool, desk: LabellingDesk) -> LabelStudioOracle:
        """The oracle that speaks to the server."""
        return LabelStudioOracle(pool, desk, self)


class LabelStudioOracle:
    """An :class:`~alframe.ports.Oracle`. What was asked and answered is at the desk; nothing is lost when the server is away.

    Not safe for threads.
    """

    def __init__(self, pool: Pool, desk: LabellingDesk, parameters: LabelStudio) -> None:
        self._pool, self._desk, self._parameters = pool, desk, parameters
        self._people = HumanOracle(pool, desk, parameters.rules())
        self._service = Service(parameters.url, parameters.token)
        self._projects: dict[str, int] = {}

    @property
    def immediate(self) -> bool:
        """Always False."""
        return False

    def ask(self, campaign: str, queries: Sequence[Query]) -> None:
        """Put up a task for each query, at the desk and in Label Studio.

        Raises:
            NotFound, InvalidValue, ConflictError: as :meth:`HumanOracle.ask`.
            StoreUnavailable, Unauthenticated, Forbidden: as :class:`Service`; what is missing is put up by the next call.
        """
        self._people.ask(campaign, queries)
        if queries:
            self._put_up(campaign)

    def collect(self, campaign: str, queries: Sequence[Query]) -> tuple[Answer, ...]:
        """Take in what was annotated, then the answers to closed tasks.

        Raises: as :meth:`ask`; ArtifactMissing, ArtifactDamaged.
        """
        if not queries:
            return ()
        self._put_up(campaign)
        self.take_in(campaign)
        return self._people.collect(campaign, queries)

    def close(self) -> None:
        """Release connections; the next call opens them again."""
        self._service.close()
        self._people.close()

    def _put_up(self, campaign: str) -> None:
        wanted = self._desk.ledger.tasks(campaign, state=TaskState.OPEN)
        margin = self._parameters.margin
        put_up(self._service, self._project(campaign), wanted, self._pool, self._desk, margin)

    def _project(self, campaign: str) -> int:
        if campaign not in self._projects:
            axes = len(self._pool.items()[0].shape)
            replicas = max((task.replicas for task in self._desk.ledger.tasks(campaign)), default=1)
            found = project_of(self._service, campaign, self._pool.classes, axes, replicas)
            self._projects[campaign] = found
        return self._projects[campaign]

    def take_in(self, campaign: str) -> dict[str, str]:
        """Hand in every annotation that is new or changed; by annotation, what is wrong with those that could not be taken.

        Of a task in Label Studio that did not change since the last look only the number of its annotations is read.
        """
        intake = Intake(self._desk, campaign, _TOOL)
        marks = [intake.mark] if intake.mark else []
        entries: dict[str, list[Mapping[str, Any]]] = {}
        for one in self._service.tasks(self._project(campaign)):
            if _count(one):
                entries.setdefault(str(one["data"].get(KEY)), []).append(one)
        for key in entries.keys() & intake.tasks.keys():
            known = intake.known(key)
            same = len(known) == sum(map(_count, entries[key]))
            if same and all(_unchanged(one, intake.mark) for one in entries[key]):
                for name in known:
                    intake.seen(name)
                continue
            marks += [str(one["updated_at"]) for one in entries[key]]
            found = [self._service.get(f"/api/tasks/{one['id']}") for one in entries[key]]
            self._offer(intake, intake.tasks[key], [each for one in found for each in one["annotations"]])
        intake.finish(mark=max(marks, key=datetime.fromisoformat, default=""))
        return intake.problems

    def _offer(self, intake: Intake, task: Task, annotations: Sequence[Mapping[str, Any]]) -> None:
        """Offer the latest annotation of each author; their earlier ones are there, but say nothing any more."""
        annotations = sorted(
            map(checked, annotations), key=lambda one: (datetime.fromisoformat(one["updated_at"]), int(one["id"]))
        )
        last = {author(one): one for one in annotations}
        around = shown_box(task.box, self._pool.info(task.item).shape, self._parameters.margin)
        for one in annotations:
            name = author(one)
            if last[name] is not one:
                intake.seen(source(one))
                continue
            version = str(one["updated_at"])
            intake.offer(
                task=task,
                rater=name,
                source=source(one),
                version=version,
                read=lambda one=one: said(one, task, around),  # type: ignore[misc]
                shown=True,
            )


def _count(entry: Mapping[str, Any]) -> int:
    """How many annotations a task of Label Studio has, skipped ones included."""
    return int(entry["total_annotations"]) + int(entry["cancelled_annotations"])


def _unchanged(entry: Mapping[str, Any], mark: str) -> bool:
    """Whether a task of Label Studio is as it was well before `mark`, the latest change that was read."""
    return mark != "" and datetime.fromisoformat(entry["updated_at"]) < datetime.fromisoformat(mark) - _OVERLAP
