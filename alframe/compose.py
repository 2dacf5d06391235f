"""From a configuration to a campaign: the one place that knows every room."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from alframe import __version__, registry
from alframe.campaign import CampaignLoop, Parts, Settings, Silent
from alframe.config import Config, changes, digest, load, loads, to_yaml
from alframe.errors import ConfigurationError, ConflictError, NotFound, Problem
from alframe.labelling import LabellingDesk, LabellingLedger
from alframe.metrics import MetricSpec, RaterSpec
from alframe.ports import Artifacts, Ledger, Observer, Oracle, Pool, Snapshots, Strategy
from alframe.types import ItemInfo, Split
from alframe.workers import check_hosts, compute, open_executor

if TYPE_CHECKING:
    from alframe.annotator import Door, Office

__all__ = [
    "Campaign",
    "compute",
    "ingest",
    "open_artifacts",
    "open_campaign",
    "open_desk",
    "open_executor",
    "open_labelling",
    "open_ledger",
    "open_office",
    "open_pool",
    "plan",
]


class Campaign(CampaignLoop):
    """A campaign of a configuration, ready to go on from wherever it stands.

    Use as a context manager, or call :meth:`close`: workers and the connection to the ledger are released then.
    """

    def __init__(self, config: Config, settings: Settings, parts: Parts) -> None:
        super().__init__(settings, parts)
        self.config = config

    @classmethod
    def open(cls, path: str | Path, observer: Observer | None = None) -> Campaign:
        """Open the campaign that the YAML at `path` describes; it is created when the ledger does not know it.

        Raises:
            ConfigurationError: with every problem of the YAML as file:line:column.
            NotFound: when its pool was not ingested.
            ConflictError: when the ledger holds a campaign of this name that the YAML would change unsafely.
        """
        return open_campaign(load(path), observer)

    @property
    def pool(self) -> Pool:
        """The pool that the campaign draws from."""
        return self.parts.pool

    def close(self) -> None:
        """Release workers and the connection to the ledger."""
        self.parts.executor.close()
        self.parts.ledger.close()
        getattr(self.parts.oracle, "close", lambda: None)()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Progress = Callable[[int, int], None]


def ingest(config: Config, *, checking: Progress | None = None, writing: Progress | None = None) -> Pool:
    """Check all data of a configuration, then write its pool. Repeating it changes nothing.

    `checking` and `writing` receive items done and items in all. Readers of other packages are used where installed.

    Raises:
        ConfigurationError: when the configuration names no data.
        DataError: with every problem of the data; nothing is written then.
        ConflictError: when another pool stands in its place.
    """
    from alframe import readers
    from alframe.storage import write_pool

    if config.data is None:
        raise ConfigurationError(
            [
                Problem(
                    where=f"campaign {config.name}",
                    expected="a section `data`",
                    found="none",
                    hint="Say where images and masks are; see docs/how-to/own-data.md",
                )
            ]
        )
    own = {reader.name for reader in registry.available("alframe.readers") if reader.distribution == "alframe"}
    others = [plugin.name for plugin in registry.available("alframe.readers") if plugin.name not in own]
    items = readers.scan(
        config.data,
        base=config.folder,
        readers=[registry.find("alframe.readers", name)() for name in others],
        progress=checking,
    )
    if isinstance(config.pool_path, Path):
        config.pool_path.parent.mkdir(parents=True, exist_ok=True)
    return write_pool(config.pool_path, items, classes=config.data.classes, progress=writing)


def open_pool(config: Config) -> Pool:
    """The ingested pool of a configuration. Raises NotFound when there is none yet."""
    from alframe.storage import ZarrPool

    if isinstance(config.pool_path, Path) and not config.pool_path.exists():
        raise NotFound(f"no pool at {config.pool_path}: run `alframe ingest` with this configuration first")
    return ZarrPool(config.pool_path)


def open_ledger(config: Config) -> Ledger:
    """The ledger of a configuration; an SQLite file is made when it does not exist."""
    from alframe.storage import SqlLedger

    config.workdir_path.mkdir(parents=True, exist_ok=True)
    return SqlLedger(config.ledger_url)


def open_artifacts(config: Config) -> Artifacts:
    """The artifact store of a configuration: a folder or an object store."""
    from alframe.storage import FileArtifacts, ObjectArtifacts

    place = config.store_path
    return FileArtifacts(place) if isinstance(place, Path) else ObjectArtifacts(place)


def _snapshots(config: Config) -> Snapshots:
    from alframe.storage import FileSnapshots, ObjectSnapshots

    place = config.store_path
    return FileSnapshots(place) if isinstance(place, Path) else ObjectSnapshots(place)


def open_labelling(config: Config) -> LabellingLedger:
    """The tables of human labelling, which are in the ledger of a configuration."""
    from alframe.storage import SqlLabelling

    config.workdir_path.mkdir(parents=True, exist_ok=True)
    return SqlLabelling(config.ledger_url)


def open_desk(config: Config) -> LabellingDesk:
    """The labelling desk of a configuration: what servers, bridges and the human oracle work with."""
    return LabellingDesk(open_labelling(config), open_artifacts(config))


def open_office(config: Config, door: Door) -> Office:
    """The labelling desk of a configuration, opened to the network: give it to :func:`alframe.annotator.create_app`.

    Raises:
        NotFound: when the pool was not ingested.
        ConfigurationError: when the configuration's oracle asks no people.
    """
    from alframe.annotator import Office
    from alframe.overview import Watched

    if not getattr(config.oracle.value, "people", False):
        problem = Problem(
            where=f"campaign {config.name}: oracle",
            expected="an oracle that asks people, such as {type: human}",
            found=f"{config.oracle.type}, so that there will be nothing to label",
        )
        raise ConfigurationError([problem])
    pool, desk = open_pool(config), open_desk(config)
    measure = getattr(config.strategy.value, "measure", None)
    return Office(
        desk,
        pool,
        config.name,
        Watched(open_ledger(config), config.name),
        door=door,
        measure=measure if isinstance(measure, str) else None,
    )


def _oracle(config: Config, pool: Pool) -> Oracle:
    """An oracle's parameters bound to the pool, and to the labelling desk and what they `need` when they say that people answer."""
    chosen = config.oracle.value
    if not getattr(chosen, "people", False):
        alone: Oracle = chosen.bind(pool)
        return alone
    asked = getattr(chosen, "needs", ())
    given: dict[str, Any] = {}
    if "workdir" in asked:
        given["workdir"] = config.workdir_path
    if "read_mask" in asked:
        from alframe.readers import read_mask

        given["read_mask"] = read_mask
    bound: Oracle = chosen.bind(pool, open_desk(config), **given)
    return bound


