"""Starting, joining and leaving a Ray cluster."""

from __future__ import annotations

import logging
import os

import ray

from alframe.errors import InvalidValue

__all__ = ["LOCAL", "connect", "require"]

LOCAL = "local"
"""The address of a cluster of our own on this machine. Ray's default would join any cluster that it finds."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # CPU actors hide the GPUs themselves; without this Ray warns about it
}


def connect(address: str, *, cpus: int, gpus: float, memory: int | None = None) -> bool:
    """Make sure that this process is connected to Ray; say whether this call connected it (the caller then shuts down).

    A connection that exists is used as it is. `memory` caps the object store of a new local cluster, in bytes.
    """
    if ray.is_initialized():
        return False
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        ray.init(
            address=LOCAL,
            num_cpus=cpus,
            num_gpus=None if gpus else 0,
            object_store_memory=memory,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    return True


def require(*, workers: int, cpus: float, gpus: float) -> None:
    """Refuse workers that this cluster can never hold; Ray itself would wait for ever.

    Raises:
        InvalidValue: naming what is wanted and what there is.
    """
    total = ray.cluster_resources()
    for kind, wanted in (("CPU", workers * cpus), ("GPU", workers * gpus)):
        there = float(total.get(kind, 0.0))
        if wanted > there + 1e-9:
            raise InvalidValue(
                f"{workers} Ray workers with {wanted / workers:g} {kind} each need {wanted:g} {kind}, "
                f"the cluster has {there:g}; ask for fewer workers or a smaller share for each"
            )
