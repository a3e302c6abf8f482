"""New items in an old space: a map from what an item says and shows to where a model would have put it, learned from the items it knows.

Any model with item vectors takes new items in by it, without retraining: their vectors are computed from the vectors of their text or picture (as
Gantner et al. 2010 map attributes to factors). `judge` measures that on items whose likes were kept from training.

Legend: I items, C dims of content, D dims of the model, M new or held-out items, B people, K folds, L strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.heads.ridge import solve
from graft.metrics.rank import paired_interval, query_interval
from graft.metrics.recommend import hit_rate, places, recall
from graft.metrics.space import unit
from graft.results import Interval

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

Float32Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

STRENGTHS = tuple(
    10.0**e for e in np.arange(-3, 3.5, 0.5)
)  # of the ridge, in units of the mean variance of a content dim times the items
FOLDS = 5
FEWEST = 20  # known items a map is learned from


@dataclass(frozen=True, eq=False)
class ContentMap:
    """vectors = offset + (content - mean) W. `strength` was chosen by held-out items, whose vectors it explains to the share `explained` (0 is what the
    mean vector explains, 1 all; below 0 content says nothing)."""

    weight_CD: Float32Array
    mean_C: Float32Array
    offset_D: Float32Array
    strength: float
    explained: float

    def vectors(self, content_MC: NDArray[Any]) -> Float32Array:
        """Vectors (M, D) of items by their content. Raises DataError for content of another width or that is not finite."""
        content = _content(content_MC, len(self.mean_C))
        return np.asarray(self.offset_D + (content - self.mean_C) @ self.weight_CD, np.float32)

    def state(self) -> Arrays:
        """Arrays from which `from_state` rebuilds the map."""
        figures = np.array([self.strength, self.explained])
        return {"weight": self.weight_CD, "mean": self.mean_C, "offset": self.offset_D, "figures": figures}

    @classmethod
    def from_state(cls, arrays: Arrays) -> ContentMap:
        """The map that `state` described."""
        strength, explained = map(float, arrays["figures"])
        return cls(arrays["weight"], arrays["mean"], arrays["offset"], strength, explained)


def learn_map(content_IC: NDArray[Any], vectors_ID: NDArray[Any], *, seed: int = 0) -> ContentMap:
    """Ridge regression of the vectors on the content, its strength chosen by cross-validation over items.

    Items whose content or vector is all zeros are not known and left out; all others count the same (weights by their likes made the map of ALS worse,
    docs/LOG.md). Raises DataError for fewer than 20 known items, or content that is not finite.
    """
    content_IC, vectors_ID = _content(content_IC, None), np.asarray(vectors_ID, np.float64)
    known_I = content_IC.any(axis=1) & vectors_ID.any(axis=1)
    if known_I.sum() < FEWEST:
        raise DataError(
            f"{known_I.sum()} items have both content and a vector; a map for new items is learned from {FEWEST} or more."
        )
    x, y = content_IC[known_I], vectors_ID[known_I]
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    left_L, all_of_it = np.zeros(len(STRENGTHS)), 0.0
    for k in range(FOLDS):
        learnt, held = fold != k, fold == k
        all_of_it += float(((y[held] - y[learnt].mean(axis=0)) ** 2).sum())
        for place, (weight_CD, offset_D) in enumerate(solve(x[learnt], y[learnt], _penalties(x[learnt], STRENGTHS))):
            left_L[place] += float(((y[held] - offset_D - x[held] @ weight_CD) ** 2).sum())
    strength = STRENGTHS[int(left_L.argmin())]
    ((weight_CD, _),) = solve(x, y, _penalties(x, [strength]))
    return ContentMap(
        weight_CD.astype(np.float32),
        x.mean(axis=0).astype(np.float32),
        y.mean(axis=0).astype(np.float32),
        strength,
        1 - left_L.min() / max(all_of_it, 1e-300),
    )


def _penalties(x_IC: Floats, strengths: Sequence[float]) -> list[float]:
    """Penalties of the ridge: strengths times the items and the mean variance of a dim, so that a strength means the same for any content."""
    scale = max(len(x_IC) * float(x_IC.var(axis=0).mean()), 1e-12)
    return [strength * scale for strength in strengths]


def liked_together(matrix: csr_matrix, item_ID: NDArray[Any], new_MD: NDArray[Any]) -> Float32Array:
    """Scores (B, M) of new items for people by their likes (B, I): the mean cosine of the new item's vector with those of what they like.

    So any model with item vectors can score new items, whatever it does with people. People without a like score 0.
    """
    item_ID, new_MD = unit(item_ID), unit(new_MD)
    count_B1 = np.maximum(np.diff(matrix.indptr), 1)[:, None]
    taste_BD = (matrix != 0).astype(np.float64) @ item_ID / count_B1
    return np.asarray(taste_BD @ new_MD.T, np.float32)


# --- how good it is


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Items kept from training: `train` without their interactions (codes stay), `items_M` their codes, and who likes which of them: the people
    `users_B` with at least one like left in training, and rows and columns (`row_N` ascending, `column_N`) of their likes among B × M."""

    train: Interactions
    items_M: NDArray[np.int64]
    users_B: NDArray[np.int64]
    row_N: NDArray[np.int64]
    column_N: NDArray[np.int64]


