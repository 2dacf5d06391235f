"""The rules of human labelling over a port: tasks, leases, drafts, submissions, consensus, raters and the audit."""

from __future__ import annotations

from alframe.labelling.agreement import Agreement, agreements
from alframe.labelling.answers import answers
from alframe.labelling.audit import Verification, trace, verify
from alframe.labelling.desk import DRAFT_BYTES, LEASE_SECONDS, LabellingDesk
from alframe.labelling.errors import DraftConflict, Forbidden, LeaseLost, SubmissionConflict, Unauthenticated
from alframe.labelling.intake import Intake, Refusal, Said, refusals
from alframe.labelling.palette import colour, rgb
from alframe.labelling.ports import LabellingLedger
from alframe.labelling.roster import Roster
from alframe.labelling.values import (
    CONSENSUS,
    Assignment,
    Credential,
    Delivery,
    Draft,
    Effort,
    Event,
    Head,
    Lease,
    LeaseState,
    NewTask,
    Opinion,
    Progress,
    Rater,
    Receipt,
    Scope,
    Standing,
    Submission,
    Task,
    TaskState,
    Work,
    class_map_hash,
    rater_name,
)

__all__ = [
    "CONSENSUS",
    "DRAFT_BYTES",
    "LEASE_SECONDS",
    "Agreement",
    "Assignment",
    "Credential",
    "Delivery",
    "Draft",
    "DraftConflict",
    "Effort",
    "Event",
    "Forbidden",
    "Head",
    "Intake",
    "LabellingDesk",
    "LabellingLedger",
    "Lease",
    "LeaseLost",
    "LeaseState",
    "NewTask",
    "Opinion",
    "Progress",
    "Rater",
    "Receipt",
    "Refusal",
    "Roster",
    "Said",
    "Scope",
    "Standing",
    "Submission",
    "SubmissionConflict",
    "Task",
    "TaskState",
    "Unauthenticated",
    "Verification",
    "Work",
    "agreements",
    "answers",
    "class_map_hash",
    "colour",
    "rater_name",
    "refusals",
    "rgb",
    "trace",
    "verify",
]
