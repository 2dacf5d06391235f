"""What the faces (command line, reports) open of a campaign that exists already; nothing is created on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alframe import compose
from alframe.config import Change, Config, changes, loads
from alframe.errors import InvalidValue, NotFound
from alframe.labelling import LabellingLedger
from alframe.ports import Ledger, Predictor
from alframe.types import ArtifactRef

__all__ = ["checkpoints", "common", "labelling", "ledger", "pending_changes", "predictor", "upgrade"]


def ledger(config: Config) -> Ledger:
    """The ledger of a configuration, which must be there.

    Raises:
        NotFound: when its SQLite file does not exist.
    """
    _existing_file(config)
    return compose.open_ledger(config)


def _existing_file(config: Config) -> None:
    path = config.ledger_url.removeprefix("sqlite:///")
    if path != config.ledger_url and not Path(path).is_file():
        raise NotFound(f"no ledger at {path}: no campaign of this configuration was started yet (`alframe run`)")


def labelling(config: Config) -> LabellingLedger:
    """The tables of human labelling, in a ledger that must be there.

    Raises:
        NotFound: when its SQLite file does not exist.
    """
    _existing_file(config)
    return compose.open_labelling(config)


def pending_changes(config: Config) -> tuple[Change, ...]:
    """How a configuration differs from the one that its campaign runs under.

    Raises:
        NotFound: when the ledger or the campaign does not exist.
    """
    with ledger(config) as opened:
        record = opened.campaign(config.name)
    return changes(loads(record.config, name=f"campaign {config.name} as stored", folder=config.folder), config)


def common(configs: Sequence[Config]) -> Config:
    """The first of several configurations, once it is clear that all keep one ledger, pool and store.

    Raises:
        InvalidValue: when they do not, so that their campaigns cannot be compared in one report.
    """
    first = configs[0]
    for other in configs[1:]:
        for what in ("ledger_url", "pool_path", "store_path"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise InvalidValue(
                    f"campaigns {first.name!r} and {other.name!r} cannot share a report: "
                    f"{what.partition('_')[0]} is {one} and {two}"
                )
    return first


def checkpoints(config: Config, index: int | None = None) -> tuple[int, tuple[ArtifactRef, ...]]:
    """The round (the last one with a model, or `index`) and its members' checkpoints, in member order.

    Raises:
        NotFound: when the campaign, or a model of that round, does not exist.
    """
    with ledger(config) as opened:
        rounds = [one.index for one in opened.rounds(config.name)]
        for one in reversed(rounds) if index is None else [index] * (index in rounds):
            stored = opened.artifacts(config.name, one)
            members = [stored.get(f"member/{member}") for member in range(config.learner.value.members)]
            found = tuple(ref for ref in members if ref is not None)
            if found and len(found) == len(members):
                return one, found
    which = "" if index is None else f" in round {index}"
    raise NotFound(f"campaign {config.name!r} trained no model{which or ' yet'}")


def predictor(config: Config) -> Predictor:
    """The model that a campaign trained last.

    Raises:
        NotFound: when it trained none yet.
        ArtifactMissing: when the store lost a checkpoint.
        ArtifactDamaged: when a checkpoint does not match its hash.
    """
    artifacts = compose.open_artifacts(config)
    weights = [artifacts.get(ref) for ref in checkpoints(config)[1]]
    made: Predictor = config.learner.value.predictor(weights, compose.compute(config))
    return made


def upgrade(config: Config) -> str:
    """Bring a ledger to the schema of this version; returns the revision it has then.

    Raises:
        NotFound: when its SQLite file does not exist.
    """
    from alframe.storage.migrations import upgrade as upgrade_schema

    _existing_file(config)
    revision: str = upgrade_schema(config.ledger_url)
    return revision
