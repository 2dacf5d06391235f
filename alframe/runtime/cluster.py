"""Starting, joining and leaving a Ray cluster."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray
from ray._private import ray_constants
from ray._private.services import resolve_ip_for_localhost
from ray.exceptions import RayError

from alframe.errors import ClusterUnavailable, InvalidValue
from alframe.runtime.failures import describe
from alframe.runtime.shares import Share
from alframe.runtime.token import authenticate

__all__ = ["LOCAL", "Head", "connect", "require"]

LOCAL = "local"
"""The address of a cluster of our own on this machine. Ray's default would join any cluster that it finds."""

_PATIENCE = 10.0
"""Seconds in which the head of a cluster must answer."""

_TICK = 2.0
"""Seconds between two looks at the head."""

_GIVEN = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's variable for the seconds that a head may be away before all that belong to it end themselves."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # CPU actors hide the GPUs themselves; without this Ray warns about it
}


def connect(address: str, *, workers: int, shares: Sequence[Share], memory: int | None = None) -> bool:
    """Make sure that this process is connected to Ray; say whether this call connected it (the caller then shuts down).

    A connection that exists is used as it is. A new local cluster listens on loopback only and has what `workers` of the
    greediest share need; `memory` caps its object store, in bytes. Either way whoever speaks to it must hold its token.

    Raises:
        ClusterUnavailable: when there is no cluster at `address`, or no token for it.
        InvalidValue: when others may read the token.
    """
    if ray.is_initialized():
        return False
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    authenticate(new=address == LOCAL)
    if address == LOCAL:
        custom = {name for share in shares for name in share.resources}
        with _loopback():
            ray.init(
                address=LOCAL,
                num_cpus=math.ceil(workers * max(share.cpus for share in shares)),
                num_gpus=None if any(share.gpus for share in shares) else 0,
                resources={name: workers * max(share.resources.get(name, 0.0) for share in shares) for name in custom},
                object_store_memory=memory,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    else:
        _join(address)
    return True


@contextmanager
def _loopback() -> Iterator[None]:
    """Ray gives a node the address by which the world reaches it, except where it supports no clusters: as in this block."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _join(address: str) -> None:
    if address != "auto":
        _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        advice = (
            "a driver joins from a machine that is part of the cluster (`ray start` runs there) and holds its token; "
            "from elsewhere use `alframe submit`"
        )
        raise ClusterUnavailable(f"cannot join the Ray cluster {address}: {describe(error)}; {advice}") from error


def _reach(address: str) -> None:
    """Ray itself tries for a quarter of an hour. It takes a loopback address for that by which the world reaches this machine."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidValue(f"ray.address is local, auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((resolve_ip_for_localhost(host).strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnavailable(
            f"no Ray cluster at {address} ({error}); check that its head runs (`ray status` there) and that a firewall lets "
            "its ports through"
        ) from error


class Head:
    """Watches the head of the cluster that this process is connected to.

    Without its head Ray ends the process after a while, and would have no word written of why. A head that comes back in
    time (on Kubernetes, with its state in Redis) is no loss.
    """

    def __init__(self) -> None:
        self._address = str(ray.get_runtime_context().gcs_address)
        self._patience = float(os.environ.get(_GIVEN, "60")) * 2 / 3
        self._looked = time.monotonic()
        self._silent_since: float | None = None

    def wait(self) -> None:
        """Return when the head answers: while it does not, Ray's calls may block. Raises: ClusterUnavailable: when it is gone."""
        self._look()
        while self._silent_since is not None:
            time.sleep(_TICK)
            self._look()

    def watch(self) -> None:
        """Look at the head from time to time. Raises: ClusterUnavailable: when it is gone."""
        if time.monotonic() - self._looked >= _TICK:
            self._look()

    def _look(self) -> None:
        """Raises: ClusterUnavailable: when the head was silent for two thirds of the time that Ray gives it."""
        self._looked = time.monotonic()
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError as error:
            self._silent_since = self._silent_since or self._looked
            if self._looked - self._silent_since > self._patience:
                raise ClusterUnavailable(
                    f"the head of the Ray cluster, {self._address}, is gone ({error}); what was done is in the ledger. "
                    "Start a cluster and run `alframe resume`"
                ) from error
        else:
            self._silent_since = None


def require(*, workers: int, share: Share) -> None:
    """Refuse workers that this cluster can never hold; Ray itself would wait for ever.

    Raises:
        InvalidValue: naming what is wanted and what there is.
    """
    total = ray.cluster_resources()
    for name, amount in share.wanted().items():
        there = float(total.get(name, 0.0))
        if workers * amount > there + 1e-9:
            raise InvalidValue(
                f"{workers} Ray workers with {amount:g} {name} each need {workers * amount:g} {name}, "
                f"the cluster has {there:g}; ask for fewer workers or a smaller share for each"
            )
