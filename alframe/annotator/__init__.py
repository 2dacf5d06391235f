"""The labelling server: a campaign's desk over HTTP, and the page."""

from __future__ import annotations

from alframe.annotator.app import create_app, openapi
from alframe.annotator.door import LOOPBACK, Door
from alframe.annotator.gate import Gate
from alframe.annotator.office import Office, Watch
from alframe.annotator.serving import Addressed, Serving, address_of, announced

__all__ = [
    "LOOPBACK",
    "Addressed",
    "Door",
    "Gate",
    "Office",
    "Serving",
    "Watch",
    "address_of",
    "announced",
    "create_app",
    "openapi",
]
