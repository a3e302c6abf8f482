"""Matrix factorisation by pairs: an item somebody likes before one they do not (BPR, Rendle et al. 2009).

Legend: U users, I items, N likes, D dims, E dims and one more, B people of a batch, P pairs of a step, S rows that
occur in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graft import settings as machine
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

STEP = 4096  # pairs of a step; at 1,024 half as fast, and no better
START = 0.1  # standard deviation of the first vectors, times the square root of dims
RIDGE = 1.0  # of the map onto people's vectors, times the mean square of what it maps


class BPR(FittedItems):
    """Learned vectors of people and items and a bias an item; a score is the inner product plus the bias, its scale arbitrary.

    A known person has the vector that was learned. A new one has a linear map of the mean of the vectors of what they like, fitted by ridge regression
    on the people who are known: one step for a whole batch, on the scale of learned vectors. (Gradient steps on the same loss need sampled
    pairs, so the answer to one person would depend on chance or on the batch.)
    """

    name: ClassVar[str] = "bpr"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 64,
        rate: float = 0.1,
        regularisation: float = 0.01,
        epochs: int = 50,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes, each met once an epoch with one item drawn evenly from those the person does not like.

        `rate` is Adagrad's, `regularisation` the weight decay of the vectors that occur in a step. The strength of a like weighs its loss.
        Raises DataError where there is no like.
        """
        matrix = liked_matrix(likes)
        settings = {"dims": dims, "rate": rate, "regularisation": regularisation, "epochs": epochs, "seed": seed}
        learner = _Learner(matrix, dims, rate, regularisation, np.random.default_rng(seed))
        for done in range(epochs):
            learner.epoch()
            machine.progress("bpr", done + 1, epochs)
        person_UD, item_ID, bias_I = learner.person_UE[:, :-1], learner.item_IE[:, :-1], learner.item_IE[:, -1]
        arrays = {"person": person_UD, "item": item_ID, "bias": bias_I, "map": _map(matrix, person_UD, item_ID)}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return cls(settings, arrays | {"popular": popularity_of(matrix)})

    def person_vectors(self, histories: Histories) -> Float32Array:
        """Vectors (B, D): learned ones of known people, mapped ones of new people."""
        vector_BD = weighted_means(histories.matrix, self.item_ID) @ self.arrays["map"]
        if histories.users_B is not None:
            known_B = histories.users_B >= 0
            vector_BD[known_B] = self.arrays["person"][histories.users_B[known_B]]
        found: Float32Array = vector_BD
        return found

    def scores(self, histories: Histories) -> Float32Array:
        """Inner products and biases (B, I); people without a known like are scored by popularity."""
        scores_BI = self.person_vectors(histories) @ self.item_columns + self.arrays["bias"]
        return strangers_by_popularity(scores_BI, histories, self.popular_I)


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    return [
        {"dims": dims, "regularisation": regularisation, "epochs": epochs}
        for epochs in (30, 100)
        for dims in (32, 64)
        for regularisation in (0.003, 0.01, 0.03)
    ]


