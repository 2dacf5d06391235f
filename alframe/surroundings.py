"""Can this machine reach what a campaign keeps elsewhere? The database, its clock, the store; and has it what the YAML asks for."""

from __future__ import annotations

import os
import time
from importlib import import_module

from alframe import compose
from alframe.config import Config
from alframe.doctor import Check
from alframe.errors import AlframeError, NotFound
from alframe.ports import Upkeep

__all__ = ["examine"]

_SKEW = 5.0
_PROBE = b"alframe doctor was here"


def examine(config: Config) -> tuple[Check, ...]:
    """Look at the surroundings of a campaign. The store is written to and cleaned; no ledger is made."""
    return (*_ledger(config), _store(config), _workers(config), _device(config))


def _ledger(config: Config) -> tuple[Check, ...]:
    """Whether the database answers, at its schema, and how far its clock is from ours."""
    from alframe.storage import SqlLedger

    try:
        with SqlLedger(config.ledger_url, create=False) as ledger:
            sent = time.time()
            clock = ledger.clock()
            received = time.time()
            names = [record.name for record in ledger.campaigns()]
    except NotFound:
        found = "no ledger yet; `alframe run` makes it"
        return (Check(name="ledger", state="ok", found=found),)
    except AlframeError as error:
        advice = "Start the database, correct `ledger`, or run `alframe db upgrade` where the message says so."
        return (Check(name="ledger", state="failed", found=str(error), advice=advice),)
    text = f"answers in {1000 * (received - sent):.0f} ms; {len(names)} campaigns"
    return (Check(name="ledger", state="ok", found=text), _clock(clock - (sent + received) / 2))


def _clock(skew: float) -> Check:
    if abs(skew) <= _SKEW:
        return Check(name="clock", state="ok", found=f"within {_SKEW:.0f} s of the database's")
    advice = (
        "Leases go by the database's clock and are safe; times in reports will look wrong. Synchronise both with NTP."
    )
    found = f"the database's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    return Check(name="clock", state="warning", found=found, advice=advice)


def _store(config: Config) -> Check:
    """Put a few bytes, read them back, remove them."""
    try:
        store = compose.open_artifacts(config)
        ref = store.put("probe", _PROBE)
        if store.get(ref) != _PROBE:
            raise OSError("other bytes came back")
        if isinstance(store, Upkeep):
            for file in [file for file in store.stored() if file.ref == ref]:
                store.delete(file, older=0.0)
    except (AlframeError, OSError) as error:
        advice = "Create the folder or bucket of `store`, and allow this user to read and write there."
        return Check(name="store", state="failed", found=str(error), advice=advice)
    return Check(name="store", state="ok", found="bytes went in and came back")


def _workers(config: Config) -> Check:
    ray, cores = config.ray, os.cpu_count() or 1
    if ray is not None and ray.address != "local":
        return Check(name="workers", state="ok", found=f"up to {ray.workers} on the cluster {ray.address}")
    wanted = (1 if ray is None else ray.workers) * config.runtime.threads
    text = f"{wanted} threads wanted, {cores} cores here"
    if wanted > cores:
        advice = "More threads than cores are slower: lower `runtime.threads`."
        if ray is not None:
            advice = "A core is wanted for every thread of every worker: lower `ray.workers` or `runtime.threads`."
        return Check(name="workers", state="warning", found=text, advice=advice)
    return Check(name="workers", state="ok", found=text)


def _device(config: Config) -> Check:
    """Whether the device of the YAML is there."""
    device = compose.compute(config).device
    if device.startswith("cuda") and not import_module("torch").cuda.is_available():
        advice = "Set `runtime.device: auto`, or install a torch that sees this GPU (`nvidia-smi` must list it)."
        return Check(name="device", state="failed", found=f"{device} wanted, torch sees no GPU", advice=advice)
    return Check(name="device", state="ok", found=f"training and scoring use {device}")
