"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import Scope

from alframe.labelling import Progress, TaskState
from alframe.types import Outcome

__all__ = ["Meters"]

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Meters:
    """Counters of one server. Safe in threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        here = self._registry
        self._requests = Counter(
            "alframe_http_requests", "Requests answered.", ["method", "route", "status"], registry=here
        )
        self._seconds = Histogram(
            "alframe_http_request_seconds",
            "From a request's first byte to its last answer.",
            ["method", "route"],
            registry=here,
            buckets=_SECONDS,
        )
        self._running = Gauge("alframe_http_requests_running", "Requests being answered.", registry=here)
        self._leases = Counter("alframe_leases", "Claims, by whether there was a task.", ["granted"], registry=here)
        self._submissions = Counter("alframe_submissions", "New submissions.", ["outcome", "standing"], registry=here)
        self._tasks = Gauge("alframe_tasks", "Tasks of the latest batch.", ["state"], registry=here)
        self._active = Gauge("alframe_active_leases", "Leases that somebody works on.", registry=here)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """Time one request."""
        began = time.perf_counter()
        self._running.inc()
        try:
            yield
        finally:
            self._running.dec()
            method, route = _named(scope)
            self._seconds.labels(method, route).observe(time.perf_counter() - began)

    def status(self, scope: Scope, status: int) -> None:
        """Count one answer."""
        self._requests.labels(*_named(scope), str(status)).inc()

    def claimed(self, granted: bool) -> None:
        """Count a claim."""
        self._leases.labels("yes" if granted else "no").inc()

    def submitted(self, outcome: Outcome, standing: str) -> None:
        """Count a new submission."""
        self._submissions.labels(outcome.value, standing).inc()

    def text(self, progress: Progress) -> bytes:
        """All of it, in Prometheus' text format."""
        for state in TaskState:
            self._tasks.labels(state.value).set(progress.tasks.get(state, 0))
        self._active.set(sum(progress.active.values()))
        return generate_latest(self._registry)


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def _named(scope: Scope) -> tuple[str, str]:
    """Method and route of a request: never its path, of which there are endlessly many."""
    route = getattr(scope.get("route"), "path", None) or "none"
    method = scope["method"]
    return method if method in _METHODS else "other", route
