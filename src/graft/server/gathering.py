"""Work that waits is done together: what arrives while one batch runs is the next batch. Nothing waits on purpose."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
REMEMBER = 0.9  # weight of what is known about the cost of one item against the newest batch


class Gather(Generic[T, R]):
    """Calls of one event loop, put together into batches of at most `most` items.

    `work` takes items and gives one result each, in their order. It runs in `pool`; but while its items cost so little that a whole batch is
    done within `patience` seconds, it runs where it stands, which saves a change of threads (some 100 µs, more than a search of 200,000
    vectors). If a batch fails its items are tried one by one, so that a bad one fails alone.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        *,
        pool: Executor,
        most: int,
        patience: float = 0.0,
        size: Callable[[T], int] = lambda _: 1,
    ) -> None:
        self._work, self._pool, self._most, self._patience, self._size = work, pool, most, patience, size
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running = False
        self._cost = 0.0  # seconds an item, as measured
        self.batches = self.items = 0

    def __call__(self, item: T) -> asyncio.Future[R]:
        """The result of one item, when its batch is done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if not self._running:
            self._running = True
            loop.call_soon(self._start)  # after what else has arrived in this turn of the loop
        return future

    def _start(self) -> None:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        count = 0
        while self._waiting and count < self._most:
            item, future = self._waiting.popleft()
            if not future.done():  # its client has gone, or its time is up
                batch.append((item, future))
                count += self._size(item)
        if not batch:
            self._running = False
            return
        self.batches += 1
        self.items += len(batch)
        items = [item for item, _ in batch]
        if self._cost * count < self._patience:
            self._settle(batch, *self._timed(items, count))
        else:
            done = asyncio.get_running_loop().run_in_executor(self._pool, self._timed, items, count)
            done.add_done_callback(lambda found: self._settle(batch, *found.result()))

    def _timed(self, items: Sequence[T], count: int) -> tuple[list[R | Exception], float]:
        started = time.perf_counter()
        results = self._results(items)
        return results, (time.perf_counter() - started) / count

    def _results(self, items: Sequence[T]) -> list[R | Exception]:
        try:
            return list(self._work(items))
        except Exception as error:
            return [error] if len(items) == 1 else [self._results([item])[0] for item in items]

    def _settle(
        self, batch: Sequence[tuple[T, asyncio.Future[R]]], results: Sequence[R | Exception], cost: float
    ) -> None:
        self._cost = REMEMBER * self._cost + (1 - REMEMBER) * cost
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start)
        else:
            self._running = False
