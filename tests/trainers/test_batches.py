"""Batches: every item once an epoch, about equally large and long, and the same again from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graft.encoders.tokens import pad
from graft.trainers.batches import Batch, ItemFeed, Prepared, derived_seed, placed, size_of, some


def texts(lengths: list[int], **options: Any) -> ItemFeed:
    """Texts whose every token is their own number plus one; targets are the numbers."""
    rows = [np.full(length, number + 1) for number, length in enumerate(lengths)]
    return ItemFeed(Prepared(rows, lambda some: pad(some, 0)), torch.arange(len(rows)), **{"seed": 0} | options)


def numbers(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch["targets"].tolist() for batch in batches]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=150),
    st.integers(1, 20),
    st.integers(0, 3),
    st.integers(0, 2**40),
)
def test_every_item_comes_once_an_epoch_in_batches_of_nearly_one_size(
    lengths: list[int], batch: int, epoch: int, seed: int
) -> None:
    feed = texts(lengths, seed=seed)
    found = numbers(feed.epoch(epoch, batch))
    assert sorted(n for part in found for n in part) == list(range(len(lengths))) and len(feed) == len(lengths)
    assert len(found) == math.ceil(len(lengths) / batch)
    sizes = [len(part) for part in found]
    assert max(sizes) <= batch and max(sizes) - min(sizes) <= 1
    assert found == numbers(feed.epoch(epoch, batch)) == numbers(texts(lengths, seed=seed).epoch(epoch, batch))


def test_tokens_and_targets_stay_together() -> None:
    for batch in texts([3, 9, 1, 4, 4, 20, 7]).epoch(0, 3):
        assert torch.equal(batch["input_ids"].max(dim=1).values, batch["targets"] + 1)
        assert batch["input_ids"].shape[1] == batch["attention_mask"].sum(dim=1).max()


@pytest.mark.parametrize("lengths", [[5] * 64, [*range(1, 65)]], ids=["equal", "mixed"])
def test_epochs_and_seeds_differ_in_who_is_beside_whom(lengths: list[int]) -> None:
    feed = texts(lengths)
    parts = [{frozenset(part) for part in numbers(feed.epoch(epoch, 16))} for epoch in range(4)]
    parts.append({frozenset(part) for part in numbers(texts(lengths, seed=1).epoch(0, 16))})
    assert all(one != two for i, one in enumerate(parts) for two in parts[:i])


def test_sorting_by_length_saves_padding() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.7, 2000).astype(int) + 1
    feed, plain = texts(lengths.tolist()), texts(lengths.tolist(), order=lambda _: np.arange(2000))

    def padded(feed: ItemFeed) -> int:
        return sum(batch["input_ids"].numel() for batch in feed.epoch(0, 16)) - int(lengths.sum())

    assert padded(feed) < 0.25 * padded(plain)


def test_an_order_is_followed_and_may_leave_items_out() -> None:
    feed = texts([4, 3, 2, 9, 1], order=lambda epoch: np.array([3, 1, 0, 4])[: 2 + epoch])
    assert numbers(feed.epoch(0, 2)) == [[3, 1]]
    assert numbers(feed.epoch(2, 2)) == [[3, 1], [0, 4]]


def test_transforms_follow_one_another_with_a_generator_of_seed_epoch_and_batch() -> None:
    seen = []

    def doubled(batch: Batch, generator: torch.Generator) -> Batch:
        seen.append(torch.rand(1, generator=generator).item())
        return batch | {"input_ids": 2 * batch["input_ids"]}

    def plus_one(batch: Batch, _: torch.Generator) -> Batch:
        return batch | {"input_ids": batch["input_ids"] + 1}

    feed = texts([2] * 8, transforms=(doubled, plus_one))
    first = next(feed.epoch(0, 4))
    assert torch.equal(first["input_ids"][:, 0], 2 * (first["targets"] + 1) + 1)
    del seen[:]
    before = torch.random.get_rng_state()
    for epoch in (0, 1, 0):
        list(feed.epoch(epoch, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert seen[:2] == seen[4:] and len(set(seen)) == 4
    assert torch.equal(next(feed.ordered(4))["input_ids"][:, 0], torch.arange(4) + 1)  # untouched


def test_items_that_are_other_ones_in_every_epoch() -> None:
    def anew(epoch: int) -> Prepared:
        return Prepared([np.full(3, 10 * epoch + number) for number in range(4)], lambda some: pad(some, 0))

    feed = texts([3] * 4, anew=anew)
    for epoch in (0, 2):
        for batch in feed.epoch(epoch, 2):
            assert torch.equal(batch["input_ids"][:, 0], 10 * epoch + batch["targets"])
    assert torch.equal(next(feed.ordered(4))["input_ids"][:, 0], torch.arange(4) + 1)  # as they are


def test_ordered_is_once_through_and_largest_are_the_longest() -> None:
    feed = texts([2, 9, 4, 9, 1])
    assert numbers(feed.ordered(2)) == [[0, 1], [2, 3], [4]]
    assert feed.largest(2)["targets"].tolist() == [1, 3]
    assert size_of(feed.largest(99)) == 5


class Disk:
    """Rows that may be asked for one at a time, and tell which were."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> np.ndarray:
        assert isinstance(row, int)
        self.asked.append(row)
        return np.full((1, 2), row, np.uint8)


