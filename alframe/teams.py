"""Teams: several processes that do one task together, such as training one network on several GPUs.

Each process runs the same function on the same task. What differs is its :class:`Rank`, which whoever starts the team puts
in place and the function reads with :func:`here`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from alframe.errors import InvalidValue

__all__ = ["ALONE", "Rank", "here", "placed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A process's place in its team: number `index` (from 0) of `count`.

    Raises:
        InvalidValue: when `index` is not in 0 … `count` − 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InvalidValue(f"a rank counts from 0 to the size of its team less 1, got {self.index} of {self.count}")

    def share(self, total: int) -> range:
        """This process's part of `total` things in order; the parts of all processes are equally large.

        Raises:
            InvalidValue: when they cannot be.
        """
        each, rest = divmod(total, self.count)
        if rest:
            raise InvalidValue(f"{total} cannot be shared equally by a team of {self.count}; use a multiple of it")
        return range(self.index * each, (self.index + 1) * each)


ALONE = Rank()
"""A process that does its task by itself."""

_here: ContextVar[Rank] = ContextVar("rank", default=ALONE)


def here() -> Rank:
    """The place of this process in the team that runs the current task."""
    return _here.get()


@contextmanager
def placed(rank: Rank) -> Iterator[None]:
    """Run the block as `rank` of a team."""
    token = _here.set(rank)
    try:
        yield
    finally:
        _here.reset(token)
