"""Flags of `fit` turned into training and test parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graft.data.dataset import Dataset
from graft.data.partition import Partition, after_encoding, before_encoding, learnable
from graft.errors import UsageError


def made(labels: list[int], test: list[int] | None = None) -> Dataset:
    n = len(labels)
    mask = None if test is None else np.isin(np.arange(n), test)
    return Dataset(
        name="made",
        kind="table",
        modality="text",
        ids=tuple(map(str, range(n))),
        contents=tuple(f"text {i}" for i in range(n)),
        labels=np.array(labels),
        classes=("a", "b", "c"),
        test_mask=mask,
    )


def test_classes_without_training_items_are_left_out_and_listed() -> None:
    dataset = made([0, 2, 0, 2, 1, 2], test=[3, 4, 5])
    partition = before_encoding(dataset, split=None, test=None, shots=None, seed=0)
    left, parts = learnable(dataset, partition)
    assert left.classes == ("a", "c")
    assert left.labels.tolist() == [0, 1, 0, 1, -1, 1]
    assert parts.train.tolist() == [0, 1, 2] and parts.test is not None and parts.test.tolist() == [3, 5]
    assert [(f.where, f.value) for f in left.faults] == [("4", "b")]


def test_nothing_changes_where_every_class_can_be_learned() -> None:
    dataset = made([0, 1, 2, 0])
    partition = Partition(np.arange(3), np.array([3]), "")
    assert learnable(dataset, partition) == (dataset, partition)


def test_groups_never_straddle_the_draw_in_time_or_at_random() -> None:
    labels = [0, 1, 2] * 20
    groups = np.arange(60) // 2
    for dataset in (made(labels), replace(made(labels), times=np.random.default_rng(0).permutation(60).astype(float))):
        start = before_encoding(dataset, split=None, test=None, shots=None, seed=0)
        parts = after_encoding(dataset, start, groups, test=0.3, shots=None, seed=0)
        assert parts.test is not None and len(parts.test) >= 10
        assert not set(groups[parts.train]) & set(groups[parts.test])


def test_flags_that_contradict_each_other() -> None:
    dated = replace(made([0, 1, 0, 1], test=[2, 3]), times=np.arange(4.0))
    with pytest.raises(UsageError, match="--time"):
        before_encoding(dated, split=None, test=None, shots=None, seed=0)
    with pytest.raises(UsageError, match="test part of its own"):
        before_encoding(replace(dated, times=None), split=None, test=0.2, shots=None, seed=0)
    with pytest.raises(UsageError, match="--split"):
        before_encoding(dated, split="split.json", test=None, shots=3, seed=0)
