"""Keeps a driver's lease alive while a phase runs for hours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from alframe.errors import AlframeError, FencedError
from alframe.ports import Fence, Ledger

__all__ = ["Heartbeat", "beating"]


class Heartbeat:
    """Renews a lease at a third of its length from a thread of its own; remembers why it could not."""

    def __init__(self, ledger: Ledger, fence: Fence, lease_seconds: float) -> None:
        self._ledger, self._fence, self._lease = ledger, fence, lease_seconds
        self._stopped = threading.Event()
        self._failure: AlframeError | OSError | None = None
        self._missed = 0
        self._thread = threading.Thread(target=self._beat, name="alframe-heartbeat", daemon=True)

    def check(self) -> None:
        """Raise FencedError when the lease is lost or could not be renewed twice in a row."""
        if self._failure is not None:
            raise FencedError(
                f"campaign {self._fence.campaign!r}: this driver's lease could not be renewed ({self._failure}); "
                "another driver may have taken over. Nothing more is written; look at `alframe status`"
            ) from self._failure

    def _beat(self) -> None:
        while not self._stopped.wait(self._lease / 3):
            try:
                self._ledger.renew(self._fence, lease_seconds=self._lease)
                self._missed = 0
            except FencedError as error:
                self._failure = error
                return
            except (AlframeError, OSError) as error:
                self._missed += 1
                if self._missed >= 2:
                    self._failure = error
                    return

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stopped.set()
        self._thread.join()


@contextmanager
def beating(ledger: Ledger, fence: Fence, lease_seconds: float) -> Iterator[Heartbeat]:
    """A heartbeat for the block."""
    heart = Heartbeat(ledger, fence, lease_seconds)
    heart.start()
    try:
        yield heart
    finally:
        heart.stop()
