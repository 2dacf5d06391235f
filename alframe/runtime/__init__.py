"""Where functions run: in this process, or on Ray. The only room that imports ray, and only when a Ray executor is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alframe.runtime.inline import InlineExecutor

if TYPE_CHECKING:
    from alframe.runtime.ray_executor import RayExecutor

__all__ = ["InlineExecutor", "RayExecutor"]


def __getattr__(name: str) -> Any:
    if name == "RayExecutor":
        from alframe.runtime.ray_executor import RayExecutor

        return RayExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
