"""Batches for contrast: every class as often, as many as give the pairs that were asked for, the same for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from graft.strategies.contrast import (
    ALL,
    ENOUGH,
    FEWEST,
    MANY_CLASSES,
    MOST,
    RATE_OF_MANY,
    ROUNDS,
    ROUNDS_OF_MANY,
    UPPER,
    WIDE,
    ContrastFeed,
    contrast_steps,
    suited,
)
from graft.trainers.batches import Prepared
from graft.trainers.recipe import Recipe


def rows(n: int, start: int = 0) -> Prepared:
    """Items that are their own numbers."""
    return Prepared([np.array([start + i]) for i in range(n)], lambda some: {"x": np.stack(some)})


def feed(
    counts: tuple[int, ...], *, named: bool = False, seed: int = 0, batch: int = 8, pairs: int | None = None
) -> ContrastFeed:
    targets = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    names = (rows(len(counts), 1000), torch.arange(len(counts))) if named else None
    return ContrastFeed(rows(len(targets)), targets, Recipe(epochs=1, batch=batch, pairs=pairs), seed, names)


@pytest.mark.parametrize(
    ("pairs", "batch", "n", "steps"), [(28, 8, 100, 1), (29, 8, 100, 2), (280, 8, 100, 10), (3, 8, 3, 1)]
)
def test_as_many_batches_as_give_the_pairs(pairs: int, batch: int, n: int, steps: int) -> None:
    assert contrast_steps(Recipe(epochs=1, batch=batch, pairs=pairs), n, 2) == steps


def test_without_a_number_of_pairs_rounds_of_the_items_within_bounds() -> None:
    for last, classes, rounds in (
        (UPPER, 2, ROUNDS[UPPER]),
        (ALL, 2, ROUNDS[ALL]),
        (UPPER, MANY_CLASSES + 1, ROUNDS_OF_MANY),
    ):
        plain = Recipe(epochs=1, batch=16, last=last)
        assert contrast_steps(plain, 2, classes) == max(FEWEST, rounds)
        assert contrast_steps(plain, 100_000, classes) == MOST[last]
        n = math.floor((FEWEST + 12) * 16 / rounds)
        assert FEWEST < contrast_steps(plain, n, classes) == math.ceil(rounds * n / 16) < MOST[last]


def test_every_class_is_met_as_often() -> None:
    contrasted = feed((30, 4, 4), batch=9, pairs=36 * 20)
    batches = list(contrasted.epoch(0, 9))
    assert len(batches) == contrasted.steps == 20 and len(contrasted) == 180
    for batch in batches:
        labels = batch["targets"].numpy()
        assert np.bincount(labels, minlength=3).tolist() == [3, 3, 3]
        true = np.repeat([0, 1, 2], (30, 4, 4))[batch["x"].numpy()[:, 0]]
        np.testing.assert_array_equal(labels, true)
    met = np.unique(np.concatenate([batch["x"].numpy()[:, 0] for batch in batches]))
    assert len(met) > 30  # others of the large class in each


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [batch["x"][:, 0].tolist() for batch in feed((9, 9), seed=seed, pairs=200).epoch(epoch, 8)]

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(2, 0) and drawn(1, 0) != drawn(1, 1)


def test_names_of_the_classes_are_items_of_every_batch() -> None:
    for batch in feed((9, 9, 9), named=True, pairs=60).epoch(0, 8):
        assert batch["x"][-3:, 0].tolist() == [1000, 1001, 1002] and batch["targets"][-3:].tolist() == [0, 1, 2]
        assert len(batch["x"]) == len(batch["targets"]) == 8 + 3


def test_two_items_are_enough() -> None:
    (batch, *_) = feed((1, 1)).epoch(0, 8)
    assert sorted(batch["targets"].tolist()) == [0, 1]
    assert len(feed((1, 1)).largest(5)["targets"]) == 2


def test_what_a_recipe_leaves_open_follows_from_items_and_classes() -> None:
    plain = Recipe(batch=16)
    few, enough, many = suited(plain, ENOUGH - 1, 2), suited(plain, ENOUGH, 2), suited(plain, 10**4, MANY_CLASSES + 1)
    assert (few.last, enough.last, many.last) == (UPPER, ALL, UPPER)
    assert few.rate is not None and enough.rate is not None and few.rate > enough.rate and many.rate == RATE_OF_MANY
    assert (few.batch, enough.batch, many.batch) == (16, 16, WIDE)
    asked = Recipe(batch=100, rate=1e-3, last=5)
    assert suited(asked, 10**4, 2) == suited(asked, 10, MANY_CLASSES + 1) == asked
