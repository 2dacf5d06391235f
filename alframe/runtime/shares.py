"""What a worker gets. Free of Ray, so that a configuration can be read where Ray is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alframe.errors import InvalidValue

__all__ = ["Share"]

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker gets of its node, and how long one of its tasks may take.

    `gpus` is a fraction of one or a whole number. `memory` (bytes) is what the node must have free for it: Ray places by it and
    enforces nothing. `resources` are custom ones that the cluster gave to nodes. `deadline` is in seconds, None for no limit.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Raises: InvalidValue: when a number makes no sense."""
        if not self.cpus > 0:
            raise InvalidValue(f"cpus must be above 0, got {self.cpus:g}")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise InvalidValue(f"gpus is a share from 0 to 1 or a whole number, got {self.gpus:g}")
        if self.memory is not None and self.memory < 1:
            raise InvalidValue(f"memory must be 1 byte or more, got {self.memory}")
        for name, amount in self.resources.items():
            if not amount > 0:
                raise InvalidValue(f"the resource {name!r} must be above 0, got {amount:g}")
        if self.deadline is not None and not self.deadline > 0:
            raise InvalidValue(f"a deadline must be above 0 seconds, got {self.deadline:g}")

    def wanted(self) -> dict[str, float]:
        """The amounts by Ray's names, without zeros."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory or 0), **self.resources}
        return {name: amount for name, amount in named.items() if amount}

    def __str__(self) -> str:
        told = [f"{self.cpus:g} CPU", f"{self.gpus:g} GPU"]
        if self.memory is not None:
            told.append(f"{self.memory / _GIB:.3g} GiB")
        return ", ".join([*told, *(f"{amount:g} {name}" for name, amount in self.resources.items())])