def hold_out_items(
    interactions: Interactions, *, share: float = 0.1, usable_I: NDArray[np.bool_] | None = None, seed: int = 0
) -> HeldOut:
    """Keep the interactions of a random `share` of the liked items from training; only of those in `usable_I`, such as those with content.

    Raises UsageError for a share outside 0..1, DataError where nobody is left who likes a held-out item and another one.
    """
    if not 0 < share < 1:
        raise UsageError(f"share={share}: of the items more than none and fewer than all are held out.")
    liked = interactions.likes()
    some_I = np.bincount(liked.item_N, minlength=len(interactions.items)) > 0
    if usable_I is not None:
        some_I &= usable_I
    pool = np.flatnonzero(some_I)
    items_M = np.sort(np.random.default_rng(seed).permutation(pool)[: max(1, round(share * len(pool)))])
    held_N = np.isin(interactions.item_N, items_M)
    train = interactions.rows(~held_N)
    known_U = np.bincount(train.likes().user_N, minlength=len(interactions.users)) > 0
    wanted = interactions.rows(held_N & (interactions.weight_N > 0) & known_U[interactions.user_N])
    if not len(wanted):
        raise DataError("Nobody likes one of the held-out items and another one too, so new items cannot be judged.")
    order = np.lexsort((wanted.item_N, wanted.user_N))
    users_B, row_N = np.unique(wanted.user_N[order].astype(np.int64), return_inverse=True)
    column_N = np.searchsorted(items_M, wanted.item_N[order])
    return HeldOut(train, items_M.astype(np.int64), users_B, row_N.astype(np.int64), column_N.astype(np.int64))


@dataclass(frozen=True)
class NewItems:
    """How well new items are recommended: HR@k and recall@k among the M new items alone, over the people, each with its 95 % interval.

    `chance` is what any order by popularity gets as well, for all new items have the popularity 0: their ties count as their expectation.
    `over_chance` is the paired gain in HR@k.
    """

    k: int
    people: int
    items: int
    hit_rate: Interval
    recall: Interval
    chance: Interval
    over_chance: Interval


def judge(
    held: HeldOut, scores: Callable[[csr_matrix, NDArray[np.int64]], NDArray[Any]], *, k: int = 10, seed: int = 0
) -> NewItems:
    """Measure `scores(likes, users)` (B, M) of the new items `held.items_M` for people by their likes in training (B, I) and their codes (B,)."""
    likes = held.train.matrix()[held.users_B]
    found_BM = np.asarray(scores(likes, held.users_B))
    found = places(found_BM, held.row_N, held.column_N)
    tied = places(np.zeros_like(found_BM), held.row_N, held.column_N)
    hits_B, chance_B = hit_rate(found, k), hit_rate(tied, k)
    return NewItems(
        k,
        len(held.users_B),
        len(held.items_M),
        query_interval(hits_B, seed),
        query_interval(recall(found, k), seed),
        query_interval(chance_B, seed),
        paired_interval(hits_B, chance_B, seed),
    )


def _content(content_IC: NDArray[Any], width: int | None) -> Floats:
    content = np.asarray(content_IC, np.float64)
    if content.ndim != 2 or (width is not None and content.shape[1] != width):
        raise DataError(f"Content has the shape {content.shape}; rows of {width or 'equally many'} numbers are wanted.")
    if not np.isfinite(content).all():
        bad = np.flatnonzero(~np.isfinite(content).all(axis=1))
        raise DataError(
            f"Content is not finite in {len(bad)} rows, the first {bad[0]}; zeros say that nothing is known."
        )
    return content
