"""What every recommender is, and the histories it is asked about.

Legend: U users, I items, N interactions, D dims, B people of a batch, M likes of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

Float32Array = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Histories:
    """What a batch of people liked, known and new people alike.

    `matrix`: (B, I) float32, the strength of each like, above 0. `times`: float64 (M,) seconds since 1970 of each like in the order of
    `matrix.data`, or None. `users_B`: int32 codes of the people among those a model was fitted on, -1 new; None when nobody is known.
    `now`: the moment of asking in seconds since 1970; None is the moment of the last like a model was fitted on.
    """

    matrix: csr_matrix
    times: NDArray[np.float64] | None = None
    users_B: NDArray[np.int32] | None = None
    now: float | None = None

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def part(self, start: int, stop: int) -> Histories:
        """The people start..stop-1 of the batch."""
        likes = slice(self.matrix.indptr[start], self.matrix.indptr[min(stop, len(self))])
        return Histories(
            self.matrix[start:stop],
            None if self.times is None else self.times[likes],
            None if self.users_B is None else self.users_B[start:stop],
            self.now,
        )

    def of(self, rows_B: NDArray[np.integer[Any]]) -> Histories:
        """Some people of the batch, in any order; -1 is someone of whom nothing is known."""
        from scipy.sparse import csr_matrix

        indptr = self.matrix.indptr
        start_B = np.where(rows_B < 0, 0, indptr[rows_B])
        count_B = np.where(rows_B < 0, 0, indptr[rows_B + 1] - start_B)
        end_B = np.cumsum(count_B)
        likes_M = np.arange(end_B[-1] if len(end_B) else 0) + np.repeat(start_B - end_B + count_B, count_B)
        parts = (self.matrix.data[likes_M], self.matrix.indices[likes_M], np.append(0, end_B))
        users_B = None if self.users_B is None else np.where(rows_B < 0, -1, self.users_B[rows_B])
        return Histories(
            csr_matrix(parts, shape=(len(rows_B), self.matrix.shape[1])),
            None if self.times is None else self.times[likes_M],
            users_B,
            self.now,
        )


def histories_of(
    likes: Interactions, users_B: NDArray[np.integer[Any]] | None = None, *, now: float | None = None
) -> Histories:
    """Histories of the people with codes `users_B` (all people when None), with times where there are any."""
    from scipy.sparse import csr_matrix

    liked = likes.likes()
    shape = (len(likes.users), len(likes.items))
    users = np.arange(shape[0], dtype=np.int32) if users_B is None else np.asarray(users_B, np.int32)
    # Places of the likes (from 1, as a 0 would be no entry) travel through scipy's sorting and choosing of rows.
    place = csr_matrix((np.arange(1.0, len(liked) + 1), (liked.user_N, liked.item_N)), shape=shape)
    place.sort_indices()
    if users_B is not None:
        place = place[users]
    order = place.data.astype(np.int64) - 1
    matrix = csr_matrix((liked.weight_N[order], place.indices, place.indptr), shape=place.shape)
    return Histories(matrix, None if liked.time_N is None else liked.time_N[order], users, now)


def histories_from(items: Sequence[Sequence[int]], n_items: int, *, now: float | None = None) -> Histories:
    """Histories of new people from the codes of the items each of them likes; an item named twice counts once."""
    from scipy.sparse import csr_matrix

    rows = [sorted(set(codes)) for codes in items]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.array([code for row in rows for code in row], np.int32)
    matrix = csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_items))
    return Histories(matrix, now=now)


def latest(histories: Histories, given: int) -> Histories:
    """The same people as if they were new, with their latest `given` likes alone; the last ones named where there are no times."""
    from scipy.sparse import csr_matrix

    count_B = np.diff(histories.matrix.indptr)
    person_M = np.repeat(np.arange(len(histories)), count_B)
    time_M = np.arange(len(person_M)) if histories.times is None else histories.times
    order_M = np.lexsort((time_M, person_M))
    end_M = np.repeat(histories.matrix.indptr[1:], count_B)
    kept = np.sort(order_M[end_M - np.arange(len(order_M)) <= given])
    indptr = np.append(0, np.cumsum(np.minimum(count_B, given)))
    matrix = csr_matrix(
        (histories.matrix.data[kept], histories.matrix.indices[kept], indptr), shape=histories.matrix.shape
    )
    return Histories(matrix, None if histories.times is None else histories.times[kept], None, histories.now)


class Scorer(Protocol):
    """What can be asked for scores."""

    def scores(self, histories: Histories) -> Float32Array:
        """Finite scores (B, I), larger is better; items already liked are scored like others. People do not influence each other."""


@runtime_checkable
class Recommender(Scorer, Protocol):
    """A fitted model. Known and new people are scored along the same path, from their histories.

    Each model has `fit(likes, *, ..., seed=0)`, which gives the same bits for the same seed on one processor, and `grid()`, settings worth
    trying, cheap ones first. Someone none of whose likes anybody had liked in training is scored by popularity.
    """

    settings: Settings

    @property
    def name(self) -> str:
        """What it is called in tables and files, such as "als"."""

    def item_vectors(self) -> Float32Array | None:
        """Vectors (I, D) by whose nearness items are alike, None where a model has none."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays from which `from_state` rebuilds the model, with its `settings`."""

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """The model that `settings` and `state` described; it gives the same scores."""


