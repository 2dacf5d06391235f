"""Readers: files on disk → checked arrays. The formats' libraries load when a file is read, not with this room."""

from alframe.readers.base import RawImage, Reader, bad
from alframe.readers.formats import built_in, read, read_mask
from alframe.readers.scan import scan
from alframe.readers.settings import DataSettings, Limits, SplitSettings

__all__ = [
    "DataSettings",
    "Limits",
    "RawImage",
    "Reader",
    "SplitSettings",
    "bad",
    "built_in",
    "read",
    "read_mask",
    "scan",
]
