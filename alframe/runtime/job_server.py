"""Jobs of a Ray cluster, over HTTP: hand one in from anywhere, follow what it writes, and learn how it ended.

Needs what ``pip install 'alframe[cluster]'`` installs, here and on the cluster's head.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError

from alframe.errors import ClusterUnavailable, ExtraMissing, NotFound
from alframe.runtime.failures import describe
from alframe.runtime.token import authenticate

__all__ = ["Ended", "JobServer"]

_ADDRESS = "RAY_API_SERVER_ADDRESS"
_LOUD = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
_TICK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a job ended: Ray's word for it, the exit code of its command (None when it was lost), and Ray's reason."""

    state: str
    code: int | None
    reason: str


class JobServer:
    """The job server of a cluster, at ``http://HEAD:8265`` or what a proxy makes of it."""

    def __init__(self, address: str) -> None:
        """Raises: ExtraMissing: without the extra `cluster`; ClusterUnavailable: when nobody answers, or it wants another token."""
        if find_spec("aiohttp") is None:
            raise ExtraMissing("handing in jobs needs aiohttp: pip install -c constraints.txt 'alframe[cluster]'")
        from ray.job_submission import JobSubmissionClient

        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address
        authenticate(new=False)
        os.environ[_ADDRESS] = address  # Ray prefers this variable to its argument
        with self._reached():
            self._client: Any = JobSubmissionClient(address)

    def hand_in(
        self, job: str, folder: Path, command: str, *, labels: Mapping[str, str], variables: Mapping[str, str]
    ) -> None:
        """Run `command` on the head, in a copy of `folder` and with `variables`. `job` is its id from now on."""
        environment = {"working_dir": str(folder), "env_vars": dict(variables)}
        with self._reached():
            self._client.submit_job(
                entrypoint=command, submission_id=job, metadata=dict(labels), runtime_env=environment
            )

    def running(self, labels: Mapping[str, str]) -> str | None:
        """The id of a job with these labels that has not ended, or None."""
        with self._reached():
            found = self._client.list_jobs()
        open_jobs = [one for one in found if one.submission_id and not one.status.is_terminal()]
        return next(
            (str(one.submission_id) for one in open_jobs if labels.items() <= (one.metadata or {}).items()), None
        )

    def follow(self, job: str) -> Iterator[str]:
        """What a job has written and goes on to write, in pieces, until it ends. A connection that breaks is made again.

        Raises:
            NotFound: when the cluster knows no such job.
            ClusterUnavailable: when it cannot be reached any more.
        """
        self.ended(job)
        shown = 0
        while True:
            passed = 0
            with suppress(ClusterUnavailable):  # the next line asks whether it is more than a broken connection
                for piece in self._tail(job):
                    fresh = piece[max(0, shown - passed) :]
                    passed += len(piece)
                    if fresh:
                        yield fresh
            shown = max(shown, passed)
            if self.ended(job) is not None:
                return
            time.sleep(_TICK)

    def ended(self, job: str) -> Ended | None:
        """How a job ended; None while it has not. Raises: NotFound: when the cluster knows no such job."""
        with self._reached():
            known = {one.submission_id: one for one in self._client.list_jobs()}
        if job not in known:
            raise NotFound(f"{self.address} knows no job {job}; it knows {', '.join(filter(None, known)) or 'none'}")
        found = known[job]
        if not found.status.is_terminal():
            return None
        return Ended(state=str(found.status), code=found.driver_exit_code, reason=found.message or "")

    def _tail(self, job: str) -> Iterator[str]:
        pieces = self._client.tail_job_logs(job)
        with asyncio.Runner() as runner:
            try:
                while True:
                    with self._reached():
                        piece = runner.run(anext(pieces, None))
                    if piece is None:
                        return
                    yield piece
            finally:
                runner.run(pieces.aclose())

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raises: ClusterUnavailable: when the block did not reach the server."""
        from aiohttp import ClientError

        try:
            yield
        except (OSError, RuntimeError, AuthenticationError, ClientError) as error:
            raise ClusterUnavailable(
                f"the job server {self.address} does not do it: {describe(error)}. Check that its head runs with a dashboard "
                "(`pip install 'ray[default]'` there), that this machine reaches its port, and that both hold one token"
            ) from error
