"""What a training is fed: items as the model takes them, cut into batches that depend on (seed, epoch, batch size) alone.

Imported only where training runs. Shape suffixes: N items, B items of a batch, C classes, T tokens, CHW channel, row, column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graft.tensors.augment import Transform

Batch = dict[str, Tensor]

# Texts are sorted within windows of this many batches by their lengths stretched at random by up to e^±STRETCH. On 3,000 film reviews and news
# in batches of 16 that computes 1.2 tokens for each real one, random batches 1.9; sorting exactly, 1.05, puts the same texts together again
# and again: of two texts that met, 87 to 100 % would meet in the next epoch where there are 64, against 39 to 59 % (23 % at random).
WINDOW, STRETCH = 32, 0.2


class Feed(Protocol):
    """What the loop draws batches from."""

    def __len__(self) -> int:
        """Items an epoch."""

    def epoch(self, epoch: int, batch: int) -> Iterator[Batch]:
        """The batches of an epoch (0, 1, ..) of at most `batch` items each; every tensor's first axis is the items.

        The same numbers give the same batches, so that a training that was killed can be resumed in the middle of an epoch. An epoch has
        at most ceil(len(self) / batch) batches.
        """


def derived_seed(*numbers: int) -> int:
    """A seed in 0..2^63-1 for a generator of its own, from numbers such as (seed, epoch, step); any change of any of them changes it."""
    digest = hashlib.blake2b(repr(tuple(map(int, numbers))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def placed(batch: Mapping[str, Tensor], device: torch.device | str) -> Batch:
    """The batch on a device; copies to a GPU run beside its work."""
    if torch.device(device).type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {
        name: (tensor.pin_memory() if tensor.device.type == "cpu" else tensor).to(device, non_blocking=True)
        for name, tensor in batch.items()
    }


def size_of(batch: Mapping[str, Tensor]) -> int:
    """Items of a batch."""
    return len(next(iter(batch.values())))


def some(batch: Mapping[str, Tensor], rows: slice) -> Batch:
    """Some items of a batch, without copying."""
    return {name: tensor[rows] for name, tensor in batch.items()}


class _View:
    """Some rows of others, in an order of its own; nothing is copied."""

    def __init__(self, rows: Rows, index: NDArray[np.int64]) -> None:
        self.rows: Rows = rows.rows if isinstance(rows, _View) else rows
        self.index: NDArray[np.int64] = rows.index[index] if isinstance(rows, _View) else index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> NDArray[Any]:
        row: NDArray[Any] = self.rows[int(self.index[position])]
        return row


Rows = Sequence[NDArray[Any]] | NDArray[Any] | _View


@dataclass(frozen=True, eq=False)
class Prepared:
    """N items as a model takes them, of which only those of a batch need be in memory at once.

    `rows` is indexed by single numbers only, so it may be a memory map: uint8 pixels (3, H, W) or int64 token ids (T,) an item, as
    `Encoder.prepare` makes them. `collate` puts some of them together: texts are padded.
    """

    rows: Rows
    collate: Callable[[Sequence[NDArray[Any]]], Mapping[str, NDArray[Any]]]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[Any] | Sequence[int]) -> Prepared:
        """The items at these positions (or where a mask of N is true), in that order; rows are not copied."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        if isinstance(self.rows, list):
            return replace(self, rows=[self.rows[i] for i in chosen])
        return replace(self, rows=_View(self.rows, chosen))

    def batch(self, positions: NDArray[Any] | Sequence[int]) -> Batch:
        """Items as tensors with first axis B, by the names that the model's forward takes."""
        arrays = self.collate([self.rows[int(position)] for position in positions])
        return {name: torch.from_numpy(np.require(array, requirements=("C", "W"))) for name, array in arrays.items()}

    def sizes(self) -> NDArray[np.int64]:
        """Numbers of each item (N,): tokens of a text. All equal for pictures."""
        if isinstance(self.rows, np.ndarray) and self.rows.ndim > 1:
            return np.full(len(self), self.rows[:1].size, np.int64)
        return np.fromiter((self.rows[i].size for i in range(len(self))), np.int64, len(self))


class ItemFeed:
    """Feed over prepared items and their targets.

    Every epoch shuffles by (seed, epoch) and cuts batches of nearly equal size, so that no small one is left over; where items differ in
    length, those of a batch are about equally long. `targets` are class numbers (N,) int64, or probabilities (N, C) float32, and are the
    batch's "targets". `transforms` (augmentation, mixing) are applied in order, with a generator of (seed, epoch, batch's number).
    `order(epoch)` gives positions to go through in that order instead, as a curriculum does; N of them at most. `anew(epoch)` gives the N items as
    they are in that epoch, where what is changed lies before their preparation.

    Raises ValueError where there are not as many targets as items.
    """

    def __init__(
        self,
        items: Prepared,
        targets: Tensor,
        *,
        seed: int,
        transforms: Sequence[Transform] = (),
        order: Callable[[int], NDArray[Any]] | None = None,
        anew: Callable[[int], Prepared] | None = None,
    ) -> None:
        if len(items) != len(targets):
            raise ValueError(f"{len(items)} items have {len(targets)} targets.")
        self.items, self.targets, self.seed = items, targets, seed
        self.transforms, self.order, self.anew = tuple(transforms), order, anew
        self._sizes = items.sizes()

    def __len__(self) -> int:
        return len(self.items)

    def epoch(self, epoch: int, batch: int) -> Iterator[Batch]:
        """Batches of an epoch, see `Feed`."""
        items = self.items if self.anew is None else self.anew(epoch)
        for number, positions in enumerate(self._cut(epoch, batch)):
            tensors = self._batch(positions, items)
            if self.transforms:
                generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch, number))
                for transform in self.transforms:
                    tensors = transform(tensors, generator)
            yield tensors

    def ordered(self, batch: int) -> Iterator[Batch]:
        """All items once, in their order and as they are, at most `batch` at a time: for evaluation."""
        for start in range(0, len(self), batch):
            yield self._batch(np.arange(start, min(start + batch, len(self))), self.items)

    def largest(self, count: int) -> Batch:
        """The `count` items that take the most memory, to measure what a batch takes."""
        return self._batch(np.sort(np.argsort(-self._sizes, kind="stable")[:count]), self.items)

    def _batch(self, positions: NDArray[Any], items: Prepared) -> Batch:
        return items.batch(positions) | {"targets": self.targets[torch.from_numpy(positions.astype(np.int64))]}

    def _cut(self, epoch: int, batch: int) -> list[NDArray[np.int64]]:
        """Positions of each batch of an epoch."""
        if self.order is not None:
            return _even(np.asarray(self.order(epoch), np.int64), batch)
        draw = np.random.default_rng(derived_seed(self.seed, epoch))
        shuffled = draw.permutation(len(self))
        if len(self) == 0 or self._sizes.min() == self._sizes.max():
            return _even(shuffled, batch)
        stretched = np.log(np.maximum(self._sizes, 1)) + draw.uniform(-STRETCH, STRETCH, len(self))
        cut = _even(shuffled, batch)
        for start in range(0, len(cut), WINDOW):
            parts = cut[start : start + WINDOW]
            window = np.concatenate(parts)
            ends = np.cumsum([len(part) for part in parts])[:-1]
            cut[start : start + WINDOW] = np.split(window[np.argsort(stretched[window])], ends)
        return [cut[i] for i in draw.permutation(len(cut))]


def _even(positions: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Parts of at most `most`, whose sizes differ by one at most."""
    count = -(-len(positions) // most)
    return list(np.array_split(positions, count)) if count else []
