"""Errors of alframe: one root, with the builtin each one specialises, so that callers may catch either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AlframeError",
    "ArtifactDamaged",
    "ArtifactMissing",
    "ClusterUnavailable",
    "ConfigurationError",
    "ConflictError",
    "DataError",
    "ExtraMissing",
    "FencedError",
    "InvalidValue",
    "LeaseHeld",
    "NonFiniteError",
    "NotFound",
    "PeerLost",
    "Problem",
    "ProblemsError",
    "StoreUnavailable",
    "TaskFailed",
]


class AlframeError(Exception):
    """Root of every error that alframe raises on purpose."""


class InvalidValue(AlframeError, ValueError):
    """An argument or field has a value that its definition does not allow."""


class NonFiniteError(AlframeError, ArithmeticError):
    """NaN or infinity where only finite numbers have a meaning (a loss, a score, a probability)."""


class NotFound(AlframeError, LookupError):
    """A named campaign, item, query or plug-in does not exist."""


class ConflictError(AlframeError):
    """The ledger holds something else under the same identity (a changed state, another answer, another pool)."""


class LeaseHeld(AlframeError):
    """Another driver holds the campaign; the message names it and says until when."""


class FencedError(AlframeError):
    """This driver lost the campaign to another one and must stop without writing."""


class ArtifactMissing(AlframeError, FileNotFoundError):
    """The ledger names bytes that the store does not hold."""


class ArtifactDamaged(AlframeError, OSError):
    """Stored bytes do not have the hash they are named by."""


class StoreUnavailable(AlframeError, OSError):
    """The database or the artifact store cannot be used now (full, locked, away); nothing was acknowledged."""


class ClusterUnavailable(AlframeError, ConnectionError):
    """The Ray cluster cannot be joined, or its head is gone; the ledger has all that was done, and `alframe resume` goes on."""


class TaskFailed(AlframeError, RuntimeError):
    """A function on a worker failed; the message names the task, the attempts and the cause."""


class PeerLost(AlframeError, ConnectionError):
    """Another process of a team that does one task together is gone; the team starts again."""


class ExtraMissing(AlframeError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with what a user gave.

    `where` is ``file:line:column`` for a configuration and the item's name for data; `expected`, `found` and `hint`
    are short sentences for a person. `hint` says what to do next.
    """

    where: str
    expected: str
    found: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, found {self.found}"
        return f"{text}. {self.hint}" if self.hint else text


class ProblemsError(AlframeError, ValueError):
    """Every problem found at once, so that a user repairs them in one go."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ProblemsError], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))


class ConfigurationError(ProblemsError):
    """Problems of a configuration file."""


class DataError(ProblemsError):
    """Problems of a data set."""
