"""Is a Ray cluster fit for a campaign? Every node is asked; each check says what it found and what to do."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from platform import python_version
from typing import Any

from alframe import compose, workers
from alframe.config import Config, loads, to_yaml
from alframe.doctor import Check
from alframe.errors import AlframeError, ClusterUnavailable, InvalidValue, NotFound
from alframe.ports import Artifacts, Upkeep
from alframe.runtime.survey import Seen, survey
from alframe.types import ArtifactRef

__all__ = ["examine", "probe"]

_PACKAGES = ("alframe", "torch", "ray")
_SKEW = 5.0
_SHARED = 1 << 29
_MINE = b"alframe doctor wrote this for the nodes: "
_THEIRS = b"alframe doctor wrote this on a node: "


def examine(config: Config | None) -> tuple[Check, ...]:
    """Look at the cluster of a campaign, or at the one that this machine is part of.

    With a campaign also whether its workers find room, and whether every node reads and writes its store, reads its pool and
    reaches its database. The store is written to and cleaned.
    """
    address = config.ray.address if config is not None and config.ray is not None else "auto"
    try:
        if config is None or config.ray is None:
            return _general(survey("auto" if address == "local" else address, _PACKAGES))
        return _with_campaign(config, "auto" if address == "local" else address)
    except (ClusterUnavailable, InvalidValue) as error:
        advice = "Run this on a machine of the cluster (`ray start --head`, or `ray start --address HEAD:6379`), with its token."
        return (Check(name="cluster", state="failed", found=str(error), advice=advice),)


def _general(seen: Sequence[Seen]) -> tuple[Check, ...]:
    return (_cluster(seen), _versions(seen), _shared_memory(seen), _clocks(seen))


def _with_campaign(config: Config, address: str) -> tuple[Check, ...]:
    assert config.ray is not None
    written: list[ArtifactRef] = []
    came_back: dict[str, str] = {}
    away, pool = "", _pool(config)
    try:
        store = compose.open_artifacts(config)
        written.append(store.put("probe", _MINE + uuid.uuid4().bytes))
    except (AlframeError, OSError) as error:
        away = str(error)
    asked = {"yaml": to_yaml(config), "folder": str(config.folder), "pool": pool, "ref": next(iter(written), None)}
    seen = survey(address, _PACKAGES, question=(probe, asked), environment=workers.environment(config.ray))
    if written:
        came_back = _came_back(store, seen, written)
        _clean(store, written)
    return (
        *_general(seen),
        _room(config, seen),
        _store(seen, away, came_back),
        _pools(seen, pool),
        _database(seen, config),
    )


def probe(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Runs on a node: what it cannot do with a campaign's store, pool and database, and what it wrote to the store."""
    config = loads(asked["yaml"], folder=asked["folder"])
    said: dict[str, Any] = {"store": "", "pool": "", "ledger": "", "ref": None}

    def attempt(what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (AlframeError, OSError) as error:
            said[what] = str(error)

    def store() -> None:
        opened = compose.open_artifacts(config)
        opened.get(asked["ref"])  # verified by its hash
        said["ref"] = opened.put("probe", _THEIRS + uuid.uuid4().bytes)

    def pool() -> None:
        found = compose.open_pool(config).manifest_hash
        if found != asked["pool"]:
            raise OSError(f"another pool lies at {config.pool_path} there: {found[:12]}, here {asked['pool'][:12]}")

    def ledger() -> None:
        from alframe.storage import SqlLedger

        with suppress(NotFound), SqlLedger(config.ledger_url, create=False) as opened:  # an empty database has answered
            opened.clock()

    if asked["ref"] is not None:
        attempt("store", store)
    if asked["pool"]:
        attempt("pool", pool)
    if not config.ledger_url.startswith("sqlite"):
        attempt("ledger", ledger)
    return said


def _pool(config: Config) -> str:
    """The hash of the pool as it is seen from here; empty when there is none yet."""
    try:
        return compose.open_pool(config).manifest_hash
    except (AlframeError, OSError):
        return ""


def _came_back(store: Artifacts, seen: Sequence[Seen], written: list[ArtifactRef]) -> dict[str, str]:
    """By node, why what it wrote to the store cannot be read here; what was written is added to `written`."""
    lost = {}
    for one in seen:
        if one.answer is None or one.answer["ref"] is None:
            continue
        written.append(one.answer["ref"])
        try:
            store.get(one.answer["ref"])
        except (AlframeError, OSError) as error:
            lost[one.name] = f"what it wrote is not there for others: {error}"
    return lost


def _clean(store: Artifacts, written: Sequence[ArtifactRef]) -> None:
    if isinstance(store, Upkeep):
        for file in [file for file in store.stored() if file.ref in written]:
            store.delete(file, older=0.0)


def _cluster(seen: Sequence[Seen]) -> Check:
    silent = [f"{one.name}: {one.problem}" for one in seen if one.problem]
    total = {name: sum(one.resources.get(name, 0.0) for one in seen) for name in ("CPU", "GPU", "memory")}
    text = f"{len(seen)} nodes, {total['CPU']:g} CPU, {total['GPU']:g} GPU, {total['memory'] / 2**30:.1f} GiB"
    custom = sorted({name for one in seen for name in one.resources} - {*total, "object_store_memory"})
    if custom:
        text += f"; also {', '.join(custom)}"
    if silent:
        advice = (
            "Look at their logs (/tmp/ray/session_latest/logs there); take a node out with `ray stop` until it answers."
        )
        return Check(name="cluster", state="failed", found=f"{text}; no answer from {'; '.join(silent)}", advice=advice)
    return Check(name="cluster", state="ok", found=text)


def _versions(seen: Sequence[Seen]) -> Check:
    here = {"python": python_version()} | {name: version(name) for name in _PACKAGES}
    answered = [one for one in seen if one.facts]
    differ = {
        one.name: [f"{name} {one.facts[name] or 'missing'}" for name in here if one.facts[name] != here[name]]
        for one in answered
    }
    told = ", ".join(f"{name} {number}" for name, number in here.items())
    found = "; ".join(f"{name} has {', '.join(what)}" for name, what in differ.items() if what)
    if not found:
        return Check(name="versions", state="ok", found=f"{told} on {len(answered)} nodes")
    own = any(one.facts["alframe"] != here["alframe"] for one in answered)
    advice = "Install the same versions on every node (one image, or constraints.txt): results depend on them."
    return Check(name="versions", state="failed" if own else "warning", found=f"here {told}; {found}", advice=advice)


def _shared_memory(seen: Sequence[Seen]) -> Check:
    known = {one.name: one.shared_memory for one in seen if one.shared_memory is not None}
    small = [f"{name}: {free / 2**30:.2f} GiB" for name, free in known.items() if free < _SHARED]
    if small:
        advice = "Ray's object store is slow there. In Docker add --shm-size=2g, on Kubernetes an emptyDir with medium: Memory."
        return Check(
            name="nodes' memory", state="warning", found=f"little in /dev/shm of {'; '.join(small)}", advice=advice
        )
    least = f"at least {min(known.values()) / 2**30:.2f} GiB free in /dev/shm" if known else "no /dev/shm"
    return Check(name="nodes' memory", state="ok", found=least)


def _clocks(seen: Sequence[Seen]) -> Check:
    off = [f"{one.name}: {one.skew:+.0f} s" for one in seen if abs(one.skew) > _SKEW]
    if off:
        advice = "Leases go by the database's clock and are safe; times in logs will mislead. Synchronise the nodes with NTP."
        return Check(name="nodes' clocks", state="warning", found="; ".join(off), advice=advice)
    return Check(name="nodes' clocks", state="ok", found=f"within {_SKEW:.0f} s of this machine's")


def _room(config: Config, seen: Sequence[Seen]) -> Check:
    """How many workers the nodes could hold if nothing else ran on them."""
    ray = config.ray
    assert ray is not None
    told, state = [], "ok"
    for kind, worker in (("train", ray.fit), ("score", ray.score)):
        share = workers.share(config, ray, worker)
        room = sum(
            math.floor(min(one.resources.get(name, 0.0) / amount for name, amount in share.wanted().items()) + 1e-6)
            for one in seen
        )
        least = max(ray.min_workers, ray.member_workers if kind == "train" else 1)
        told.append(f"{room} to {kind} with {share} each")
        state = "failed" if room < least else "warning" if room < ray.workers and state == "ok" else state
    text = f"{ray.workers} wanted; room for {', '.join(told)}"
    if state == "ok":
        return Check(name="room", state="ok", found=text)
    advice = "Add nodes, or lower `ray.workers`, `ray.min_workers`, `ray.member_workers` or what `ray.fit` and `ray.score` get."
    return Check(name="room", state="failed" if state == "failed" else "warning", found=text, advice=advice)


def _store(seen: Sequence[Seen], away: str, came_back: Mapping[str, str]) -> Check:
    advice = "Put `store` where every node reads and writes it: an object store, or a folder that all of them share."
    if away:
        return Check(name="nodes' store", state="failed", found=f"not even from here: {away}", advice=advice)
    found = _seen_by(seen, "store", advice)
    if found.state == "ok" and came_back:
        text = "; ".join(f"{name}: {why}" for name, why in came_back.items())
        return Check(name="nodes' store", state="failed", found=text, advice=advice)
    return found


def _pools(seen: Sequence[Seen], here: str) -> Check:
    if not here:
        return Check(name="nodes' pool", state="ok", found="none yet; `alframe ingest` makes it")
    return _seen_by(seen, "pool", "Put `pool` where every node reads it: an object store, or a folder that all share.")


def _seen_by(seen: Sequence[Seen], what: str, advice: str) -> Check:
    refused = [f"{one.name}: {one.refused}" for one in seen if one.refused]
    bad = [f"{one.name}: {one.answer[what]}" for one in seen if one.answer is not None and one.answer[what]]
    if bad or refused:
        return Check(name=f"nodes' {what}", state="failed", found="; ".join([*bad, *refused]), advice=advice)
    answered = sum(one.answer is not None for one in seen)
    return Check(name=f"nodes' {what}", state="ok", found=f"the same on {answered} nodes as here")


def _database(seen: Sequence[Seen], config: Config) -> Check:
    """Only the driver speaks to it; a job's driver runs on the head."""
    name = "nodes' database"
    if config.ledger_url.startswith("sqlite"):
        found = (
            f"the SQLite file {config.ledger_url.removeprefix('sqlite:///')}, which one machine alone can use safely"
        )
        return Check(
            name=name, state="failed", found=found, advice="Keep the ledger in PostgreSQL: docs/how-to/postgres.md."
        )
    answers = _seen_by(
        seen, "ledger", "Let the nodes reach the database (firewall, pg_hba.conf); give passwords by `ray.forward`."
    )
    if answers.state == "ok":
        return Check(name=name, state="ok", found=f"answers on {len(seen)} nodes")
    head = any(one.head and (one.refused or (one.answer is not None and one.answer["ledger"])) for one in seen)
    return Check(name=name, state="failed" if head else "warning", found=answers.found, advice=answers.advice)
