"""Interactions of people with items, what is known of the items, and what is known of the people: values that others are built on.

Legend: U users, I items, N interactions, M some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Interactions:
    """Merged interactions: one row a (user, item) pair, sorted by user, then time, then item (without times by user and item).

    `users`, `items`: ids as given (leading zeros and signs of any script kept), in natural order ("2" before "10"); the code of a user
    or item is its place. Items may be without an interaction: those an items table names besides. `user_N`, `item_N`: int32 codes.
    `weight_N`: float32; above 0 a like of that strength (1.0 unless event weights say otherwise), 0 seen and not liked (left, or rated
    below the threshold). `time_N`: float64 seconds since 1970, or None where there is no column of times.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user_N: NDArray[np.int32]
    item_N: NDArray[np.int32]
    weight_N: NDArray[np.float32]
    time_N: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.user_N)

    def likes(self) -> Interactions:
        """The rows of weight above 0; users and items, and so all codes, stay."""
        return self.rows(self.weight_N > 0)

    def rows(self, chosen_M: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Interactions:
        """Some rows, by a mask (N,) or by ascending places; users and items stay."""
        time_M = None if self.time_N is None else self.time_N[chosen_M]
        return replace(
            self,
            user_N=self.user_N[chosen_M],
            item_N=self.item_N[chosen_M],
            weight_N=self.weight_N[chosen_M],
            time_N=time_M,
        )

    def matrix(self) -> csr_matrix:
        """Weights of the likes, (U, I) float32 with sorted indices; what was seen and not liked is absent."""
        liked = self.likes()
        return _sparse(liked, liked.weight_N)

    def seen(self) -> csr_matrix:
        """(U, I) float32 with 1 wherever there is a row, liked or not, with sorted indices: what is not recommended again."""
        return _sparse(self, np.ones(len(self), np.float32))


def _sparse(rows: Interactions, value_N: NDArray[np.float32]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    shape = (len(rows.users), len(rows.items))
    matrix = csr_matrix((value_N, (rows.user_N, rows.item_N)), shape=shape, dtype=np.float32)
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What is known of the items, aligned with `Interactions.items`.

    `titles`: "" unknown. `categories`: () unknown. `texts`: descriptions, "" unknown; None without such a column. `pictures`: paths,
    None unknown; None without such a column. `dates`: release in seconds since 1970 (I,), NaN unknown; None without such a column.
    """

    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...] | None = None
    pictures: tuple[Path | None, ...] | None = None
    dates: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class People:
    """What is known of the users, aligned with `Interactions.users`.

    `numbers`: a column's name to float64 (U,), NaN unknown. `words`: a categorical column's name to one word a user, "" unknown.
    """

    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
