"""Labelling in Label Studio: a real server, spoken to over HTTP (extra ``label-studio``)."""

from __future__ import annotations

from alframe.oracles.label_studio.oracle import LabelStudio, LabelStudioOracle

__all__ = ["LabelStudio", "LabelStudioOracle"]
