"""How many requests one credential, or one stranger, may send: token buckets in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Buckets"]


class Buckets:
    """`rate` tokens a second flow into each bucket, at most `burst`. Not for threads: the event loop alone uses it."""

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float], most: int = 10_000) -> None:
        self._rate, self._burst, self._clock, self._most = rate, burst, clock, most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take a token; 0 when there was one, else the seconds until there is."""
        wait = self.wait(key)
        if wait == 0:
            level, at = self._levels[key]
            self._levels[key] = (level - 1, at)
        return wait

    def wait(self, key: str) -> float:
        """Seconds until there is a token; nothing is taken."""
        now = self._clock()
        level, at = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        self._levels[key] = (level, now)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return 0.0 if level >= 1 else (1 - level) / self._rate
