"""Which items are learned from and which are held out: the flags of `fit` turned into one partition.

Two steps, because near duplicates are known only from vectors: `before_encoding` takes what is fixed by the data or by a
file (so that nothing is encoded in vain), `after_encoding` holds out what is left to us, with groups kept whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.groups import Grouping
from graft.data.splits import by_time, enough_to_hold_out, hold_out, load_split, take_shots
from graft.errors import DataError, UsageError
from graft.results import Duplicates, Fault

TEST_FRACTION = 0.2
MOST_GROUPS, MOST_MEMBERS, MOST_LEAKS = 20, 10, 50

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Partition:
    """Positions in the data set of the training and test items, and the rule that made them in words.

    `test` is None while it is still to be held out, empty when there is none; `unlabelled` counts items in neither for want of a label.
    """

    train: Index
    test: Index | None
    how: str
    unlabelled: int = 0

    def within(self, kept: Index) -> Partition:
        """The same items by their positions in `dataset.take(kept)`; those not in `kept` are gone."""
        position = {int(old): new for new, old in enumerate(kept)}
        train = np.array([position[int(i)] for i in self.train if int(i) in position], np.int64)
        test = (
            None
            if self.test is None
            else np.array([position[int(i)] for i in self.test if int(i) in position], np.int64)
        )
        return replace(self, train=train, test=test)


def narrow(dataset: Dataset, partition: Partition) -> tuple[Dataset, Partition]:
    """The data set without the items the partition does not use, so that only what is needed is encoded."""
    used = partition.train if partition.test is None else np.concatenate([partition.train, partition.test])
    return dataset.take(used), partition.within(used)


def learnable(dataset: Dataset, partition: Partition) -> tuple[Dataset, Partition]:
    """Both without the classes that have no training item: they cannot be learned, so test items of theirs are listed as faults, not scored."""
    counts_C = np.bincount(dataset.labels[partition.train], minlength=len(dataset.classes))
    if counts_C.all():
        return dataset, partition
    code_C = np.where(counts_C > 0, np.cumsum(counts_C > 0) - 1, -1)
    labels = np.where(dataset.labels >= 0, code_C[dataset.labels], -1)
    faults = []
    if partition.test is not None:
        lost = partition.test[labels[partition.test] < 0]
        problem = "no training item has its label, so it is not scored"
        faults = [Fault(dataset.ids[i], problem, dataset.classes[dataset.labels[i]]) for i in lost]
        partition = replace(partition, test=partition.test[labels[partition.test] >= 0])
    classes = tuple(name for name, count in zip(dataset.classes, counts_C, strict=True) if count)
    return replace(dataset, labels=labels, classes=classes, faults=(*dataset.faults, *faults)), partition


def before_encoding(
    dataset: Dataset, *, split: str | Path | None, test: float | None, shots: int | None, seed: int
) -> Partition:
    """The partition as far as a split file or an official test part fixes it; else every labelled item is in `train`.

    `shots` applies at once where the test part is known. Raises UsageError when the flags contradict each other.
    """
    labelled = np.flatnonzero(dataset.labels >= 0)
    unlabelled = len(dataset) - len(labelled)
    if split is not None:
        if test is not None or shots is not None:
            raise UsageError("--split fixes both parts: leave out --test FRACTION and --shots, or leave out --split.")
        if dataset.times is not None:
            raise UsageError(
                "--split fixes both parts, and --time would hold out the latest items: leave out one of them."
            )
        train, held = load_split(split, dataset)
        return Partition(_keep(train, labelled), _keep(held, labelled), f"given by {split}", unlabelled)
    if dataset.test_mask is None or not dataset.test_mask[labelled].any():  # unlabelled items test nothing
        return Partition(labelled, None, "", unlabelled)
    if test is not None:
        raise UsageError(
            f"{dataset.name} has a test part of its own ({int(dataset.test_mask.sum()):,} items); leave out --test, "
            "or name both parts in a file for --split."
        )
    if dataset.times is not None:
        raise UsageError(
            f"{dataset.name} has a test part of its own, so there is nothing for --time to hold out: leave it out."
        )
    official = dataset.test_mask[labelled]
    train, how = labelled[~official], "the data's own test part"
    if shots is not None:
        train, how = _shots(dataset, train, shots, seed), f"{how}; {shots} training items a class"
    return Partition(train, labelled[official], how, unlabelled)


def after_encoding(
    dataset: Dataset, partition: Partition, groups: Index, *, test: float | None, shots: int | None, seed: int
) -> Partition:
    """Hold out the test part if none is fixed yet: the latest items where there are times, else a stratified draw.

    `groups` (N,) are group codes of the items of `dataset`; a group never straddles the draw. Fewer than ten items a class on
    average means no test part, unless a fraction was asked for. Raises UsageError when a class has fewer than `shots` items left.
    """
    if partition.test is not None:
        return partition
    train = partition.train
    fraction = TEST_FRACTION if test is None else test
    if dataset.times is not None:
        learn, held = by_time(dataset.times[train], fraction, groups[train])
        how = f"the latest {fraction:.0%} held out by time"
    elif test is None and not enough_to_hold_out(dataset.labels[train]):
        learn, held = np.arange(len(train)), np.empty(0, np.int64)
        how = "nothing held out: fewer than ten items a class"
    else:
        learn, held = hold_out(dataset.labels[train], groups[train], fraction, np.random.default_rng(seed))
        how = f"{fraction:.0%} held out, stratified"
        if len(np.unique(groups[train])) < len(train):
            how += ", items of one group on one side"
    met = np.unique(dataset.labels[train[learn]])
    if dataset.target is None and len(met) < 2 <= len(np.unique(dataset.labels[train])):
        raise DataError(
            f"Only items of the class {dataset.classes[int(met[0])]!r} are left to learn from, with {how}. "
            "Name both parts in a file for --split, or hold out in another way."
        )
    chosen = train[learn]
    if shots is not None:
        chosen, how = _shots(dataset, chosen, shots, seed), f"{how}; {shots} training items a class"
    return replace(partition, train=chosen, test=train[held], how=how)


def _shots(dataset: Dataset, train: Index, shots: int, seed: int) -> Index:
    kept: Index = train[take_shots(dataset.labels[train], shots, seed, dataset.classes)]
    return kept


def _keep(index: Index, labelled: Index) -> Index:
    kept: Index = index[np.isin(index, labelled)]
    return kept


def duplicates(dataset: Dataset, partition: Partition, grouping: Grouping) -> Duplicates:
    """Counts, the largest groups and the closest leaks, by item id."""
    assert partition.test is not None
    leaks = grouping.leaks(partition.train, partition.test)
    ids = dataset.ids
    return Duplicates(
        exact=grouping.exact,
        near=grouping.near,
        threshold=grouping.threshold,
        groups=tuple(tuple(ids[i] for i in members[:MOST_MEMBERS]) for members in grouping.groups()[:MOST_GROUPS]),
        leaks=tuple((ids[a], ids[b], similarity) for a, b, similarity in leaks[:MOST_LEAKS]),
        leaked=len({b for _, b, _ in leaks}),
        objects=tuple(dataset.classes[code] for code in grouping.objects),
    )
