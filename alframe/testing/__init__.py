"""For tests and demos, shipped for plug-in authors: contracts of the ports, synthetic data, small stand-ins. Loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.testing.data import write_histology, write_volumes
    from alframe.testing.memory_pool import MemoryPool, pool_item
    from alframe.testing.raters import Habits, redraw
    from alframe.testing.synthetic import Sample, histology, volumes

__all__ = [
    "Habits",
    "MemoryPool",
    "Sample",
    "histology",
    "pool_item",
    "redraw",
    "volumes",
    "write_histology",
    "write_volumes",
]

_HOMES = {
    "Habits": "raters",
    "MemoryPool": "memory_pool",
    "Sample": "synthetic",
    "histology": "synthetic",
    "pool_item": "memory_pool",
    "redraw": "raters",
    "volumes": "synthetic",
    "write_histology": "data",
    "write_volumes": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
