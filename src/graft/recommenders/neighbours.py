"""Items liked by the same people: cosine between columns, nearest neighbours kept (Sarwar et al. 2001; Deshpande and Karypis 2004).

Legend: U users, I items, B people of a batch or items of a block, K neighbours.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError
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

BLOCK_PAIRS = 2**20  # products of likes added up at once: what they make stays in fast memory


class ItemNeighbours(Fitted):
    """A person's score of an item is the sum, over what they like, of the strength of the like times its similarity to the item.

    Similarity is x_i x_j / (|x_i| |x_j| + shrink) of columns of weights; `shrink` takes down pairs that few people liked. Each item passes
    its weight on to its `neighbours` most similar items alone.
    """

    name: ClassVar[str] = "item-knn"

    @classmethod
    def fit(cls, likes: Interactions, *, neighbours: int = 100, shrink: float = 10.0, seed: int = 0) -> Self:
        """Learn from the likes. `neighbours` at least 1; `shrink` at least 0, in likes. Nothing is drawn, so `seed` changes nothing.

        Raises DataError where there is no like, UsageError for settings out of range.
        """
        if neighbours < 1 or not shrink >= 0:
            raise UsageError(f"neighbours={neighbours} is at least 1, shrink={shrink:g} at least 0.")
        matrix = liked_matrix(likes)
        settings = {"neighbours": neighbours, "shrink": shrink, "seed": seed}
        near = nearest(matrix, neighbours, shrink)
        arrays = {"near": near.data, "indices": near.indices, "indptr": near.indptr}
        return cls(settings, arrays | {"popular": popularity_of(matrix)})

    def scores(self, histories: Histories) -> Float32Array:
        """Sums of similarities (B, I); people without a known like are scored by popularity."""
        scores_BI: Float32Array = (histories.matrix @ self._near).toarray()
        return strangers_by_popularity(scores_BI, histories, self.popular_I)

    @cached_property
    def _near(self) -> csr_matrix:
        """The neighbours of every item (I, I)."""
        from scipy.sparse import csr_matrix

        parts = tuple(self.arrays[name] for name in ("near", "indices", "indptr"))
        return csr_matrix(parts, shape=2 * (len(self.popular_I),))


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [
        {"neighbours": neighbours, "shrink": shrink} for neighbours in (20, 100, 1000) for shrink in (0.0, 10.0, 50.0)
    ]


def nearest(matrix: csr_matrix, neighbours: int, shrink: float) -> csr_matrix:
    """Similarities (I, I) of each item (row) to its most similar others (columns, ascending), computed for blocks of items.

    Items are worked on by falling popularity: the sums that most products go to then lie side by side, which halves the time.
    """
    from scipy.sparse import csr_matrix, vstack

    order_I = np.argsort(-np.bincount(matrix.indices, minlength=matrix.shape[1]), kind="stable")
    by_fame = matrix[:, order_I]
    by_fame.sort_indices()
    norm_I = np.sqrt(np.asarray(by_fame.multiply(by_fame).sum(axis=0), np.float64).ravel()).astype(np.float32)
    by_fame.data /= norm_I[by_fame.indices]
    columns = by_fame.T.tocsr()
    # Every like of an item meets all likes of that person: so many products does a row of the result take.
    pairs_I = columns.astype(bool).astype(np.float64) @ np.diff(by_fame.indptr)
    parts = []
    for start, stop in _runs(np.cumsum(pairs_I) // BLOCK_PAIRS):
        cosine = columns[start:stop] @ by_fame
        if shrink:
            norm_N = np.repeat(norm_I[start:stop], np.diff(cosine.indptr)) * norm_I[cosine.indices]
            cosine.data *= norm_N / (norm_N + np.float32(shrink))
        parts.append(_largest(cosine, start, neighbours))
    near = csr_matrix(vstack(parts, format="csr"))
    place_I = np.argsort(order_I)
    found = csr_matrix((near.data, order_I[near.indices].astype(np.int32), near.indptr), shape=near.shape)[place_I]
    found.sort_indices()
    return found


def _runs(block_I: NDArray[Any]) -> list[tuple[int, int]]:
    """Where each run of equal numbers starts and stops."""
    edges = np.flatnonzero(np.diff(block_I)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(block_I)], strict=True))


def _largest(rows: csr_matrix, first: int, k: int) -> csr_matrix:
    """The `k` largest entries above 0 of each row but the item's own, which is `first` for the first row; some of those equal to the least."""
    from scipy.sparse import csr_matrix

    length_B = np.diff(rows.indptr)
    rows.data[rows.indices == np.repeat(np.arange(first, first + len(length_B), dtype=np.int32), length_B)] = 0
    kept_N = np.repeat(length_B <= k, length_B)
    for row in np.flatnonzero(length_B > k).tolist():
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        kept_N[part][np.argpartition(rows.data[part], -k)[-k:]] = True
    kept = np.flatnonzero(kept_N & (rows.data > 0))
    return csr_matrix((rows.data[kept], rows.indices[kept], np.searchsorted(kept, rows.indptr)), shape=rows.shape)
