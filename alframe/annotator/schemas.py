"""What the server answers, as OpenAPI describes it; :mod:`~alframe.annotator.views` makes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alframe.labelling import LeaseState, Scope, Standing, TaskState
from alframe.types import Outcome

__all__ = [
    "AgreementOut",
    "AssignmentOut",
    "CampaignOut",
    "DraftSaved",
    "EventsOut",
    "HeartbeatOut",
    "MineOut",
    "ProblemOut",
    "ProgressOut",
    "ReceiptOut",
    "ReviewOut",
    "ReviewTasksOut",
    "SessionOut",
]


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemOut(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class ClassOut(_Out):
    """A class: its id in masks, its name, and a colour that the colour-blind can tell from the others."""

    id: int
    name: str
    colour: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class SessionOut(_Out):
    """Who is signed in. Send `csrf` as `X-CSRF-Token` with the cookie; `ttl` is how long a lease lasts without a heartbeat."""

    rater: str
    scopes: list[Scope]
    csrf: str | None
    campaign: str
    server_version: str
    classes: list[ClassOut]
    ttl: float


class LeaseOut(_Out):
    """A rater's place at a task. `repeat` is 1 when the rater is asked a second time."""

    id: str
    state: LeaseState
    seconds_left: float
    expires: str
    repeat: int


class HeartbeatOut(_Out):
    """How long the lease lasts now."""

    state: LeaseState
    seconds_left: float
    expires: str


class BoxOut(_Out):
    """A half-open region in level-0 pixels or voxels."""

    start: list[int]
    stop: list[int]


class ImageOut(_Out):
    """How the region's pixels are to be shown: `low` to `high` is the display window, `min` to `max` the values there are."""

    kind: Literal["rgb", "grey"]
    channels: int
    dtype: str
    low: float
    high: float
    min: float
    max: float
    png: str
    pixels: str


class ContextOut(_Out):
    """The whole item in small, and where the region lies in it: `box` is y0, x0, y1, x1 in thumbnail pixels."""

    url: str
    width: int
    height: int
    box: list[float]


class PrefillOut(_Out):
    """What the model would draw. `sha256` names it in a submission."""

    url: str
    sha256: str


class UncertaintyOut(_Out):
    """Where the model is unsure; the greatest value is in the header `X-Uncertainty-Max` of the bytes."""

    url: str
    measure: str | None


class TaskOut(_Out):
    """A question: which class has each pixel of `box` in `item`?"""

    id: str
    item: str
    box: BoxOut
    shape: list[int]
    item_shape: list[int]
    spacing: list[float]
    axes: Literal["YX", "ZYX"]
    classes: list[ClassOut]
    class_map: str
    blind: bool
    replicas: int
    score: float
    state: TaskState
    image: ImageOut
    context: ContextOut
    prefill: PrefillOut | None
    uncertainty: UncertaintyOut | None


class DraftSaved(_Out):
    """The tag that names this state of the draft."""

    tag: str
    saved: str


class DraftOut(DraftSaved):
    """A draft there is."""

    media_type: str


class EarlierOut(_Out):
    """The rater's submission on this lease, to be corrected."""

    id: str
    outcome: Outcome
    reason: str
    mask_url: str | None


class AssignmentOut(_Out):
    """All that a rater needs to go on."""

    lease: LeaseOut
    task: TaskOut
    draft: DraftOut | None
    submission: EarlierOut | None


class ProgressOut(_Out):
    """How far the latest batch is; raters other than oneself are named to reviewers and administrators only."""

    batch: int
    total: int
    done: int
    open: int
    mine: int
    tasks: dict[TaskState, int]
    submissions: dict[str, int]
    active: dict[str, int]
    campaign_status: str


class StandingOut(_Out):
    """How a submission was received."""

    id: str
    outcome: Outcome
    standing: Standing
    received: str
    counts: bool
    current: bool


class TaskStateOut(_Out):
    """A task and how it stands."""

    id: str
    state: TaskState


class ReceiptOut(_Out):
    """A submission is stored for good."""

    created: bool
    submission: StandingOut
    task: TaskStateOut
    progress: ProgressOut


class MineOut(StandingOut):
    """One of my submissions."""

    lease: str | None
    task: str
    item: str


class ReviewTaskOut(TaskStateOut):
    """A task as a reviewer's list shows it."""

    item: str
    disagreement: float | None
    replicas: int
    counted: int
    raters: list[str]


class ReviewTasksOut(_Out):
    """A page of tasks; `next` is the `after` of the page behind it."""

    tasks: list[ReviewTaskOut]
    next: int | None


class JudgedOut(StandingOut):
    """A submission as a reviewer sees it."""

    rater: str
    reason: str
    active_ms: int | None
    prefill_shown: bool
    repeat: int
    supersedes: str | None
    mask_url: str | None


class AgreementOut(_Out):
    """How two submissions agree: Dice over all foreground classes, and of each (by class id)."""

    a: str
    b: str
    dice: float
    per_class: dict[str, float]


class ReviewOut(_Out):
    """A task with all that was said about it."""

    task: TaskOut
    submissions: list[JudgedOut]
    agreement: list[AgreementOut]


class EventOut(_Out):
    """One line of the audit."""

    sequence: int
    at: str
    campaign: str
    actor: str
    action: str
    object: str
    payload: dict[str, Any]
    previous: str
    hash: str


class EventsOut(_Out):
    """A page of the audit; `next` is the `after` of the page behind it."""

    events: list[EventOut]
    next: int | None


class RoundOut(_Out):
    """One round of the campaign."""

    index: int
    phase: str
    queries: int
    annotated_pixels: int | None
    metrics: dict[str, float]


class NextOut(_Out):
    """A task that is not done."""

    task: str
    item: str
    box: BoxOut
    score: float
    state: TaskState


class RaterOut(_Out):
    """What a rater did; `agreement` is the mean Dice with others on shared tasks."""

    name: str
    labels: int
    seconds: float | None
    agreement: float | None


class CampaignOut(_Out):
    """The campaign as its administrator sees it."""

    name: str
    status: str
    reason: str
    round: int | None
    phase: str | None
    rounds: list[RoundOut]
    next: list[NextOut]
    raters: list[RaterOut]
    costs: dict[str, float]
