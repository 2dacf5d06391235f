"""What a fault is: a case that can be tried in a folder of its own, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.testing.faults.lab import Lab

__all__ = ["Fault", "Outcome"]


@dataclass(slots=True)
class Outcome:
    """What one trial came to: how many processes were killed or cut off in it, and what was broken (nothing, we hope)."""

    kills: int = 0
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note the violation `otherwise` unless `holds`."""
        if not holds:
            self.violations.append(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault to inject. The numbers are those of the list in ``docs/results/durability.md``.

    `cases` says all that can be tried (numbers, pairs, names: whatever `trial` understands); `trial` tries one of them and never
    raises for what the fault does. `quick` is how many cases the short run draws. `needs` names what the machine must have.
    """

    number: int
    title: str
    expected: str
    cases: Callable[[Lab], Sequence[Any]]
    trial: Callable[[Lab, Any], Outcome]
    quick: int = 1
    needs: str = ""