class Fitted:
    """What models share: they are their settings and their arrays, among them "popular" (I,), and are kept and rebuilt as these."""

    def __init__(self, settings: Settings, arrays: Arrays) -> None:
        self.settings, self.arrays = settings, dict(arrays)

    @property
    def popular_I(self) -> Float32Array:  # noqa: N802 (shape suffix)
        """Sum of the weights of every item's likes."""
        sums: Float32Array = self.arrays["popular"]
        return sums

    def item_vectors(self) -> Float32Array | None:
        """None: nothing here tells by nearness which items are alike."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays from which `from_state` rebuilds the model."""
        return self.arrays

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """The model that `settings` and `state` described."""
        return cls(settings, arrays)


class FittedItems(Fitted):
    """A model among whose arrays are the items' vectors, "item" (I, D)."""

    @property
    def item_ID(self) -> Float32Array:  # noqa: N802 (shape suffix)
        """The items' vectors; zeros for an item of which nothing was learned."""
        vectors: Float32Array = self.arrays["item"]
        return vectors

    def item_vectors(self) -> Float32Array:
        """The items' vectors (I, D)."""
        return self.item_ID

    @cached_property
    def item_columns(self) -> Float32Array:
        """The items' vectors turned over (D, I), in memory too: products with it are a third faster than with a transposed view."""
        return np.ascontiguousarray(self.item_ID.T)


def liked_matrix(likes: Interactions) -> csr_matrix:
    """Weights of the likes (U, I). Raises DataError when there is none: nothing can be learned."""
    matrix = likes.matrix()
    if not matrix.nnz:
        raise DataError(
            f"There is no like among {len(likes)} interactions, so nothing can be learned. Lower the rating that counts as a like, "
            "or name the events that do."
        )
    return matrix


def popularity_of(matrix: csr_matrix) -> Float32Array:
    """Sum of the weights of every item's likes (I,)."""
    return np.asarray(matrix.sum(axis=0), np.float32).ravel()


def weighted_means(matrix: csr_matrix, vectors_ID: Float32Array) -> Float32Array:
    """Mean of the vectors of what each person likes, weighted by strength (B, D); zeros without a like."""
    total_B1 = np.asarray(matrix.sum(axis=1), np.float32).reshape(-1, 1)
    total_B1[total_B1 <= 0] = 1
    means: Float32Array = np.asarray(matrix @ vectors_ID, np.float32) / total_B1
    return means


def strangers_by_popularity(scores_BI: Float32Array, histories: Histories, popular_I: Float32Array) -> Float32Array:
    """`scores_BI` with the rows of people of whom the model can know nothing replaced by `popular_I`; changed in place and returned."""
    known_B = histories.matrix @ popular_I > 0
    if not known_B.all():
        scores_BI[~known_B] = popular_I
    return scores_BI
