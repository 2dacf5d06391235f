"""Calls made together: what arrives while one call runs waits, and is then served by one call for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from alframe.errors import AlframeError

__all__ = ["Together"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_MOST = 100


class Together(Generic[Item, Result]):
    """`work` gets what came together and returns a result, or the error to be raised, for each. It runs in a thread of its own.

    The more callers wait, the more share a transaction and its flush to the disk. Belongs to one event loop.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result | AlframeError]]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="together")
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running = False

    async def __call__(self, item: Item) -> Result:
        """The result for one item. Raises what `work` returned for it, or raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._running:
            self._start()
        return await future

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._thread.shutdown()

    def _start(self) -> None:
        self._running = True
        batch, self._waiting = self._waiting[:_AT_MOST], self._waiting[_AT_MOST:]
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._work, [item for item, _ in batch])
        call.add_done_callback(lambda done: self._finish([future for _, future in batch], done))

    def _finish(
        self, futures: Sequence[asyncio.Future[Result]], done: asyncio.Future[Sequence[Result | AlframeError]]
    ) -> None:
        error = done.exception()
        results: Sequence[Result | BaseException] = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._running = False
        if self._waiting:
            self._start()
