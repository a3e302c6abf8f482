"""The labelled items of a data set with one encoder's vectors and what belongs together: what the questions about labels are asked of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset
from graft.data.partition import Partition
from graft.data.read import check_trainable, read
from graft.errors import DataError, UsageError
from graft.fitting.steps import encode_items, near_duplicates
from graft.results import EncoderSummary
from graft.selection.select import Candidate
from graft.strategies.frozen import Task


@dataclass(frozen=True, eq=False)
class Labelled:
    """Items that have labels (`dataset` holds no other), their vectors (N, D), and `groups` (N,) of what stays together in folds."""

    dataset: Dataset
    x_ND: NDArray[np.float32] = field(repr=False)
    groups: NDArray[np.int64]
    task: Task
    encoder: EncoderSummary

    @property
    def candidate(self) -> Candidate:
        """As the ladder takes it."""
        return Candidate(self.encoder.reference, self.x_ND, self.task)


def read_labelled(
    data: str | Path,
    *,
    label: str | None,
    content: str | None,
    group: str,
    encoder: str | None,
    test_part: bool,
) -> Labelled:
    """Read, encode and group the labelled items; with `test_part` those of an official test part too.

    Raises DataError for data without labels or with those of one class only, and where all items belong together, so that no folds can be drawn;
    UsageError for a column or an encoder that does not fit.
    """
    column = None if group in ("auto", "none") else group
    dataset = read(data, label=label, content=content, group=column)
    check_trainable(dataset)
    wanted = dataset.labels >= 0
    if not test_part and dataset.test_mask is not None:
        wanted &= ~dataset.test_mask
    dataset = dataset.take(np.flatnonzero(wanted))
    everything = Partition(np.arange(len(dataset)), np.empty(0, np.int64), "")
    encoded = encode_items(dataset, everything, [encoder] if encoder else [], strict=False)
    grouping = near_duplicates(encoded)
    groups = encoded.dataset.groups
    if groups is None:
        groups = grouping.group_ids if group == "auto" else np.arange(len(encoded.dataset))
    check_apart(groups, encoded.dataset.labels, len(encoded.dataset))
    pool = encoded.pools[0]
    return Labelled(encoded.dataset, pool.x_ND, groups, pool.task, pool.summary)


def check_apart(groups: NDArray[np.int64], labels: NDArray[np.int64], n: int) -> None:
    """Raise DataError unless two classes have two items (or groups) each, so that a model can be asked about items it did not learn from."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    if int(np.sum(np.unique(pairs[0], return_counts=True)[1] >= 2)) >= 2:
        return
    if len(np.unique(groups)) < n:
        raise DataError(
            f"The {n:,} labelled items are near duplicates of each other, or of one group: {len(np.unique(groups)):,} differ, and a model can only be "
            "asked about items unlike those it learned from. Give items that differ, or --group none, which treats copies as items of their own."
        )
    raise DataError(
        f"Fewer than two classes have two labelled items ({n:,} items in all): with one item a class there is nothing to compare an item with. Label more."
    )


def check_group(group: str, seed: int) -> None:
    """Raise UsageError for a seed that cannot be; `group` is checked where the columns are known."""
    if not group.strip():
        raise UsageError("--group is empty: auto, none, or a column.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
