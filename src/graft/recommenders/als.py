"""Matrix factorisation of implicit feedback by alternating least squares (Hu, Koren, Volinsky 2008).

Everyone's vector x minimises, over all items, the sum of c_i (p_i - x y_i)^2 plus regularisation |x|^2, with p_i = 1 and c_i = 1 + alpha w_i for
liked items (w_i the strength of the like), p_i = 0 and c_i = 1 for all others. With G = Y^T Y + regularisation, shared by all, factored as
G = C C^T, and whitened item vectors Z = Y C^-T, of which a person's likes have the rows Z_L, and d = alpha w:

    x = C^-T t,   (1 + Z_L^T diag(d) Z_L) t = Z_L^T (1 + d)

Conjugate gradients on this system (Takacs et al. 2011 use them on the unwhitened one) touch a person's likes alone, never a matrix of dims by
dims, and as Z^T Z <= 1 its condition is at most 1 + alpha w: two to six steps from zero leave 1 % of the residual. Batches of people with almost
equally many likes, whose rows are gathered once and stay in the core's own memory for all steps, make each step two matrix products.

Legend: U users, I items, N interactions, D dims, B rows of a batch, R rows to solve for, F rows held fixed, L likes of a row (padded).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from graft import settings as machine
from graft.recommenders.base import (
    FittedItems,
    Float32Array,
    Histories,
    Settings,
    liked_matrix,
    popularity_of,
    strangers_by_popularity,
)
from graft.recommenders.padding import alike

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from graft.interactions.likes import Interactions

GATHERED = 2**19  # numbers gathered at once: 2 MB, about what a core's own memory holds
# Residuals, relative to where they began, at which the steps end: while fitting the other side changes more than this, and a smaller one
# did not lower the loss after three iterations on a million interactions; for an answer it is what float32 can tell.
FITTING, ANSWERING = 1e-2, 1e-5
MOST_STEPS = 100
# Squared length of a right side that counts as 0: someone and an item that have but each other shrink at every iteration, to numbers so small
# that a processor takes a hundred times as long for each.
NOTHING = 1e-20
TINY = np.finfo(np.float32).tiny


class ALS(FittedItems):
    """Item vectors by alternating least squares; people, known or new, are solved for from their likes when asked about.

    A score is the inner product of a person's and an item's vector, about 0 to 1. An item nobody liked has a vector of zeros.
    """

    name: ClassVar[str] = "als"

    @classmethod
    def fit(
        cls,
        likes: Interactions,
        *,
        dims: int = 64,
        regularisation: float = 30.0,
        alpha: float = 3.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> Self:
        """Learn from the likes. `regularisation` above 0 is not scaled by anything; `alpha` above 0 is the confidence a like of strength 1 adds.

        Raises DataError where there is no like.
        """
        matrix = liked_matrix(likes)
        settings = {
            "dims": dims,
            "regularisation": regularisation,
            "alpha": alpha,
            "iterations": iterations,
            "seed": seed,
        }
        columns = matrix.T.tocsr()
        item_ID = np.random.default_rng(seed).standard_normal((matrix.shape[1], dims), np.float32) / np.sqrt(dims)
        item_ID = item_ID.astype(np.float32)
        for done in range(iterations):
            person_UD = Whitened(item_ID, regularisation, alpha).solve(matrix, FITTING)
            item_ID = Whitened(person_UD, regularisation, alpha).solve(columns, FITTING)
            machine.progress("als", done + 1, iterations)
        return cls(settings, {"item": item_ID, "popular": popularity_of(matrix)})

    def person_vectors(self, histories: Histories) -> Float32Array:
        """Vectors (B, D) of the people, solved for with the item vectors held fixed; zeros without a like."""
        return self._whitened.solve(histories.matrix, ANSWERING)

    def scores(self, histories: Histories) -> Float32Array:
        """Inner products (B, I); people without a known like are scored by popularity."""
        scores_BI = self.person_vectors(histories) @ self.item_columns
        return strangers_by_popularity(scores_BI, histories, self.popular_I)

    @cached_property
    def _whitened(self) -> Whitened:
        return Whitened(self.item_ID, self.settings["regularisation"], self.settings["alpha"])


def grid() -> list[Settings]:
    """Settings worth trying, cheap ones first."""
    pairs = ((1.0, 5.0), (10.0, 1.0), (10.0, 5.0), (30.0, 2.0), (30.0, 5.0), (100.0, 10.0))
    return [
        {"dims": dims, "regularisation": regularisation, "alpha": alpha}
        for dims in (16, 32, 64)
        for regularisation, alpha in pairs
    ]


class Whitened:
    """Rows (F, D) held fixed, whitened once, against which any number of rows is solved for.

    `regularisation` is added to the diagonal of Y^T Y, `alpha` times the strength of a like to its confidence.
    """

    def __init__(self, fixed_FD: Float32Array, regularisation: float, alpha: float) -> None:
        from scipy.linalg import solve_triangular

        dims = fixed_FD.shape[1]
        gram_DD = (fixed_FD.T @ fixed_FD).astype(np.float64) + regularisation * np.eye(dims)
        lower_DD = np.linalg.cholesky(gram_DD)
        self.inverse_DD: Float32Array = solve_triangular(lower_DD, np.eye(dims), lower=True).astype(np.float32)
        self.alpha = alpha
        # One row more, of zeros, is what the padding of a batch points to.
        self.rows_FD = np.zeros((len(fixed_FD) + 1, dims), np.float32)
        np.matmul(fixed_FD, self.inverse_DD.T, out=self.rows_FD[:-1])

    def solve(self, likes: csr_matrix, tolerance: float) -> Float32Array:
        """Vectors (R, D) of rows with `likes` (R, F), to a residual of `tolerance`; a row without likes has zeros."""
        dims = self.rows_FD.shape[1]
        found_RD = np.zeros((likes.shape[0], dims), np.float32)
        for rows_B, place_BL, inside_BL in alike(likes.indptr, GATHERED // dims):
            row_BL = np.where(inside_BL, likes.indices[place_BL], len(self.rows_FD) - 1)
            weight_BL = np.where(inside_BL, self.alpha * likes.data[place_BL], 0).astype(np.float32)
            found_RD[rows_B] = _conjugate_gradients(self.rows_FD.take(row_BL, axis=0), weight_BL, tolerance)
        solved: Float32Array = found_RD @ self.inverse_DD
        return solved


def _conjugate_gradients(z_BLD: Float32Array, weight_BL: Float32Array, tolerance: float) -> Float32Array:
    """t (B, D) with (1 + Z^T diag(weight) Z) t = Z^T (1 + weight)."""
    residual_BD = np.matmul(1 + weight_BL[:, None], z_BLD)[:, 0]
    t_BD = np.zeros_like(residual_BD)
    toward_BD = residual_BD.copy()
    size_B = np.vecdot(residual_BD, residual_BD)
    enough_B = np.maximum(tolerance**2 * size_B, NOTHING)
    for _ in range(MOST_STEPS):
        going_B = size_B > enough_B
        if not going_B.any():
            break
        along_BL = np.matmul(z_BLD, toward_BD[:, :, None])[:, :, 0] * weight_BL
        image_BD = toward_BD + np.matmul(along_BL[:, None], z_BLD)[:, 0]
        # Rows that are near enough rest while others of the batch go on, so that their answer does not depend on these.
        step_B1 = np.where(going_B, size_B / np.maximum(np.vecdot(toward_BD, image_BD), TINY), np.float32(0))[:, None]
        t_BD += step_B1 * toward_BD
        residual_BD -= step_B1 * image_BD
        before_B, size_B = size_B, np.vecdot(residual_BD, residual_BD)
        toward_BD *= (size_B / np.maximum(before_B, TINY))[:, None]
        toward_BD += residual_BD
    found_BD: Float32Array = t_BD
    return found_BD