class _Learner:
    """The vectors and the squared gradients Adagrad divides by (Duchi et al. 2011): one number a row, so that rare items move as fast as frequent ones."""

    def __init__(
        self, matrix: csr_matrix, dims: int, rate: float, regularisation: float, rng: np.random.Generator
    ) -> None:
        people, n_items = matrix.shape
        self.rng, self.rate, self.regularisation = rng, rate, regularisation
        self.user_N = np.repeat(np.arange(people), np.diff(matrix.indptr))
        self.item_N, self.weight_N = matrix.indices.astype(np.int64), matrix.data
        self.liked_N = np.sort(self.user_N * n_items + self.item_N)
        # Besides the dims: 1 for people, which does not move, and the bias for items.
        self.person_UE = self._drawn(people, dims, last=1)
        self.item_IE = self._drawn(n_items, dims, last=0)
        self.person_square_U, self.item_square_I = (np.full(n, 1e-6, np.float32) for n in (people, n_items))
        # A person who likes everything has nothing to be put behind it.
        self.order_N = np.flatnonzero((np.diff(matrix.indptr) < n_items)[self.user_N])

    def _drawn(self, rows: int, dims: int, last: float) -> Float32Array:
        scale = np.float32(START / np.sqrt(dims))
        return np.hstack(
            [scale * self.rng.standard_normal((rows, dims), np.float32), np.full((rows, 1), last, np.float32)]
        )

    def epoch(self) -> None:
        """Each like once, in a drawn order."""
        order = self.rng.permutation(self.order_N)
        other_N = self._others(self.user_N[order])
        for start in range(0, len(order), STEP):
            step = order[start : start + STEP]
            self._step(self.user_N[step], self.item_N[step], other_N[start : start + STEP], self.weight_N[step, None])

    def _others(self, user_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each person an item that they do not like, each as likely."""
        n_items = len(self.item_IE)
        other_N = self.rng.integers(0, n_items, len(user_N))
        wrong = np.arange(len(user_N))
        while len(wrong):
            key = user_N[wrong] * n_items + other_N[wrong]
            place = np.minimum(np.searchsorted(self.liked_N, key), len(self.liked_N) - 1)
            wrong = wrong[self.liked_N[place] == key]
            other_N[wrong] = self.rng.integers(0, n_items, len(wrong))
        return other_N

    def _step(self, user_P: NDArray[Any], item_P: NDArray[Any], other_P: NDArray[Any], weight_P1: Float32Array) -> None:
        """One step of Adagrad on -weight log sigmoid(score of the item - score of the other)."""
        person_PE, item_PE, other_PE = self.person_UE[user_P], self.item_IE[item_P], self.item_IE[other_P]
        apart_PE = item_PE - other_PE
        margin_P1 = np.vecdot(person_PE, apart_PE)[:, None]
        pull_P1 = weight_P1 / (1 + np.exp(np.minimum(margin_P1, 80)))
        decay, toward_PE = np.float32(self.regularisation), pull_P1 * person_PE
        uphill_PE = pull_P1 * apart_PE - decay * person_PE
        uphill_PE[:, -1] = 0
        self._move(self.person_UE, self.person_square_U, user_P, uphill_PE)
        uphill_QE = np.concatenate([toward_PE - decay * item_PE, -toward_PE - decay * other_PE])
        self._move(self.item_IE, self.item_square_I, np.concatenate([item_P, other_P]), uphill_QE)

    def _move(
        self, rows_RE: Float32Array, square_R: Float32Array, row_P: NDArray[Any], uphill_PE: Float32Array
    ) -> None:
        """Adds up what concerns the same row, and moves it."""
        from scipy.sparse import csr_matrix

        order = np.argsort(row_P, kind="stable")
        first = np.flatnonzero(np.diff(row_P[order], prepend=-1))
        row_S, indptr = row_P[order[first]], np.append(first, len(order))
        gathered = csr_matrix((np.ones(len(order), np.float32), order, indptr), shape=(len(row_S), len(order)))
        uphill_SE = gathered @ uphill_PE
        square_R[row_S] += np.vecdot(uphill_SE, uphill_SE) / uphill_SE.shape[1]
        rows_RE[row_S] += self.rate * uphill_SE / np.sqrt(square_R[row_S, None])


def _map(matrix: csr_matrix, person_UD: Float32Array, item_ID: Float32Array) -> Float32Array:
    """The map (D, D) that takes means of items' vectors nearest to people's vectors, by ridge regression over people with likes."""
    liking_U = np.diff(matrix.indptr) > 0
    mean_UD = weighted_means(matrix, item_ID)[liking_U].astype(np.float64)
    gram_DD = mean_UD.T @ mean_UD
    gram_DD += (RIDGE * np.trace(gram_DD) / len(mean_UD) / len(gram_DD) + 1e-12) * np.eye(len(gram_DD))
    solved: Float32Array = np.linalg.solve(gram_DD, mean_UD.T @ person_UD[liking_U]).astype(np.float32)
    return solved
