"""Item vectors from what is liked together: positive pointwise mutual information, factored (Levy and Goldberg 2014; Levy et al. 2015).

Legend: U users, I items, D dims, B people of a batch or items of a block.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from graft.errors import UsageError
from graft.recommenders.base import (
    FittedItems,
    Float32Array,
    Histories,
    Settings,
    liked_matrix,
    popularity_of,
    strangers_by_popularity,
    weighted_means,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

BLOCK = 1024  # items whose pairs are counted at once
SMOOTHING = 0.75  # power of the counts of contexts, against the pull of rare ones
POWER_ITERATIONS = 4  # of the randomised decomposition (Halko et al. 2011); spectra of counts fall slowly


class Cooccurrence(FittedItems):
    """A person is the mean, weighted by strength, of the vectors of what they like; a score is its inner product with an item's vector.

    The matrix is max(0, log(p(i, j) / (p(i) p(j)^.75)) - log shift) over pairs of different items liked by one person, its first `dims`
    singular vectors times singular values to the `power`. Rows are scaled to length 1, then multiplied by popularity to the `popularity`.
    """

    name: ClassVar[str] = "ppmi-svd"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 64,
        shift: float = 1.0,
        power: float = 0.5,
        popularity: float = 0.5,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes. `dims` is cut to the number of items; `shift` at least 1 asks for pairs that many times above chance.

        `power` 0.5 shares the singular values between items and contexts; `popularity` 0 recommends by likeness alone, and rare items as soon as
        frequent ones. Raises DataError where there is no like, UsageError for settings out of range.
        """
        if dims < 1 or not shift >= 1:
            raise UsageError(f"dims={dims} is at least 1, shift={shift:g} at least 1.")
        matrix = liked_matrix(likes)
        settings = {"dims": dims, "shift": shift, "power": power, "popularity": popularity, "seed": seed}
        item_ID = _factors(ppmi(matrix, shift), dims, power, seed)
        return cls(settings, {"item": item_ID, "popular": popularity_of(matrix)})

    def person_vectors(self, histories: Histories) -> Float32Array:
        """Weighted means (B, D) of the items' vectors of length 1; zeros without a like."""
        return weighted_means(histories.matrix, self.item_ID)

    def scores(self, histories: Histories) -> Float32Array:
        """Inner products (B, I); people without a known like are scored by popularity."""
        scores_BI = self.person_vectors(histories) @ self._columns
        return strangers_by_popularity(scores_BI, histories, self.popular_I)

    @cached_property
    def _columns(self) -> Float32Array:
        return np.ascontiguousarray(self.item_ID.T * self.popular_I ** np.float32(self.settings["popularity"]))


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [
        {"dims": dims, "shift": shift, "popularity": popularity}
        for dims in (32, 128)
        for shift in (1.0, 5.0)
        for popularity in (0.0, 0.25, 0.5)
    ]


def ppmi(matrix: csr_matrix, shift: float = 1.0) -> csr_matrix:
    """Shifted positive pointwise mutual information (I, I) of pairs of different items liked by one person, float32.

    Pairs count once a person, whatever the strength of the likes. Rows are items, columns contexts, whose counts are smoothed.
    """
    from scipy.sparse import csr_matrix, vstack

    once = matrix.astype(bool).astype(np.float32)
    columns = once.T.tocsr()
    others_U = np.diff(once.indptr) - 1.0
    count_I = columns.astype(np.float64) @ others_U  # pairs an item is in
    smooth_I = count_I**SMOOTHING
    chance_I = smooth_I / max(smooth_I.sum(), np.finfo(np.float64).tiny)
    parts = []
    for start in range(0, columns.shape[0], BLOCK):
        pairs = (columns[start : start + BLOCK] @ once).tocoo()
        row, column = pairs.row + start, pairs.col
        apart = row != column
        row, column, count = row[apart], column[apart], pairs.data[apart]
        information = np.log(count / (count_I[row] * chance_I[column])) - np.log(shift)
        kept = information > 0
        values = information[kept].astype(np.float32)
        parts.append(csr_matrix((values, (row[kept] - start, column[kept])), shape=pairs.shape))
    return csr_matrix(vstack(parts, format="csr"))


def _factors(information: csr_matrix, dims: int, power: float, seed: int) -> Float32Array:
    """Left singular vectors times singular values to the `power`, rows of length 1, (I, D) with D at most I."""
    from sklearn.utils.extmath import randomized_svd

    dims = min(dims, information.shape[0])
    left_ID, value_D, _ = randomized_svd(information, dims, n_iter=POWER_ITERATIONS, random_state=seed)
    item_ID = left_ID * value_D**power
    length_I1 = np.linalg.norm(item_ID, axis=1, keepdims=True)
    # Items without a pair have rows of rounding errors, which must not be blown up to length 1.
    there_I1 = length_I1 > 1e-6 * max(float(length_I1.max(initial=0)), 1e-6)
    scaled: Float32Array = np.divide(item_ID, length_I1, out=np.zeros_like(item_ID), where=there_I1).astype(np.float32)
    return scaled
