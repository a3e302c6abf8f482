"""Micro-batches: what waits is done together, in order, and one bad item fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from graft.server.gathering import Gather


def test_what_waits_while_one_batch_runs_is_the_next() -> None:
    batches: list[list[int]] = []
    gate = threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        gate.wait(5)
        return [10 * item for item in items]

    async def main() -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            gather = Gather(work, pool=pool, most=3)
            first = gather(0)
            await asyncio.sleep(0.05)
            rest = [gather(i) for i in range(1, 6)]
            await asyncio.sleep(0.05)
            gate.set()
            return [await each for each in (first, *rest)]

    assert asyncio.run(main()) == [0, 10, 20, 30, 40, 50]
    assert batches == [[0], [1, 2, 3], [4, 5]]


def test_a_bad_item_fails_alone() -> None:
    def work(items: Sequence[int]) -> list[float]:
        return [1 / item for item in items]

    async def main() -> list[float | BaseException]:
        with ThreadPoolExecutor(1) as pool:
            gather = Gather(work, pool=pool, most=8)
            return await asyncio.gather(*(gather(i) for i in (1, 0, 2)), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first, third) == (1.0, 0.5)
    assert isinstance(second, ZeroDivisionError)


@pytest.mark.parametrize(("patience", "threads"), [(10.0, 1), (0.0, 2)])
def test_cheap_work_stays_where_it_is(patience: float, threads: int) -> None:
    """Work that is known to be quick runs on the loop's own thread, other work elsewhere."""
    seen: set[int] = set()

    def work(items: Sequence[int]) -> list[int]:
        seen.add(threading.get_ident())
        return list(items)

    async def main() -> int:
        with ThreadPoolExecutor(1) as pool:
            gather = Gather(work, pool=pool, most=4, patience=patience)
            for i in range(5):
                assert await gather(i) == i
        return threading.get_ident()

    here = asyncio.run(main())
    assert (here in seen) == (threads == 1)


def test_one_who_has_left_is_not_worked_for() -> None:
    done: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        done.extend(items)
        return list(items)

    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            gather = Gather(work, pool=pool, most=4)
            left, stays = gather(1), gather(2)
            left.cancel()
            assert await stays == 2

    asyncio.run(main())
    assert done == [2]
