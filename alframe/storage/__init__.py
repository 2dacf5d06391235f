"""The stores: the pool in Zarr, the ledger in SQL, artifacts in files. Loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.storage.artifacts import FileArtifacts
    from alframe.storage.labelling_sql import SqlLabelling
    from alframe.storage.ledger_sql import SqlLedger
    from alframe.storage.object_artifacts import ObjectArtifacts
    from alframe.storage.pool_write import write_pool
    from alframe.storage.pool_zarr import ZarrPool
    from alframe.storage.snapshots import FileSnapshots, ObjectSnapshots

__all__ = [
    "FileArtifacts",
    "FileSnapshots",
    "ObjectArtifacts",
    "ObjectSnapshots",
    "SqlLabelling",
    "SqlLedger",
    "ZarrPool",
    "write_pool",
]

_HOMES = {
    "FileArtifacts": "artifacts",
    "FileSnapshots": "snapshots",
    "ObjectArtifacts": "object_artifacts",
    "ObjectSnapshots": "snapshots",
    "SqlLabelling": "labelling_sql",
    "SqlLedger": "ledger_sql",
    "ZarrPool": "pool_zarr",
    "write_pool": "pool_write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
