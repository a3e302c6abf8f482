"""Item vectors from co-likes: inner products that say how many people like both of two items.

X_ij is the number of people who like both i and j (the sum of the products of their weights, where likes have weights). The vectors minimise

    sum over i != j of (v_i . v_j - X_ij)^2

X_ii is not asked for, so it is free: a diagonal d that is filled in from the vectors (v_i . v_i) leaves the loss as it is, and the best vectors for
X + diag(d) are its eigenvectors of the largest positive eigenvalues times their roots (Eckart and Young 1936). Taken in turn, the two never raise
the loss, and a step towards the eigenvectors does as well as all of them. Only products X V are asked for, and for plain counts
X V = A^T (A V) - diag(A^T A) V with the likes A (U, I): X itself is never made.

Legend: U users, I items, D dims, S directions of a step, B people of a batch, N pairs that are not 0, M other items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError, unknown
from graft.recommenders.base import (
    FittedItems,
    Float32Array,
    Histories,
    Settings,
    liked_matrix,
    popularity_of,
    weighted_means,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

Float64Array = NDArray[np.float64]
VALUES = ("counts", "log", "ppmi")
BLOCK_ITEMS = 512  # rows of X made at once where its squares are summed
DENSE = 0.1  # share of the pairs from which on a dense product is several times as fast as a sparse one
APART = 1e-10  # share of the largest eigenvalue of a Gram matrix from which a direction counts as one of its own
TINY = np.finfo(np.float64).tiny
STILL, FEWEST = 1e-5, 5  # relative fall of the loss at which a fit ends, once this many steps are done
SMOOTHING = 0.75  # exponent of the context's frequency (Levy, Goldberg and Dagan 2015)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What the vectors shall reproduce: X (I, I), symmetric, known by its products.

    `times(v_ID)` is X V with a diagonal of 0, `squares()` the sum of X_ij^2.
    """

    times: Callable[[Float64Array], Float64Array]
    squares: Callable[[], float]
    n_items: int

    def loss(self, v_ID: Float64Array) -> float:
        """Sum over i != j of (v_i . v_j - X_ij)^2."""
        return self.squares() + self.change(v_ID)

    def change(self, v_ID: Float64Array) -> float:
        """The loss less that of vectors of zeros: |V^T V|^2 - sum of |v_i|^4 - 2 sum of X_ij v_i . v_j."""
        gram_DD, length_I = v_ID.T @ v_ID, np.vecdot(v_ID, v_ID)
        return float((gram_DD**2).sum() - length_I @ length_I - 2 * np.vdot(v_ID, self.times(v_ID)))


def counted(matrix: csr_matrix) -> Pairs:
    """Pairs of items by likes (U, I): X = A^T A without its diagonal."""
    likes = _of_several(matrix)
    columns = likes.T.tocsr()
    own_I = np.asarray(likes.multiply(likes).sum(axis=0)).ravel()

    @cache
    def squares() -> float:
        total = 0.0
        for start in range(0, columns.shape[0], BLOCK_ITEMS):
            block = columns[start : start + BLOCK_ITEMS] @ likes
            total += float(block.data @ block.data)
        return total - float(own_I @ own_I)

    return Pairs(lambda v_ID: columns @ (likes @ v_ID) - own_I[:, None] * v_ID, squares, len(own_I))


def weighed(pairs: csr_matrix) -> Pairs:
    """Pairs of items by a symmetric sparse matrix (I, I) with a diagonal of 0."""
    held = pairs.toarray() if pairs.nnz > DENSE * pairs.shape[0] ** 2 else pairs
    return Pairs(lambda v_ID: held @ v_ID, cache(lambda: float(pairs.data @ pairs.data)), pairs.shape[0])


def pairs_of(matrix: csr_matrix, values: str = "counts") -> Pairs:
    """Pairs of items by likes (U, I): "counts" X, "log" log(1 + X), "ppmi" max(0, log(X n / (r_i r_j^.75))), made symmetric.

    In the last, r are the sums of the rows of X and n what makes r^.75 / n sum to 1. But for "counts", X is held as a sparse matrix.
    Raises UsageError for other values.
    """
    if values not in VALUES:
        raise UsageError(unknown("values", values, VALUES))
    if values == "counts":
        return counted(matrix)
    likes = _of_several(matrix)
    x = (likes.T @ likes).tocsr()
    x.setdiag(0)
    x.eliminate_zeros()
    if values == "log":
        x.data = np.log1p(x.data)
        return weighed(x)
    sum_I = np.asarray(x.sum(axis=1)).ravel()
    with np.errstate(divide="ignore"):  # items without a pair have no entry that would read theirs
        own_log_I, context_log_I = np.log(sum_I), SMOOTHING * np.log(sum_I) - np.log((sum_I**SMOOTHING).sum())
    row_N = np.repeat(np.arange(len(sum_I)), np.diff(x.indptr))
    x.data = np.maximum(np.log(x.data) - own_log_I[row_N] - context_log_I[x.indices], 0)
    x = ((x + x.T) / 2).tocsr()
    x.eliminate_zeros()
    return weighed(x)


def _of_several(matrix: csr_matrix) -> csr_matrix:
    """Likes in float64, of people who like more than one item: the others pair nothing, but would weigh on the diagonal."""
    return matrix.multiply((np.diff(matrix.indptr) > 1)[:, None]).tocsr().astype(np.float64)


