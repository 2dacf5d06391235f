"""Labels, predictions, scores and models as files that other tools open. Every export appears complete or not at all.

Legend: ``C`` classes, ``S`` the spatial axes ``(Z) Y X``. Class maps are ``uint8`` with 255 where nobody annotated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alframe import seeding
from alframe.composition import CommittedLabels
from alframe.errors import NotFound
from alframe.folders import appearing
from alframe.ports import Artifacts, Ledger, Pool, Predictor
from alframe.report.maps import MAP_FORMATS, MAX_BYTES, ItemMap, MapFormat, known_format, write_maps
from alframe.types import LabelMap

__all__ = ["MAP_FORMATS", "MODEL_FORMATS", "MapFormat", "ModelFormat", "labels", "model", "predictions", "scores"]

ModelFormat = Literal["safetensors", "torchscript", "onnx"]
MODEL_FORMATS: tuple[ModelFormat, ...] = ("safetensors", "torchscript", "onnx")


def labels(
    ledger: Ledger,
    artifacts: Artifacts,
    pool: Pool,
    campaign: str,
    folder: Path | str,
    *,
    format: MapFormat = "png",
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write the composed labels of every item with an annotated pixel; returns `folder`.

    Raises:
        NotFound: when the campaign does not exist or has no label yet.
        InvalidValue: for an unknown format, one that cannot hold the data, or an export beyond `max_bytes`.
        ConflictError: when `folder` exists and is not empty.
        ArtifactMissing: when the store lost a mask.
        ArtifactDamaged: when a mask does not match its hash.
    """
    known = CommittedLabels(pool=pool, artifacts=artifacts, answers=ledger.answers(ledger.campaign(campaign).name))
    items = known.items()
    if not items:
        raise NotFound(f"campaign {campaign!r} has no committed label yet; run a round first")
    maps = (ItemMap(info=pool.info(item), labels=known.labels(item)) for item in items)
    return write_maps(maps, [pool.info(item) for item in items], pool.classes, Path(folder), format, max_bytes)


def predictions(
    pool: Pool,
    predictor: Predictor,
    items: Sequence[str],
    folder: Path | str,
    *,
    format: MapFormat = "png",
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the most probable class of every pixel of `items`; returns `folder`.

    `seed` fixes stochastic passes, item by item. `progress` receives items done and items in all.

    Raises:
        NotFound: for an item that the pool does not hold, or for no items.
        InvalidValue: for an unknown format, one that cannot hold the data, or an export beyond `max_bytes`.
        ConflictError: when `folder` exists and is not empty.
        NonFiniteError: when a probability is NaN or infinite.
    """
    if not items:
        raise NotFound("no item to predict; choose a split that has some")
    infos = [pool.info(item) for item in items]

    def maps() -> Iterator[ItemMap]:
        for done, info in enumerate(infos, start=1):
            identity = seeding.derive(seed, "export", info.id)
            found = predictor.predict(pool.image(info.id), spacing=info.spacing, seed=identity)
            classes = np.asarray(found.moments.probability).argmax(axis=0).astype(np.uint8)
            yield ItemMap(info=info, labels=LabelMap(classes=classes))
            if progress is not None:
                progress(done, len(infos))

    return write_maps(maps(), infos, pool.classes, Path(folder), format, max_bytes)


def scores(ledger: Ledger, artifacts: Artifacts, campaign: str, folder: Path | str) -> Path:
    """Copy the candidate tables of every round as ``round-RRR-PPPPP.parquet``; returns `folder`.

    Columns: ``item``, ``start_0`` …, ``stop_0`` … (half-open, axes ``(Z) Y X``), ``stratum``, and ``score``, which is
    higher where an answer would tell the model more.

    Raises:
        NotFound: when the campaign does not exist or has scored nothing yet.
        ConflictError: when `folder` exists and is not empty.
        ArtifactMissing: when the store lost a table.
        ArtifactDamaged: when a table does not match its hash.
    """
    found = [
        (record.index, position, ref)
        for record in ledger.rounds(ledger.campaign(campaign).name)
        for position, ref in enumerate(
            ref for key, ref in sorted(ledger.artifacts(campaign, record.index).items()) if ref.kind == "scores"
        )
    ]
    if not found:
        raise NotFound(f"campaign {campaign!r} has no scores yet; run a round first")
    with appearing(Path(folder)) as target:
        for index, position, ref in found:
            (target / f"round-{index:03d}-{position:05d}.parquet").write_bytes(artifacts.get(ref))
    return Path(folder)


def model(
    ledger: Ledger,
    artifacts: Artifacts,
    campaign: str,
    folder: Path | str,
    *,
    format: ModelFormat = "safetensors",
    round: int | None = None,
) -> Path:
    """Write the members of a round's model (the last one trained when `round` is None) as ``member-M`` files.

    Raises:
        NotFound: when the campaign does not exist, or no model was trained in that round.
        InvalidValue: for an unknown format.
        ConflictError: when `folder` exists and is not empty.
        ExtraMissing: for ONNX when that extra is not installed.
        ArtifactMissing: when the store lost a checkpoint.
        ArtifactDamaged: when a checkpoint does not match its hash.
    """
    known_format(format, MODEL_FORMATS)
    index, members = _members(ledger, campaign, round)
    suffix = {"safetensors": ".safetensors", "torchscript": ".pt", "onnx": ".onnx"}[format]
    with appearing(Path(folder)) as target:
        for position, ref in enumerate(members):
            (target / f"member-{position}{suffix}").write_bytes(_converted(artifacts.get(ref), format))
        about = {"campaign": campaign, "round": index, "members": [ref.sha256 for ref in members]}
        (target / "model.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return Path(folder)


def _members(ledger: Ledger, campaign: str, wanted: int | None) -> tuple[int, list[Any]]:
    """The round and the checkpoints, in member order, of its chosen restarts."""
    rounds = [record.index for record in ledger.rounds(ledger.campaign(campaign).name)]
    for index in reversed(rounds) if wanted is None else [wanted]:
        stored = ledger.artifacts(campaign, index)
        keys = sorted((key for key in stored if key.startswith("member/")), key=lambda key: int(key.split("/")[1]))
        if keys:
            return index, [stored[key] for key in keys]
    where = "yet" if wanted is None else f"in round {wanted}"
    raise NotFound(f"campaign {campaign!r} trained no model {where}; its rounds are {rounds}")


def _converted(weights: bytes, format: ModelFormat) -> bytes:
    if format == "safetensors":
        return weights
    from alframe.learners import export

    converted: bytes = export.to_torchscript(weights) if format == "torchscript" else export.to_onnx(weights)
    return converted
