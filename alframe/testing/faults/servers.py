"""Faults 12 and 13: PostgreSQL restarted within a transaction, and away for longer than the lease."""

from __future__ import annotations

import time
from collections.abc import Callable

from alframe.storage import SqlLedger
from alframe.testing.faults.lab import NAME, Hook, Lab
from alframe.testing.faults.model import Fault, Outcome
from alframe.testing.postgres import PostgresServer, postgres_server

__all__ = ["SERVERS"]

SHORT_LEASE = 3.0


def _once(point: str, count: int, act: Callable[[], None]) -> Hook:
    left = [count]

    def hook(name: str) -> None:
        left[0] -= name == point
        if name == point and left[0] == 0:
            act()

    return hook


def _compare(lab: Lab, url: str, outcome: Outcome, digest: str) -> None:
    outcome.expect(digest == lab.digest("oracle"), "another digest than that of the quiet run on SQLite")
    with SqlLedger(url, create=False) as ledger:
        asked = ledger.queries(NAME)
        outcome.expect(len({query.id for query in asked}) == len(asked) == 5, f"{len(asked)} queries, expected 5")
        outcome.expect(len(ledger.answers(NAME)) == len(asked), "answers were lost or doubled")


def restarted(lab: Lab, case: tuple[str, int]) -> Outcome:
    """The server goes down, cutting all connections, and comes back while a transaction is open."""
    outcome = Outcome(kills=1)
    with lab.folder() as folder, postgres_server() as server:
        url = server.empty("ledger")
        again = _once(*case, act=lambda: server.control("--mode=immediate", "restart"))
        ended = lab.drive(folder, hook=again, ledger_url=url).wait()
        outcome.expect(ended.last("status") == "done", f"the restart was not survived: {ended}")
        _compare(lab, url, outcome, ended.last("digest"))
    return outcome


def away(lab: Lab, case: tuple[str, int]) -> Outcome:
    """The server is away until the lease is over; by then another driver may hold the campaign."""
    outcome = Outcome(kills=1)
    with lab.folder() as folder, postgres_server() as server:
        url = server.empty("ledger")
        hook = _once(*case, act=lambda: _outage(server))
        ended = lab.drive(folder, hook=hook, ledger_url=url, lease=SHORT_LEASE).wait()
        outcome.expect(ended.last("error") == "FencedError", f"the driver did not stop itself: {ended}")
        time.sleep(SHORT_LEASE)  # its last renewal may have reached the server that came back
        resumed = lab.drive(folder, ledger_url=url).wait()
        outcome.expect(resumed.last("status") == "done", f"the next driver did not end: {resumed}")
        _compare(lab, url, outcome, resumed.last("digest"))
    return outcome


def _outage(server: PostgresServer) -> None:
    server.control("--mode=immediate", "stop")
    time.sleep(1.5 * SHORT_LEASE)
    server.control("start")


SERVERS = (
    Fault(
        number=12,
        title="PostgreSQL restarted in a transaction",
        expected="tried again, no duplicate",
        cases=lambda lab: [("ledger.advance.before_commit", 5), ("ledger.record_artifact.before_commit", 4)],
        trial=restarted,
        quick=0,
        needs="postgres",
    ),
    Fault(
        number=13,
        title="PostgreSQL away longer than the lease",
        expected="the driver stops; no split brain",
        cases=lambda lab: [("campaign.scored.before", 2)],
        trial=away,
        quick=0,
        needs="postgres",
    ),
)
