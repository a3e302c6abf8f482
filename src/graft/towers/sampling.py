"""Which items a like is compared with: some drawn at random, those of the other likes of the batch, some of its category, some that were left.

Legend: N interactions, B likes of a batch, n draws a like, I items, C categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError
from graft.interactions.likes import Interactions

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What part each kind of negative has in what a like is compared with; at least one is above 0, and they are scaled to sum to 1.

    `random`: every item with a like is as likely as another. `in_batch`: the items of the batch's other likes, so by popularity. `same_category`: items
    that share a category with the one that was liked. `left`: items the person has seen and not liked (rows of weight 0). Likes without
    items of the last two kinds take random ones in their place.
    """

    random: float = 0.5
    in_batch: float = 0.5
    same_category: float = 0.0
    left: float = 0.0

    def scaled(self) -> Shares:
        """The same with a sum of 1. Raises UsageError naming every share that is negative or no number, or where all are 0."""
        given = {name: float(getattr(self, name)) for name in ("random", "in_batch", "same_category", "left")}
        wrong = [f"{name}={share:g}" for name, share in given.items() if not 0 <= share < np.inf]
        if wrong or not any(given.values()):
            raise UsageError(
                f"Shares of negatives are 0 or more and not all 0; not so: {', '.join(wrong) or 'all are 0'}."
            )
        total = sum(given.values())
        return Shares(**{name: share / total for name, share in given.items()})


@dataclass(frozen=True, eq=False)
class Drawn:
    """Negatives of B likes: item codes (B, n) of each kind, n 0 for a kind without a share.

    `random_Bn` serve all likes of the batch together. `hard_Bn` (first same category, then left) are each like's own; `own_Bn` marks those that are no
    negative: the person likes them.
    """

    random_Bn: Codes
    hard_Bn: Codes
    own_Bn: Mask


class Sampler:
    """Draws negatives for likes, the rows of weight above 0 of `interactions`, which batches name by their place among the likes.

    `categories`: of each item, () unknown. `draws`: items a like of each kind that has a share. Raises UsageError for shares that cannot be
    had at all: `left` without a row of weight 0, `same_category` without categories.
    """

    def __init__(
        self, interactions: Interactions, categories: Sequence[Sequence[str]] | None, shares: Shares, draws: int
    ) -> None:
        if draws < 1:
            raise UsageError(f"draws={draws}: at least one negative a like is drawn.")
        self.shares, self.draws = shares.scaled(), draws
        liked, n_items = interactions.likes(), len(interactions.items)
        self.user_N, self.item_N = liked.user_N.astype(np.int64), liked.item_N.astype(np.int64)
        self.n_items = n_items
        self.pairs = np.unique(self.user_N * n_items + self.item_N)
        self.known = np.unique(self.item_N)
        if self.shares.left:
            self.left_start, self.left = _lists(
                interactions.user_N[interactions.weight_N <= 0],
                interactions.item_N[interactions.weight_N <= 0],
                len(interactions.users),
            )
            if not len(self.left):
                raise UsageError(
                    "No negatives that were left can be drawn: no interaction has the weight 0. Take left=0."
                )
        if self.shares.same_category:
            self._category_lists(categories or [()] * n_items)

    def draw(self, places_B: Codes, rng: np.random.Generator) -> Drawn:
        """Negatives of the likes at these places; all that is random comes from `rng`."""
        shares, size = self.shares, (len(places_B), self.draws)
        random_Bn = rng.choice(self.known, size if shares.random else (len(places_B), 0))
        hard = [np.empty((len(places_B), 0), np.int64)]
        if shares.same_category:
            item_Bn = np.repeat(self.item_N[places_B, None], self.draws, axis=1)
            # One of the item's categories, then one of the category's items.
            kind_Bn = self._one_of(self.kind_start, self.kind, item_Bn, rng, otherwise=-1)
            found_Bn = self._one_of(self.member_start, self.member, np.maximum(kind_Bn, 0), rng, otherwise=-1)
            hard.append(self._filled(np.where(kind_Bn < 0, -1, found_Bn), rng))
        if shares.left:
            user_Bn = np.repeat(self.user_N[places_B, None], self.draws, axis=1)
            hard.append(self._filled(self._one_of(self.left_start, self.left, user_Bn, rng, otherwise=-1), rng))
        hard_Bn = np.concatenate(hard, axis=1)
        return Drawn(random_Bn, hard_Bn, self.liked(self.user_N[places_B, None], hard_Bn))

    def liked(self, user: Codes, item: Codes) -> Mask:
        """Whether people like items, for codes of shapes that go together."""
        pair = user * self.n_items + item
        place = np.minimum(np.searchsorted(self.pairs, pair), len(self.pairs) - 1)
        return np.asarray(self.pairs[place] == pair)

    def _category_lists(self, categories: Sequence[Sequence[str]]) -> None:
        names = sorted({name for kinds in categories for name in kinds})
        code = {name: c for c, name in enumerate(names)}
        item_M = np.array([i for i, kinds in enumerate(categories) for _ in kinds], np.int64)
        kind_M = np.array([code[name] for kinds in categories for name in kinds], np.int64)
        if not len(kind_M):
            raise UsageError(
                "No negatives of the same category can be drawn: no item has a category. Take same_category=0."
            )
        trained_M = np.isin(item_M, self.known)
        self.kind_start, self.kind = _lists(item_M, kind_M, self.n_items)
        self.member_start, self.member = _lists(kind_M[trained_M], item_M[trained_M], len(names))

    def _one_of(
        self, start: Codes, members: Codes, which_Bn: Codes, rng: np.random.Generator, *, otherwise: int
    ) -> Codes:
        """One member of each list, each as likely as another; `otherwise` for an empty list."""
        count_Bn = start[which_Bn + 1] - start[which_Bn]
        place_Bn = start[which_Bn] + (rng.random(which_Bn.shape) * count_Bn).astype(np.int64)
        return np.where(count_Bn > 0, members[np.minimum(place_Bn, len(members) - 1)], otherwise)

    def _filled(self, item_Bn: Codes, rng: np.random.Generator) -> Codes:
        """Random items where there is none."""
        return np.where(item_Bn < 0, rng.choice(self.known, item_Bn.shape), item_Bn)


def _lists(owner_M: NDArray[Any], member_M: NDArray[Any], owners: int) -> tuple[Codes, Codes]:
    """Members of each owner one after another, and where each owner's begin (owners + 1,)."""
    order = np.argsort(owner_M, kind="stable")
    return np.searchsorted(owner_M[order], np.arange(owners + 1)).astype(np.int64), member_M[order].astype(np.int64)
