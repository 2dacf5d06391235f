"""Small real campaigns for tests: generated images, the pixel learner, SQLite and files in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from alframe import seeding
from alframe.campaign import Budget, CampaignLoop, Parts, Settings
from alframe.errors import NotFound
from alframe.metrics import MetricSpec, RaterSpec
from alframe.ports import Executor, Learner, Oracle, Pool, PoolItem, Strategy
from alframe.storage import FileArtifacts, SqlLedger
from alframe.strategies import Random, Uncertainty
from alframe.strategies.opinions import Opinions
from alframe.testing.memory_pool import MemoryPool, pool_item
from alframe.testing.pixel_learner import PixelLearner
from alframe.types import Compute, LabelMap, Split

__all__ = ["blobs", "small_campaign"]


def blobs(count: int = 14, side: int = 28, *, axes: int = 2, raters: int = 1, seed: int = 5) -> MemoryPool:
    """A pool of noisy blobs (instances): `axes` 2 or 3; about 60 % training, the rest validation and test."""
    splits = [Split.TRAIN] * 3 + [Split.VALIDATION, Split.TEST]
    items = [_blob(n, side, axes, raters, seed, splits[n % len(splits)]) for n in range(count)]
    return MemoryPool(items, classes=("background", "blob"))


def _blob(number: int, side: int, axes: int, raters: int, seed: int, split: Split) -> PoolItem:
    rng = seeding.generator(seed, "blob", number)
    shape = (side,) * axes if axes == 2 else (max(6, side // 3), side, side)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 3.0)
    truth = {}
    for rater in range(raters):
        inside = field > np.quantile(field, 0.7 + 0.03 * rater)
        objects = ndimage.label(inside)[0].astype(np.int32)
        truth[f"rater{rater}"] = LabelMap(classes=inside.astype(np.uint8), instances=objects)
    image = 120 + 60 * (field > np.quantile(field, 0.7)) + rng.normal(0, 25, shape)
    pixels = np.clip(image, 0, 255).astype(np.uint8)[None]
    return pool_item(f"blob-{number:02d}", pixels, truth, split=split)


def small_campaign(
    folder: Path,
    executor: Executor,
    *,
    name: str = "small",
    pool: Pool | None = None,
    oracle: Oracle | None = None,
    learner: Learner | None = None,
    strategy: Strategy | None = None,
    budget: Budget | None = None,
    initial: int = 2,
    batch: int = 4,
    replicas: int = 1,
    ledger_url: str = "",
    lease_seconds: float = 60.0,
    raters: RaterSpec | None = None,
    opinions: Opinions | None = None,
    panels: int = 0,
    compute: Compute = Compute(),  # noqa: B008 - it cannot change
) -> CampaignLoop:
    """A campaign of a second: two rounds of region BALD by default, its SQLite ledger in `folder` unless `ledger_url` names one.

    The same arguments give the same digest, whatever the ledger.
    """
    from alframe.oracles import Simulated

    pool = pool or blobs()
    ledger = SqlLedger(ledger_url or f"sqlite:///{folder / 'ledger.db'}")
    try:
        ledger.campaign(name)
    except NotFound:
        ledger.create(name, config="", config_hash="", pool_hash=pool.manifest_hash)
    return CampaignLoop(
        Settings(
            name=name,
            seed=3,
            batch=batch,
            initial=initial,
            initial_strategy=Random(),
            budget=budget or Budget(rounds=2),
            part=3,
            replicas=replicas,
            opinions=opinions or Opinions(),
            panels=panels,
            lease_seconds=lease_seconds,
        ),
        Parts(
            pool=pool,
            ledger=ledger,
            artifacts=FileArtifacts(folder / "artifacts"),
            executor=executor,
            learner=learner or PixelLearner(),
            strategy=strategy or Uncertainty(measure="bald", window=9, stride=3),
            oracle=oracle or Simulated().bind(pool),
            metrics=MetricSpec(classes=pool.classes, objects=True, min_object=4),
            raters=raters,
            compute=compute,
        ),
    )
