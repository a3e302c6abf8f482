"""Batches hold every item once and keep their budgets; work ahead keeps its order and its depth."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.batching import Budget, ahead, batches, chunks, read

ITEMS = st.lists(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 300)), max_size=20), max_size=12)
BUDGETS = st.builds(Budget, items=st.integers(1, 12), tokens=st.integers(1, 900), window=st.integers(1, 60))


def length(item: tuple[int, int]) -> int:
    return item[1]


@given(groups=ITEMS, budget=BUDGETS)
def test_every_item_once_and_within_the_budget(groups: list[list[tuple[int, int]]], budget: Budget) -> None:
    cut = list(batches(groups, budget, length))
    assert sorted(item for batch in cut for item in batch) == sorted(item for group in groups for item in group)
    for batch in cut:
        assert 1 <= len(batch) <= budget.items
        assert len(batch) == 1 or len(batch) * max(map(length, batch)) <= budget.tokens


@given(groups=ITEMS, budget=BUDGETS)
def test_no_batch_could_have_taken_the_next_item(groups: list[list[tuple[int, int]]], budget: Budget) -> None:
    """Within one window the packing is greedy: batches are as full as the budget lets them be."""
    one_window = Budget(budget.items, budget.tokens, window=10**6)
    cut = list(batches(groups, one_window, length))
    for batch, following in itertools.pairwise(cut):
        assert length(batch[-1]) >= length(following[0])
        assert len(batch) == budget.items or (len(batch) + 1) * length(batch[0]) > budget.tokens


@given(lengths=st.lists(st.integers(1, 50), max_size=100), window=st.integers(1, 30))
def test_only_a_window_is_held(lengths: list[int], window: int) -> None:
    drawn = 0
    budget = Budget(items=4, tokens=200, window=window)

    def stream() -> Iterator[list[int]]:
        nonlocal drawn
        for value in lengths:
            drawn += 1
            yield [value]

    given_out = 0
    for batch in batches(stream(), budget, lambda value: value):
        given_out += len(batch)
        assert drawn - given_out <= window
    assert given_out == len(lengths)


def test_sorting_leaves_little_padding() -> None:
    lengths = [(7 * i) % 250 + 1 for i in range(5000)]
    cut = list(batches([lengths], Budget(items=32, tokens=4096, window=16_384), lambda value: value))
    padded = sum(len(batch) * max(batch) for batch in cut)
    assert padded < 1.01 * sum(lengths)


@given(values=st.lists(st.integers(), max_size=50), depth=st.integers(1, 8))
def test_work_ahead_keeps_the_order(values: list[int], depth: int) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert list(ahead(pool, lambda value: value + 1, values, depth)) == [value + 1 for value in values]


def test_work_ahead_is_no_deeper_than_said() -> None:
    drawn = 0

    def stream() -> Iterator[int]:
        nonlocal drawn
        for value in range(100):
            drawn += 1
            yield value

    with ThreadPoolExecutor(2) as pool:
        for count, _ in enumerate(ahead(pool, lambda value: value, stream(), 4), 1):
            assert drawn - count <= 4


def test_an_exception_comes_out_in_its_place_and_cancels_the_rest() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(value: int) -> int:
        begun.append(value)
        if value == 1:
            raise RuntimeError("no")
        if value > 1:
            gate.wait(5)
        return value

    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, work, range(50), 20)
        assert next(results) == 0
        with pytest.raises(RuntimeError, match="no"):
            next(results)
        gate.set()
    assert len(begun) <= 4


def test_chunks() -> None:
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []


def test_a_text_that_is_no_text_is_a_problem() -> None:
    assert read(3, "good").problem == ""
    assert "character 2" in read(3, "ab\ud800").problem
