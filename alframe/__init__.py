"""alframe: distributed active learning for biomedical image segmentation."""

__version__ = "0.1.0"
