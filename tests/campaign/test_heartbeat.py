"""The heartbeat: one missed renewal is forgiven, two are not, a lost lease never is, and neither is a renewal that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from alframe.campaign import heartbeat
from alframe.campaign.heartbeat import Heartbeat, beating
from alframe.errors import AlframeError, FencedError, StoreUnavailable
from alframe.ports import Fence, Ledger

FENCE = Fence(campaign="c", epoch=1)


class Scripted:
    """A ledger whose renewals follow a script; the last line is repeated. `called` counts them."""

    def __init__(self, *script: AlframeError | None) -> None:
        self._script = list(script)
        self.called = threading.Semaphore(0)

    def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        line = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        self.called.release()
        if line is not None:
            raise line

    def wait(self, times: int) -> None:
        for _ in range(times):
            assert self.called.acquire(timeout=60)


def heart_of(ledger: object, lease: float) -> Heartbeat:
    return Heartbeat(cast(Ledger, ledger), FENCE, lease)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def renewals(ledger: Scripted, count: int, lease: float = 0.03) -> Heartbeat:
    """A heart after at least `count` renewals, stopped."""
    heart = heart_of(ledger, lease)
    heart.start()
    ledger.wait(count)
    heart.stop()
    return heart


def test_a_renewed_lease_is_alive(clock: Any) -> None:
    renewals(Scripted(None), 3).check()


def test_one_missed_renewal_is_forgiven(clock: Any) -> None:
    away = StoreUnavailable("away")
    renewals(Scripted(None, away, None, away, None), 6).check()


@pytest.mark.parametrize(("script", "misses"), [([StoreUnavailable("away")], 2), ([FencedError("taken over")], 1)])
def test_two_missed_renewals_or_a_lost_lease_end_the_driver(
    clock: Any, script: list[AlframeError], misses: int
) -> None:
    ledger = Scripted(*script)
    heart = renewals(ledger, misses)
    with pytest.raises(FencedError, match=f"Nothing more is written.*{script[0]}|{script[0]}.*Nothing more is written"):
        heart.check()
    assert not ledger.called.acquire(blocking=False), "it stopped asking"


def test_a_renewal_that_hangs_ends_the_driver_with_its_lease(clock: Callable[[float], None]) -> None:
    heart = heart_of(Scripted(None), 60.0)  # never started: as if its first renewal never came back
    clock(60.0)
    heart.check()
    clock(0.5)
    with pytest.raises(FencedError, match="no renewal for 60 s"):
        heart.check()


def test_the_thread_ends_with_the_block() -> None:
    with beating(cast(Ledger, Scripted(None)), FENCE, 600.0):
        assert any(thread.name == "alframe-heartbeat" for thread in threading.enumerate())
    assert not any(thread.name == "alframe-heartbeat" for thread in threading.enumerate())