def open_campaign(config: Config, observer: Observer | None = None) -> Campaign:
    """See :meth:`Campaign.open`."""
    check_hosts(config)
    pool = open_pool(config)
    if not pool.items(Split.TRAIN):
        raise NotFound(
            f"campaign {config.name}: the pool has no training item to ask about; models can be measured on it "
            "(`alframe evaluate`), but a campaign needs items in the split train"
        )
    ledger = open_ledger(config)
    settings = _settings(config)
    _register(config, ledger, pool, settings)
    parts = Parts(
        pool=pool,
        ledger=ledger,
        artifacts=open_artifacts(config),
        executor=open_executor(config),
        learner=config.learner.value,
        strategy=config.strategy.value,
        oracle=_oracle(config, pool),
        metrics=metric_spec(config, pool),
        raters=rater_spec(config, pool),
        fusion=config.metrics.fusion,
        compute=compute(config),
        observer=observer or Silent(),
        snapshots=_snapshots(config),
    )
    return Campaign(config, settings, parts)


def _settings(config: Config) -> Settings:
    return Settings(
        name=config.name,
        seed=config.seed,
        batch=config.batch,
        initial=config.initial.queries,
        initial_strategy=config.initial.strategy.value,
        budget=config.budget,
        target=config.stop.target,
        plateau=config.stop.plateau,
        evaluate_pool=config.evaluate.pool,
        part=config.runtime.range,
        replicas=config.replicas,
        opinions=config.raters,
        panels=config.evaluate.panels,
        lease_seconds=config.runtime.lease_seconds,
        snapshot_seconds=config.runtime.snapshot_seconds,
    )


