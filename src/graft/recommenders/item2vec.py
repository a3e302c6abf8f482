"""Item vectors by skip-gram with negative sampling, a person's likes the sentence (Barkan and Koenigstein 2016; Mikolov et al. 2013).

An item's vector u shall tell the context vectors w of what else its people like from those of items drawn by popularity to the power .75:

    sum over pairs of  log s(u_i . w_j) + negatives * mean over drawn k of log s(-u_i . w_k)

Two things are done otherwise, for speed and for people with very many likes. The drawn items are shared by a batch, so that the products with them
are one matrix product; each counts for as many as it stands for. And each like has the same number of partners, drawn from the person's other
likes: all pairs would let someone with a thousand likes count as much as ten thousand people with ten.

Legend: I items, D dims, N likes, B pairs of a batch, K drawn items of a batch, R rows of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft import settings as machine
from graft.errors import UsageError
from graft.recommenders.base import FittedItems, Float32Array, Histories, Settings, liked_matrix, popularity_of
from graft.recommenders.colikes import scores_by_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

SMOOTHING = 0.75  # of the popularity by which negatives are drawn
PARTNERS = 5  # of each like in an epoch
BATCH, DRAWN = 2048, 128
TINY = 1e-8


class Item2Vec(FittedItems):
    """A person is the mean direction of what they like, a score the inner product with an item's direction times its length to the power `length`."""

    name: ClassVar[str] = "item2vec"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 32,
        epochs: int = 10,
        negatives: int = 5,
        rate: float = 0.5,
        length: float = 0.0,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes, whose strengths do not count. `negatives` for each pair, `rate` of AdaGrad, `length` 0 to 1.

        Raises DataError where there is no like, UsageError for settings out of range.
        """
        if dims < 1 or epochs < 0 or not negatives > 0 or not rate > 0 or not 0 <= length <= 1:
            raise UsageError(
                f"dims={dims} is at least 1, epochs={epochs} at least 0, negatives={negatives} and rate={rate:g} above 0, "
                f"length={length:g} from 0 to 1."
            )
        matrix = liked_matrix(likes)
        given = {"dims": dims, "epochs": epochs, "negatives": negatives, "rate": rate, "length": length, "seed": seed}
        item_ID = _learned(matrix, dims, epochs, negatives, rate, np.random.default_rng(seed))
        return cls(given, {"item": item_ID, "popular": popularity_of(matrix)})

    def scores(self, histories: Histories) -> Float32Array:
        """Inner products (B, I); people without a like that has a vector are scored by popularity."""
        return scores_by_vectors(self.item_ID, histories, self.settings["length"], self.popular_I)


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [{"epochs": epochs} for epochs in (10, 30)]


class _Vectors:
    """Rows (I, D) with AdaGrad, one running sum a row: rows without a slope stay as they are."""

    def __init__(self, value_ID: Float32Array, rate: float) -> None:
        self.value_ID, self.rate = value_ID, rate
        self.squares_I = np.zeros(len(value_ID), np.float32)

    def step(self, row_B: NDArray[np.int64], slope_BD: Float32Array) -> None:
        """Against the slopes of rows, those of a row that occurs more than once added up."""
        from scipy.sparse import csr_matrix

        row_R, place_B = np.unique(row_B, return_inverse=True)
        ones = np.ones(len(row_B), np.float32)
        added = csr_matrix((ones, (place_B, np.arange(len(row_B)))), shape=(len(row_R), len(row_B)))
        slope_RD = np.asarray(added @ slope_BD, np.float32)
        self.squares_I[row_R] += np.vecdot(slope_RD, slope_RD) / slope_RD.shape[1]
        self.value_ID[row_R] -= self.rate * slope_RD / np.sqrt(self.squares_I[row_R] + TINY)[:, None]


def _learned(
    matrix: csr_matrix, dims: int, epochs: int, negatives: int, rate: float, rng: np.random.Generator
) -> Float32Array:
    """Item vectors (I, D)."""
    n_items, size_U = matrix.shape[1], np.diff(matrix.indptr)
    item_N, size_N = matrix.indices, np.repeat(size_U, size_U)
    first_N = np.repeat(matrix.indptr[:-1], size_U)
    paired = np.flatnonzero(size_N > 1)
    count_I = np.bincount(item_N[paired], minlength=n_items)
    start_ID = (rng.random((n_items, dims), np.float32) - np.float32(0.5)) / np.float32(dims) * (count_I > 0)[:, None]
    item, context = _Vectors(start_ID, rate), _Vectors(np.zeros((n_items, dims), np.float32), rate)
    drawn_by = np.cumsum(count_I**SMOOTHING)
    for epoch in range(epochs):
        place = np.repeat(paired, PARTNERS)
        # Another of the person's likes: one of size - 1 places, counted on from the like's own.
        ahead = 1 + (rng.random(len(place)) * (size_N[place] - 1)).astype(np.int64)
        other = first_N[place] + (place - first_N[place] + ahead) % size_N[place]
        order = rng.permutation(len(place))
        own_P, other_P = item_N[place[order]].astype(np.int64), item_N[other[order]].astype(np.int64)
        for start in range(0, len(order), BATCH):
            drawn_K = np.searchsorted(drawn_by, rng.random(DRAWN) * drawn_by[-1], side="right")
            _step(item, context, own_P[start : start + BATCH], other_P[start : start + BATCH], drawn_K, negatives)
        machine.progress("item2vec", epoch + 1, epochs)
    return item.value_ID


def _step(
    item: _Vectors,
    context: _Vectors,
    own_B: NDArray[np.int64],
    other_B: NDArray[np.int64],
    drawn_K: NDArray[np.int64],
    negatives: int,
) -> None:
    """One step on a batch of pairs and the items drawn for it."""
    u_BD, w_BD, w_KD = item.value_ID[own_B], context.value_ID[other_B], context.value_ID[drawn_K]
    slope_B1 = (_sigmoid(np.vecdot(u_BD, w_BD)) - 1)[:, None]
    # A pair's own items among the drawn are no negatives.
    none_BK = (drawn_K == own_B[:, None]) | (drawn_K == other_B[:, None])
    slope_BK = np.where(none_BK, 0, _sigmoid(u_BD @ w_KD.T)) * np.float32(negatives / len(drawn_K))
    slope_BK = slope_BK.astype(np.float32)
    item.step(own_B, slope_B1 * w_BD + slope_BK @ w_KD)
    context.step(np.concatenate([other_B, drawn_K]), np.concatenate([slope_B1 * u_BD, slope_BK.T @ u_BD]))


def _sigmoid(x: Float32Array) -> Float32Array:
    result: Float32Array = 0.5 * (1 + np.tanh(0.5 * x))
    return result
