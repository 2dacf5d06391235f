"""Randomness by identity: a seed is derived from *what* is drawn (campaign, round, purpose, item), never from worker order."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["derive", "generator"]


def derive(*identity: str | int) -> int:
    """A 63-bit seed for `identity`: SHA-256 over the length-prefixed parts, so ``("ab", "c")`` and ``("a", "bc")`` differ."""
    digest = hashlib.sha256()
    for part in identity:
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(*identity: str | int) -> np.random.Generator:
    """A NumPy generator seeded by :func:`derive`."""
    return np.random.Generator(np.random.PCG64(derive(*identity)))
