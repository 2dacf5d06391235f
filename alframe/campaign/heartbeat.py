"""Keeps a driver's lease alive while a phase runs for hours, and tells the driver to stop when that no longer works."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alframe.errors import AlframeError, FencedError
from alframe.ports import Fence, Ledger

__all__ = ["Heartbeat", "beating"]

MISSES = 2
"""So many failed renewals in a row end the driver: a third of the lease is left then."""

STOP_SECONDS = 5.0


class Heartbeat:
    """Renews a lease at a third of its length from a thread of its own; remembers why it could not.

    A renewal that hangs counts as well: whatever the thread does, the lease is over once its length has passed since the
    last renewal that succeeded was *sent* (by the clock that goes on while the process is stopped).
    """

    def __init__(self, ledger: Ledger, fence: Fence, lease_seconds: float) -> None:
        self._ledger, self._fence, self._lease = ledger, fence, lease_seconds
        self._stopped = threading.Event()
        self._failure: AlframeError | OSError | None = None
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="alframe-heartbeat", daemon=True)

    def check(self) -> None:
        """Raise FencedError when the lease is lost, could not be renewed twice in a row, or has run out."""
        silent = time.monotonic() - self._renewed
        if self._failure is None and silent <= self._lease:
            return
        why = self._failure or f"no renewal for {silent:.0f} s, the lease lasts {self._lease:.0f} s"
        raise FencedError(
            f"campaign {self._fence.campaign!r}: this driver's lease could not be renewed ({why}); "
            "another driver may have taken over. Nothing more is written; look at `alframe status`"
        ) from self._failure

    def _beat(self) -> None:
        missed = 0
        while not self._stopped.wait(self._lease / 3):
            sent = time.monotonic()
            try:
                self._ledger.renew(self._fence, lease_seconds=self._lease)
                self._renewed, missed = sent, 0
            except (AlframeError, OSError) as error:
                missed += 1
                if missed == MISSES or isinstance(error, FencedError):
                    self._failure = error
                    return

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. A renewal that hangs is left behind: once the lease is given back it is refused."""
        self._stopped.set()
        self._thread.join(timeout=STOP_SECONDS)


@contextmanager
def beating(ledger: Ledger, fence: Fence, lease_seconds: float) -> Iterator[Heartbeat]:
    """A heartbeat for the block."""
    heart = Heartbeat(ledger, fence, lease_seconds)
    heart.start()
    try:
        yield heart
    finally:
        heart.stop()
