"""EASE: item weights in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data").

Legend: U users, I items, B people of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from graft import settings
from graft.errors import DataError, UsageError
from graft.recommenders.base import (
    Fitted,
    Float32Array,
    Histories,
    Settings,
    liked_matrix,
    popularity_of,
    strangers_by_popularity,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

SHARE = 0.5  # of the memory that is free, what a fit takes at most


class EASE(Fitted):
    """A linear map of a person's likes onto all items, whose diagonal is 0 so that no item predicts itself.

    B = 1 - P diag(1 / diag P) with P = (X^T X + regularisation)^-1: one inverse of as many rows as there are items, in float32, whose
    conditioning the regularisation bounds.
    """

    name: ClassVar[str] = "ease"

    @classmethod
    def fit(
        cls, likes: Interactions, *, regularisation: float = 300.0, memory: int | None = None, seed: int = 0
    ) -> Self:
        """Learn from the likes. `regularisation` above 0; `memory` in bytes is the most a fit may take, half of what is free when None.

        Nothing is drawn, so `seed` changes nothing. Raises DataError where there is no like or the catalogue does not fit the memory,
        UsageError for a regularisation not above 0.
        """
        if not regularisation > 0:
            raise UsageError(f"regularisation={regularisation:g} is above 0: without it the inverse need not exist.")
        matrix = liked_matrix(likes)
        n_people, n_items = (int((np.diff(m.indptr) > 0).sum()) for m in (matrix, matrix.tocsc()))
        needed, free = bytes_needed(len(likes.items), n_people, n_items), free_bytes() if memory is None else memory
        limit = int(SHARE * free) if memory is None else memory
        if needed > limit:
            raise DataError(
                f"EASE on {len(likes.items):,} items takes {needed:,} bytes of memory; {limit:,} may be used. Leave EASE out, or "
                "leave out items with few likes."
            )
        arrays = {"weight": item_weights(matrix, regularisation), "popular": popularity_of(matrix)}
        return cls({"regularisation": regularisation, "seed": seed}, arrays)

    @property
    def weight_II(self) -> Float32Array:  # noqa: N802 (shape suffix)
        """The weights, row i what a like of item i adds to the others."""
        weights: Float32Array = self.arrays["weight"]
        return weights

    def scores(self, histories: Histories) -> Float32Array:
        """Weighted sums of likes (B, I); people without a known like are scored by popularity."""
        scores_BI = np.asarray(histories.matrix @ self.weight_II, np.float32)
        return strangers_by_popularity(scores_BI, histories, self.popular_I)


def grid() -> list[Settings]:
    """Settings worth trying; all take as long."""
    return [{"regularisation": value} for value in (30.0, 100.0, 300.0, 1000.0, 3000.0)]


def item_weights(matrix: csr_matrix, regularisation: float) -> Float32Array:
    """B (I, I) float32 with a diagonal of 0.

    Items nobody liked have rows and columns of 0 and are left out of the inverse, as are people without a like. With fewer people than items the inverse is
    taken among people: (X^T X + r)^-1 = (1 - X^T (X X^T + r)^-1 X) / r (Woodbury), which is much the smaller one for a few hundred people.
    """
    n_items = matrix.shape[1]
    liked_L = np.flatnonzero(np.diff(matrix.tocsc().indptr))
    x = matrix[np.flatnonzero(np.diff(matrix.indptr))][:, liked_L]
    inverse_LL = _by_people(x, regularisation) if x.shape[0] < x.shape[1] else _by_items(x, regularisation)
    diagonal_L = inverse_LL.diagonal().copy()
    inverse_LL /= -diagonal_L
    np.fill_diagonal(inverse_LL, 0)
    if len(liked_L) == n_items:
        return inverse_LL
    weight_II = np.zeros((n_items, n_items), np.float32)
    weight_II[np.ix_(liked_L, liked_L)] = inverse_LL
    return weight_II


def _by_items(x: csr_matrix, regularisation: float) -> Float32Array:
    """(X^T X + r)^-1, dense."""
    from scipy.linalg import lapack

    gram_LL = np.asarray((x.T @ x).toarray(order="F"), np.float32)
    np.einsum("ii->i", gram_LL)[:] += regularisation
    # A Cholesky factor and its inverse take half the operations of a general inverse, and stay in one array.
    factor_LL, failed = lapack.spotrf(gram_LL, lower=1, overwrite_a=1)
    inverse_LL, failed_again = lapack.spotri(factor_LL, lower=1, overwrite_c=1)
    if failed or failed_again:
        raise DataError(f"EASE has no solution with regularisation={regularisation:g}; take a larger one.")
    return _mirrored(inverse_LL)


def _by_people(x: csr_matrix, regularisation: float) -> Float32Array:
    """The same through the inverse among people: (1 - V^T V) / r with V = C^-1 X and X X^T + r = C C^T."""
    from scipy.linalg import blas, solve_triangular

    people = x.shape[0]
    gram_UU = (x @ x.T).toarray().astype(np.float64) + regularisation * np.eye(people)
    factor_UU = np.linalg.cholesky(gram_UU).astype(np.float32)
    v_UL = solve_triangular(factor_UU, x.toarray(order="F"), lower=True, overwrite_b=True, check_finite=False)
    inverse_LL = _mirrored(blas.ssyrk(-1 / regularisation, v_UL, trans=1, lower=1))
    np.einsum("ii->i", inverse_LL)[:] += 1 / regularisation
    return inverse_LL


def _mirrored(lower_LL: Float32Array, block: int = 512) -> Float32Array:
    """A symmetric matrix from its lower triangle, in place, by blocks that stay in fast memory."""
    size = len(lower_LL)
    for start in range(0, size, block):
        stop = min(start + block, size)
        square = lower_LL[start:stop, start:stop]
        square[:] = np.tril(square) + np.tril(square, -1).T
        for below in range(stop, size, block):
            lower_LL[start:stop, below : below + block] = lower_LL[below : below + block, start:stop].T
    return lower_LL


def bytes_needed(n_items: int, people_with_likes: int, items_with_likes: int) -> int:
    """The most a fit holds at once: the weights, and beside them the sparse or dense matrix they are made from."""
    work = items_with_likes * (items_with_likes + min(people_with_likes, items_with_likes))
    return 4 * (n_items * n_items * (n_items > items_with_likes) + 2 * work)


def free_bytes() -> int:
    """Memory that this process may still take, in bytes; all there is where the system does not tell."""
    import os

    free = settings.free_memory()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if free is None else int(free)
