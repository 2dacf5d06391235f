"""What a model makes of a few images, kept for the report: maps of one plane, samples, blobs. Functions that travel to workers.

Legend: ``C`` classes, ``N`` samples, ``S`` the spatial axes ``(Z) Y X`` of a box, ``Y X`` the plane that is kept, ``B`` blobs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.jobs import Model, fused_truth
from alframe.metrics.blobs import find_blobs, match_blobs
from alframe.ports import Artifacts, Moments, Pool
from alframe.strategies import measures
from alframe.strategies import moments as moment
from alframe.types import ArtifactRef, Box

__all__ = ["Panel", "PanelContext", "PanelJob", "blob_table", "draw_panel"]

SAMPLES = 6
"""Samples kept of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelJob:
    """One image to be shown: `box` of `item`; `query` is the id of the round's query about it, empty for a test image."""

    item: str
    box: Box
    query: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelContext:
    """What all panels of a round share. `blobs` says that the predictor gives a logit map for blobs."""

    pool: Pool
    artifacts: Artifacts
    model: Model
    blobs: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """A stored panel: `job`, the `plane` of the item it shows (its Z; 0 for images) and the arrays.

    `mean` (C, Y, X; float16), `aleatoric` and `epistemic` (Y, X; float16; the latter absent with a single pass), `samples`
    (N, Y, X; uint8 classes), and where there are blobs their `blobs` (Y, X; int32 numbers) and `blob_logit` (B).
    """

    job: PanelJob
    plane: int
    arrays: dict[str, NDArray[Any]]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Numeric arrays that hold the whole panel (text as UTF-8 bytes in uint8), for an artifact."""
        where = {
            "item": self.job.item,
            "start": self.job.box.start,
            "stop": self.job.box.stop,
            "query": self.job.query,
            "plane": self.plane,
        }
        return self.arrays | {"where": np.frombuffer(json.dumps(where, sort_keys=True).encode(), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Panel:
        """The inverse of :meth:`to_arrays`."""
        where = json.loads(arrays["where"].tobytes())
        box = Box(start=tuple(where["start"]), stop=tuple(where["stop"]))
        job = PanelJob(item=where["item"], box=box, query=where["query"])
        rest = {name: array for name, array in arrays.items() if name != "where"}
        return cls(job=job, plane=int(where["plane"]), arrays=rest)


def draw_panel(context: PanelContext, job: PanelJob) -> dict[str, ArtifactRef]:
    """The panel of one image, as a reference under ``panel``. Of a volume it keeps the slice that varies most."""
    pool, model, inside = context.pool, context.model, job.box.slices
    moments = model.predict(pool, job.item, spread=True).moments
    total = measures.total_variance(moments)[inside]
    z = int(total.sum(axis=(1, 2)).argmax()) if total.ndim == 3 else 0

    def kept(array: NDArray[Any]) -> NDArray[Any]:
        where: tuple[Any, ...] = (..., *inside)
        part = array[where]
        return np.ascontiguousarray(part[..., z, :, :] if total.ndim == 3 else part)

    drawn = model.samples(pool, job.item, SAMPLES)
    arrays = {"mean": kept(moment.mean(moments)).astype(np.float16), **_variances(moments, kept)}
    arrays["samples"] = kept(drawn.argmax(axis=1)).astype(np.uint8)
    if context.blobs:
        numbers, logit, _ = find_blobs(model.foreground_logit(pool, job.item))
        arrays |= {"blobs": kept(numbers), "blob_logit": logit}
    plane = job.box.start[0] + z if total.ndim == 3 else 0
    panel = Panel(job=job, plane=plane, arrays=arrays)
    return {"panel": context.artifacts.put_arrays("panel", panel.to_arrays())}


def _variances(moments: Moments, kept: Any) -> dict[str, NDArray[Any]]:
    """The parts of the variance; of one pass, which has no parts, all of it is called aleatoric."""
    if moments.count < 2 or moments.squares is None:
        return {"aleatoric": kept(measures.total_variance(moments)).astype(np.float16)}
    parts = {"epistemic": measures.epistemic(moments), "aleatoric": measures.aleatoric(moments)}
    return {name: np.maximum(kept(values), 0.0).astype(np.float16) for name, values in parts.items()}


def blob_table(context: PanelContext, items: tuple[str, ...]) -> dict[str, ArtifactRef]:
    """Blobs of validation items against their truth, as a table under ``blobs``: mean logit, and whether each is true."""
    tables = [
        match_blobs(context.model.foreground_logit(context.pool, item), fused_truth(context.pool, item).classes)
        for item in items
    ]
    columns = {
        "logit": np.concatenate([table.logit for table in tables]),
        "true": np.concatenate([table.true for table in tables]),
    }
    return {"blobs": context.artifacts.put_arrays("metrics", columns)}