def _register(config: Config, ledger: Ledger, pool: Pool, settings: Settings) -> None:
    """Create the campaign, or make sure that the stored one may go on under this configuration."""
    text, new_hash = to_yaml(config), digest(config)
    try:
        record = ledger.campaign(config.name)
    except NotFound:
        ledger.create(config.name, config=text, config_hash=new_hash, pool_hash=pool.manifest_hash)
        return
    if record.pool_hash != pool.manifest_hash:
        raise ConflictError(
            f"campaign {config.name!r} began on another pool ({record.pool_hash[:12]}, now {pool.manifest_hash[:12]}); "
            "restore that pool, or give the campaign a new name"
        )
    if record.config_hash == new_hash:
        return
    found = changes(loads(record.config, name=f"campaign {config.name} as stored", folder=config.folder), config)
    unsafe = [str(change) for change in found if not change.safe]
    if unsafe:
        raise ConflictError(
            f"campaign {config.name!r} began under another configuration and cannot go on with these changes:\n  "
            + "\n  ".join(unsafe)
            + "\nUndo them, or give the campaign a new name"
        )
    fence = ledger.claim(config.name, holder="reconfigure", lease_seconds=settings.lease_seconds)
    try:
        ledger.reconfigure(fence, config=text, config_hash=new_hash)
    finally:
        ledger.release(fence, status=record.status, reason=record.reason)


def metric_spec(config: Config, pool: Pool) -> MetricSpec:
    """The metrics of a campaign; objects are measured where the truth tells them apart, unless the configuration says."""
    wanted = config.metrics
    objects = any(info.instances for info in pool.items()) if wanted.objects == "auto" else bool(wanted.objects)
    return MetricSpec(
        classes=pool.classes,
        bins=wanted.bins,
        binning=wanted.binning,
        both_empty=wanted.both_empty,
        objects=objects,
        min_object=wanted.min_object,
    )


def rater_spec(config: Config, pool: Pool) -> RaterSpec | None:
    """How raters are compared with the model one by one: where the truth has several, unless the configuration says."""
    wanted = config.metrics
    several = any(len(info.raters) > 1 for info in pool.items())
    if not (several if wanted.raters == "auto" else wanted.raters):
        return None
    return RaterSpec(classes=pool.classes, bins=wanted.bins, samples=wanted.samples)


def plan(config: Config) -> dict[str, Any]:
    """What a campaign would do, from the configuration and the ingested pool, without doing it.

    Pixels are upper bounds: queries on the border of an image and overlapping ones cost less. Raises NotFound.
    """
    pool, learner = open_pool(config), config.learner.value
    training = pool.items(Split.TRAIN)
    pixels = sum(info.size for info in training)
    per_query = _pixels_per_query(config.strategy.value, training)
    initial = config.initial.queries * _pixels_per_query(config.initial.strategy.value, training)
    rounds = _rounds(config, initial, per_query * config.batch, pixels)
    models = rounds + 1
    return {
        "campaign": config.name,
        "alframe": __version__,
        "pool": {split.value: len(pool.items(split)) for split in Split},
        "training_pixels": pixels,
        "rounds": rounds,
        "queries": config.initial.queries + rounds * config.batch,
        "annotated_pixels": min(pixels, initial + rounds * config.batch * per_query),
        "annotated_fraction": min(1.0, (initial + rounds * config.batch * per_query) / pixels) if pixels else 0.0,
        "trainings": models * learner.members * learner.restarts,
        "images_scored": models * len(training),
        "images_evaluated": models * (len(pool.items(Split.VALIDATION)) + len(pool.items(Split.TEST))),
    }


def _pixels_per_query(strategy: Strategy, training: Sequence[ItemInfo]) -> int:
    shapes = [info.shape for info in training]
    window = getattr(strategy, "window", None)
    if not shapes:
        return 0
    if window is None:
        return max(math.prod(shape) for shape in shapes)
    sides = (window,) * len(shapes[0]) if isinstance(window, int) else tuple(window)
    return math.prod(sides)


def _rounds(config: Config, initial: int, per_round: int, pixels: int) -> int:
    """Acquisition rounds until the first limit of the budget, or until the pool is used up."""
    budget = config.budget
    limits = [math.ceil(max(0, pixels - initial) / max(1, per_round))]
    if budget.rounds is not None:
        limits.append(budget.rounds)
    if budget.queries is not None:
        limits.append(math.ceil(max(0, budget.queries - config.initial.queries) / config.batch))
    for allowed in (budget.pixels, None if budget.fraction is None else int(budget.fraction * pixels)):
        if allowed is not None:
            limits.append(math.ceil(max(0, allowed - initial) / max(1, per_round)))
    return min(limits)
