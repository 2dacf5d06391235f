"""Starting, joining and leaving a Ray cluster."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence

import ray

from alframe.errors import InvalidValue
from alframe.runtime.shares import Share

__all__ = ["LOCAL", "connect", "require"]

LOCAL = "local"
"""The address of a cluster of our own on this machine. Ray's default would join any cluster that it finds."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # CPU actors hide the GPUs themselves; without this Ray warns about it
}


def connect(address: str, *, workers: int, shares: Sequence[Share], memory: int | None = None) -> bool:
    """Make sure that this process is connected to Ray; say whether this call connected it (the caller then shuts down).

    A connection that exists is used as it is. A new local cluster has what `workers` of the greediest share need; `memory`
    caps its object store, in bytes.
    """
    if ray.is_initialized():
        return False
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        custom = {name for share in shares for name in share.resources}
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
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    return True


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
