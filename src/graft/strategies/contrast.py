"""Contrastive tuning: batches in which every class is met as often, so that all pairs within a batch teach (cf. SetFit, Tunstall et al. 2022).

SetFit draws pairs and runs both of their texts; here a batch of B items gives B (B - 1) / 2 pairs for B runs of the body, and memory grows
with the items, not with their pairs. Where the encoder reads texts, the names of the classes are items of every batch too.
Legend: N items, B items of a batch, P classes with at least one example.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graft.tensors.orders import balanced_order
from graft.trainers.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from graft.trainers.batches import Prepared

# Measured with MiniLM on parts of SST-2, AG News and Banking77 that were not tested on (docs/LOG.md). With few classes the cosine loss over all
# pairs of a batch did best, with 77 the supervised contrastive loss, which was through after two rounds. The upper three of six layers
# were enough but for two classes: with 128 items of those, all layers at half the rate were two points ahead, and fifteen rounds two
# points ahead of five.
MANY_CLASSES = 8
ENOUGH = 64  # items from which all layers are tuned, where there are two classes
UPPER, ALL = 3, 1000  # layers
RATES = {UPPER: 1e-4, ALL: 5e-5}
ROUNDS, MOST = {UPPER: 5.0, ALL: 15.0}, {UPPER: 24, ALL: 64}  # times each item is met, and steps at most
FEWEST = 10  # steps
RATE_OF_MANY, ROUNDS_OF_MANY = 2e-4, 2.0
WIDE = 64  # items of a batch where classes are many, so that each class met is met about four times


def suited(recipe: Recipe, n_items: int, n_classes: int) -> Recipe:
    """The recipe with what it leaves open: the layers, their rate, and a batch that holds enough of each class."""
    many = n_classes > MANY_CLASSES
    last = recipe.last or (ALL if n_items >= ENOUGH and n_classes == 2 else UPPER)
    rate = RATE_OF_MANY if many else RATES[ALL if last > UPPER else UPPER]
    rate = rate if recipe.rate is None else recipe.rate
    return replace(recipe, last=last, rate=rate, batch=max(recipe.batch, WIDE) if many else recipe.batch)


def contrast_steps(recipe: Recipe, n_items: int, n_classes: int) -> int:
    """How many batches an epoch has: as many as give `pairs` pairs, else a few rounds of the items within bounds."""
    batch = min(recipe.batch, max(2, n_items))
    if recipe.pairs:
        return math.ceil(recipe.pairs / (batch * (batch - 1) / 2))
    depth = ALL if (recipe.last or 0) >= ALL else UPPER
    rounds = ROUNDS_OF_MANY if n_classes > MANY_CLASSES else ROUNDS[depth]
    return min(MOST[depth], max(FEWEST, math.ceil(rounds * n_items / batch)))


class ContrastFeed:
    """Feed of class-balanced batches, `besides` the names of the classes in each, which meet all items of the batch."""

    def __init__(
        self, items: Prepared, targets: Tensor, recipe: Recipe, seed: int, named: tuple[Prepared, Tensor] | None = None
    ) -> None:
        self.named, self.besides = named, 0 if named is None else len(named[1])
        self.items, self.targets, self.seed = items, targets, seed
        self.batch_size = recipe.batch
        self.steps = contrast_steps(recipe, len(items), len(np.unique(targets.numpy())))

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def epoch(self, epoch: int, batch: int) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch."""
        from graft.trainers.batches import derived_seed

        labels = self.targets.numpy()
        size = min(batch, max(2, len(labels)))
        for positions in balanced_order(labels, size, self.steps, derived_seed(self.seed, epoch)):
            yield self._batch(np.asarray(positions, np.int64))

    def largest(self, count: int) -> dict[str, Tensor]:
        """The `count` items that take the most memory."""
        chosen = np.argsort(-self.items.sizes(), kind="stable")[:count]
        return self._batch(chosen)

    def _batch(self, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        """Items, and after them the names of the classes."""
        import torch

        targets = self.targets[torch.from_numpy(chosen)]
        if self.named is None:
            return {**self.items.batch(chosen), "targets": targets}
        names, codes = self.named
        rows = [self.items.rows[int(i)] for i in chosen] + [names.rows[i] for i in range(len(names))]
        arrays = {name: torch.from_numpy(array) for name, array in self.items.collate(rows).items()}
        return {**arrays, "targets": torch.cat([targets, codes])}
