"""The steps of a target's fit before the contest: encode, find duplicates, hold out.

Legend: N items, D dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Dataset, Target
from graft.data.groups import THUMBNAILS, Grouping, grey, near_duplicate_groups
from graft.data.partition import Partition, after_encoding, duplicates
from graft.data.targets import check_learnable
from graft.encoders.open import BUNDLED, fitting_encoder, open_encoder
from graft.encoding import Encoded, encode
from graft.errors import DataError
from graft.results import Duplicates, EncoderSummary
from graft.store.cache import VectorCache


@dataclass(frozen=True, eq=False)
class Ready:
    """Items with a target, parted, with their vectors (N, D) by each encoder and the groups (N,) that stay together."""

    dataset: Dataset
    target: Target
    partition: Partition
    pools: tuple[tuple[EncoderSummary, NDArray[np.float32]], ...]
    groups: NDArray[np.int64]
    duplicates: Duplicates

    @property
    def parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the items to learn from and of those held out (maybe none)."""
        assert self.partition.test is not None, "something or nothing was held out"
        return self.partition.train, self.partition.test


def prepare(
    dataset: Dataset,
    partition: Partition,
    references: Sequence[str],
    *,
    group: str,
    test: float | None,
    strict: bool,
    seed: int,
) -> Ready:
    """Encode once an encoder, group near duplicates (`group` auto; none, or a column already read), and hold out `test` if no part is fixed.

    What cannot be read is left out and listed. Raises DataError when too little is left, or with `strict` when any item cannot be read.
    """
    runs, seen = _encode(dataset, references)
    faults = {fault.where: fault for run in runs for fault in run.faults}
    if faults and strict:
        raise DataError(
            f"{len(faults)} of {len(dataset)} items cannot be read; --strict stops here.",
            faults=tuple(faults.values()),
        )
    kept = np.arange(len(dataset))
    for run in (*runs, *([seen] if seen else [])):
        kept = np.intersect1d(kept, run.index)
    left, partition = dataset.take(kept), partition.within(kept)
    left = replace(left, faults=(*left.faults, *faults.values()))
    assert left.target is not None, "a target is what this is for"
    _check(left, partition)
    pools = tuple((run.summary, run.vectors[np.searchsorted(run.index, kept)]) for run in runs)
    hashes = [runs[0].hashes[i] for i in np.searchsorted(runs[0].index, kept)]
    signatures = None if seen is None else grey(seen.vectors[np.searchsorted(seen.index, kept)])
    grouping = _grouping(left, pools[0][1], hashes, signatures)
    groups = left.groups
    if groups is None:
        groups = grouping.group_ids if group == "auto" else np.arange(len(left))
    partition = after_encoding(left, partition, groups, test=test, shots=None, seed=seed)
    _check(left, partition)
    return Ready(left, left.target, partition, pools, groups, duplicates(left, partition, grouping))


def _encode(dataset: Dataset, references: Sequence[str]) -> tuple[list[Encoded], Encoded | None]:
    """One run an encoder, and for pictures thumbnails."""
    with VectorCache.open() as cache:
        runs = []
        for reference in dict.fromkeys(references or (BUNDLED[dataset.modality],)):
            encoder = fitting_encoder(reference, dataset.modality)
            runs.append(encode(dataset.contents, encoder, ids=dataset.ids, cache=cache))
        seen = encode(dataset.contents, open_encoder(THUMBNAILS), cache=cache) if dataset.modality == "image" else None
    return runs, seen


def _grouping(
    dataset: Dataset, x_ND: NDArray[np.float32], hashes: Sequence[str], signatures: NDArray[np.float32] | None
) -> Grouping:
    if dataset.modality == "text":
        texts = [str(content) for content in dataset.contents]
        return near_duplicate_groups(x_ND, hashes=hashes, texts=texts)
    return near_duplicate_groups(x_ND, hashes=hashes, signatures_NS=signatures)


def _check(dataset: Dataset, partition: Partition) -> None:
    learned = np.zeros(len(dataset), np.bool_)
    learned[partition.train] = True
    assert dataset.target is not None
    check_learnable(dataset.target, learned, dataset.source, dataset.faults)
