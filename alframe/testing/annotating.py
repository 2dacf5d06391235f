"""What tests and benchmarks send to a labelling server, and tasks for it to hand out."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alframe.labelling import NewTask
from alframe.ports import Artifacts, Pool
from alframe.types import Box

__all__ = ["packed", "square", "submission", "tasks_of"]


def square(given: Any) -> NDArray[np.uint8]:
    """A box with a square of class 1."""
    mask = np.zeros(given["task"]["shape"], np.uint8)
    mask[..., 1:4, 1:5] = 1
    return mask


def packed(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """A mask as it travels."""
    raw = np.ascontiguousarray(mask).tobytes()
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    data = packer.compress(raw) + packer.flush()
    return {
        "encoding": "gzip",
        "shape": list(mask.shape),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "data": base64.b64encode(data).decode(),
    }


def submission(mask: NDArray[np.uint8], **fields: Any) -> dict[str, Any]:
    """The body of a submission."""
    return {"outcome": "labeled" if mask.any() else "empty_confirmed", "mask": packed(mask), "client": "test", **fields}


def tasks_of(
    pool: Pool,
    artifacts: Artifacts,
    campaign: str,
    *,
    count: int = 6,
    side: int = 12,
    prefix: str = "task",
    **fields: Any,
) -> list[NewTask]:
    """Tasks on the items of a pool, with a pre-fill each."""
    tasks = []
    for number in range(count):
        info = pool.items()[number % len(pool.items())]
        box = Box(start=(2,) * len(info.shape), stop=tuple(min(2 + side, n) for n in info.shape))
        classes = np.zeros(box.shape, np.uint8)
        classes[..., :4, :4] = 1
        shown: dict[str, NDArray[Any]] = {
            "classes": classes,
            "uncertainty": np.linspace(0, 0.5, box.size).reshape(box.shape).astype(np.float16),
            "mean": np.stack([1.0 - classes, classes]).astype(np.float32),
        }
        ref = artifacts.put_arrays("prefill", shown)
        task = NewTask(
            id=f"{prefix}-{number}",
            campaign=campaign,
            item=info.id,
            box=box,
            classes=tuple(pool.classes),
            prefill=ref,
            **fields,
        )
        tasks.append(task)
    return tasks
