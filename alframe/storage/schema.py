"""What all tables share: the names of constraints, and columns that are never NULL."""

from __future__ import annotations

from sqlalchemy import Column, Double, Integer, MetaData, Text

__all__ = ["box", "double", "integer", "metadata", "text"]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def text(name: str) -> Column[str]:
    """A text column."""
    return Column(name, Text, nullable=False)


def integer(name: str) -> Column[int]:
    """An integer column."""
    return Column(name, Integer, nullable=False)


def double(name: str) -> Column[float]:
    """A column of doubles."""
    return Column(name, Double, nullable=False)


def box() -> tuple[Column[int], ...]:
    """Corners in axes (Z) Y X, half-open; ``z0`` and ``z1`` are NULL for 2-D items."""
    return tuple(Column(name, Integer, nullable=name[0] == "z") for name in ("z0", "y0", "x0", "z1", "y1", "x1"))
