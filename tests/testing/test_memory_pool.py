"""The pool in memory keeps the pool's contract."""

from collections.abc import Sequence

from alframe.ports import Pool, PoolItem
from alframe.testing.contracts.pool import PoolContract
from alframe.testing.memory_pool import MemoryPool


class TestMemoryPool(PoolContract):
    def make(self, items: Sequence[PoolItem], classes: Sequence[str]) -> Pool:
        return MemoryPool(items, classes=classes)