def decompose(
    pairs: Pairs, dims: int, *, iterations: int = 60, starts: int = 2, seed: int = 0
) -> tuple[Float64Array, list[float]]:
    """Vectors (I, D) of the least loss among `starts` random starts, and that loss by iteration, less that of zeros (`Pairs.change`).

    The loss never rises. Fewer than `dims` positive eigenvalues, or items, leave columns of zeros.
    """
    found = [_descended(pairs, dims, iterations, np.random.default_rng([seed, start])) for start in range(starts)]
    return min(found, key=lambda start: start[1][-1])


def _descended(pairs: Pairs, dims: int, iterations: int, rng: np.random.Generator) -> tuple[Float64Array, list[float]]:
    """Rayleigh-Ritz steps, each with its own diagonal: the best vectors within what V and (X + diag(d)) V span, which holds V itself.

    Small random vectors begin: with them the diagonal is about 0. A diagonal of the numbers of likes leads to worse minima where most of an
    item's likes come from people of few likes.
    """
    n_items = pairs.n_items
    v_ID = rng.standard_normal((n_items, dims)) / n_items
    v_ID[~np.any(pairs.times(v_ID), axis=1)] = 0  # items in no pair: whatever they had would stay
    losses: list[float] = []
    for _ in range(iterations):
        own_I1 = np.vecdot(v_ID, v_ID)[:, None]
        # What of the product is not along V itself, so that the two are well told apart.
        toward_ID = pairs.times(v_ID) + own_I1 * v_ID
        size_D = np.maximum((v_ID**2).sum(axis=0), TINY)
        toward_ID -= v_ID * ((v_ID * toward_ID).sum(axis=0) / size_D)
        basis_IS = _orthonormal(np.concatenate([v_ID, toward_ID], axis=1))
        inner_SS = basis_IS.T @ (pairs.times(basis_IS) + own_I1 * basis_IS)
        value_S, vector_SS = np.linalg.eigh((inner_SS + inner_SS.T) / 2)
        most = min(dims, len(value_S))
        v_ID = np.zeros((n_items, dims))
        v_ID[:, :most] = basis_IS @ (vector_SS[:, ::-1] * np.sqrt(np.maximum(value_S[::-1], 0)))[:, :most]
        losses.append(pairs.change(v_ID))
        if len(losses) > FEWEST and losses[-2] - losses[-1] <= STILL * abs(losses[-1]):
            break
    return v_ID * np.where(v_ID.sum(axis=0) < 0, -1, 1), losses


def _orthonormal(x_IS: Float64Array) -> Float64Array:
    """Orthonormal columns that span those of `x_IS`, from their Gram matrix: a sixth of the time of a QR factorisation."""
    x_IS = x_IS / np.maximum(np.linalg.norm(x_IS, axis=0), TINY)
    value_S, vector_SS = np.linalg.eigh(x_IS.T @ x_IS)
    kept_S = value_S > APART * value_S[-1]
    basis: Float64Array = x_IS @ (vector_SS[:, kept_S] / np.sqrt(value_S[kept_S]))
    return basis


class CoLikes(FittedItems):
    """Vectors from co-likes. A person is the mean direction of what they like, weighted; a score the inner product with an item's vector.

    An item enters with its direction times its length to the power `length`: 1 the vector as it is, which favours what many like, 0 the
    direction alone.
    """

    name: ClassVar[str] = "co-likes"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 32,
        values: str = "counts",
        length: float = 0.5,
        starts: int = 2,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes. `values` is one of `VALUES` (`pairs_of`), `length` 0 to 1, `starts` (1 or more) how many minima are sought.

        Raises DataError where there is no like, UsageError for settings out of range.
        """
        if dims < 1 or starts < 1 or not 0 <= length <= 1:
            raise UsageError(f"dims={dims} and starts={starts} are at least 1, length={length:g} from 0 to 1.")
        matrix = liked_matrix(likes)
        settings = {"dims": dims, "values": values, "length": length, "starts": starts, "seed": seed}
        v_ID, _ = decompose(pairs_of(matrix, values), dims, starts=starts, seed=seed)
        columns = matrix.tocsc()
        arrays = {"item": v_ID.astype(np.float32), "popular": popularity_of(matrix)}
        return cls(
            settings, arrays | {"liker": columns.indices.astype(np.int32), "start": columns.indptr.astype(np.int64)}
        )

    def scores(self, histories: Histories) -> Float32Array:
        """Inner products (B, I); people without a like that has a vector are scored by popularity."""
        return scores_by_vectors(self.item_ID, histories, self.settings["length"], self.popular_I)

    def together(self, item: int, others_M: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """How many people like both `item` and each of the others (M,)."""
        liker, start = self.arrays["liker"], self.arrays["start"]
        own = liker[start[item] : start[item + 1]]
        found = [len(np.intersect1d(own, liker[start[j] : start[j + 1]], assume_unique=True)) for j in others_M]
        return np.array(found, np.int64)


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [{"dims": dims, "length": length} for dims in (32, 64, 128) for length in (0.0, 0.5, 1.0)]


def scores_by_vectors(
    item_ID: Float32Array, histories: Histories, length: float, popular_I: Float32Array
) -> Float32Array:
    """Scores (B, I) of people as the mean direction of what they like; `popular_I` for those of whom no like has a vector."""
    norm_I1 = np.linalg.norm(item_ID, axis=1, keepdims=True)
    unit_ID = (item_ID / np.where(norm_I1 > 0, norm_I1, 1)).astype(np.float32)
    person_BD = weighted_means(histories.matrix, unit_ID)
    scores_BI: Float32Array = person_BD @ (unit_ID * norm_I1**length).T
    scores_BI[~person_BD.any(axis=1)] = popular_I
    return scores_BI