@pytest.mark.parametrize("rows", [Disk(), [np.full((1, 2), i, np.uint8) for i in range(10)]], ids=["view", "list"])
def test_some_of_the_items_are_taken_without_reading_the_rest(rows: Any) -> None:
    items = Prepared(rows, lambda some: {"pixels": np.stack(some)})
    taken = items.take([7, 2, 9]).take(np.array([False, True, True]))
    assert len(taken) == 2 and taken.batch([1, 0])["pixels"][:, 0, 0].tolist() == [9, 2]
    assert [int(row[0, 0]) for row in (taken.rows[0], taken.rows[1])] == [2, 9]
    assert not isinstance(rows, Disk) or rows.asked == [9, 2, 2, 9]


def test_sizes_are_those_of_the_rows() -> None:
    assert Prepared([np.ones(3), np.ones(5)], dict).sizes().tolist() == [3, 5]  # type: ignore[arg-type]
    assert Prepared(np.ones((2, 3, 4)), dict).sizes().tolist() == [12, 12]  # type: ignore[arg-type]
    assert Prepared(np.ones((0, 3)), dict).sizes().tolist() == []  # type: ignore[arg-type]


def test_arrays_that_cannot_be_written_to_are_copied() -> None:
    frozen = np.ones((2, 3), np.float32)
    frozen.flags.writeable = False
    items = Prepared(frozen, lambda _: {"x": frozen})
    assert items.batch([0, 1])["x"].shape == (2, 3)


def test_soft_targets_are_carried_and_missing_ones_refused() -> None:
    items = Prepared(np.ones((3, 2), np.float32), lambda some: {"x": np.stack(some)})
    soft: Tensor = torch.full((3, 4), 0.25)
    assert next(ItemFeed(items, soft, seed=0).epoch(0, 2))["targets"].shape == (2, 4)
    with pytest.raises(ValueError, match="3 items have 2 targets"):
        ItemFeed(items, soft[:2], seed=0)


def test_seeds_derived_from_other_numbers_are_others() -> None:
    found = {derived_seed(*given) for given in [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 10), (11, 0), (0, 0, 0)]}
    assert len(found) == 8 and all(0 <= seed < 2**63 for seed in found)
    assert derived_seed(3, 4) == derived_seed(int(np.int64(3)), 4)


def test_parts_of_a_batch_share_its_memory() -> None:
    batch = {"x": torch.arange(6).reshape(3, 2), "targets": torch.arange(3)}
    part = some(batch, slice(1, None, 2))
    assert part["targets"].tolist() == [1] and part["x"].data_ptr() == batch["x"][1].data_ptr()
    assert placed(batch, "cpu")["x"].data_ptr() == batch["x"].data_ptr()
