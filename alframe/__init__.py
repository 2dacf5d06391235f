"""alframe: distributed active learning for biomedical image segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alframe.compose import Campaign

__all__ = ["Campaign", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the Python API when it is first used, so that ``import alframe`` stays light."""
    if name == "Campaign":
        from alframe.compose import Campaign

        return Campaign
    raise AttributeError(f"module 'alframe' has no attribute {name!r}")
