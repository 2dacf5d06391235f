"""The report page and the exports of a campaign. Faces without logic: they show what the ledger holds."""

from __future__ import annotations

from alframe.report.page import render

__all__ = ["render"]
