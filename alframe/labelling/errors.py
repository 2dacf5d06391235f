"""What can go wrong between a rater and the ledger. Each is an :class:`~alframe.errors.AlframeError`."""

from __future__ import annotations

from alframe.errors import AlframeError, ConflictError

__all__ = ["DraftConflict", "Forbidden", "LeaseLost", "SubmissionConflict", "Unauthenticated"]


class Unauthenticated(AlframeError, PermissionError):
    """No credential, or one that is unknown, expired, used up or revoked (HTTP 401)."""


class Forbidden(AlframeError, PermissionError):
    """The credential is good but does not allow this: a missing scope, or another rater's lease (HTTP 403)."""


class LeaseLost(ConflictError):
    """The lease is not active any more; what was drawn can still be submitted, and is never thrown away (HTTP 409)."""


class DraftConflict(ConflictError):
    """The draft was changed since it was read, by another tab or device; the message names its present tag (HTTP 412)."""


class SubmissionConflict(ConflictError):
    """Another submission stands in the way: the same id with another content, or an answer not named in `supersedes` (409)."""
