"""Values that the server remembers for a moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from alframe.annotator.office import Brief


class Counted:
    """Counts its computations; each waits until it may go on."""

    def __init__(self) -> None:
        self.times = 0
        self.began, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self) -> int:
        self.times += 1
        seen = self.times
        self.began.set()
        assert self.go_on.wait(30)
        return seen


def test_a_value_is_kept_until_it_is_old_or_known_to_be_wrong() -> None:
    now = [0.0]
    brief = Brief(Counted(), seconds=1.0, clock=lambda: now[0])
    assert brief.last() is None
    assert (brief(), brief(), brief.last()) == (1, 1, 1)
    now[0] = 0.9
    assert brief() == 1
    now[0] = 1.0
    assert (brief(), brief()) == (2, 2)
    brief.forget()
    assert (brief.last(), brief(), brief()) == (2, 3, 3)


def test_an_old_value_is_given_while_it_is_computed_anew_and_a_wrong_one_is_not() -> None:
    now, slow = [0.0], Counted()
    brief = Brief(slow, seconds=1.0, clock=lambda: now[0])
    brief()
    now[0] = 2.0
    slow.began.clear()
    slow.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(brief)
        assert slow.began.wait(30)
        assert brief() == 1, "nobody waits for a count that is only old"
        brief.forget()  # something changed after that computation had looked
        second = threads.submit(brief)
        slow.go_on.set()
        assert first.result(30) == 2
        assert second.result(30) == 3, "whoever changed it sees the change"
    assert brief() == 3


def test_a_change_seen_by_a_computation_in_progress_is_waited_for() -> None:
    now, slow = [0.0], Counted()
    brief = Brief(slow, seconds=1.0, clock=lambda: now[0])
    brief()
    brief.forget()
    slow.began.clear()
    slow.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(brief)
        assert slow.began.wait(30)
        second = threads.submit(brief)  # this caller's change came before the computation began
        assert not second.done()
        slow.go_on.set()
        assert (first.result(30), second.result(30)) == (2, 2)
