"""LogME: how well vectors suit labels, told without training (You et al. 2021, "LogME: Practical Assessment of Pre-trained Models").

Legend: N items, D dims, K columns of targets (one a class), R directions with a singular value above zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 200  # of the fixed point, which is there after ten or so
CLOSE = 1e-9  # relative change of alpha / beta at which it is taken to be there
SMALLEST = 1e-12  # of the largest singular value squared: directions below are rounding


def logme(x_ND: NDArray[np.floating], y_N: NDArray[np.integer]) -> float:
    """Mean over classes of the largest log evidence per item of Bayesian linear regression from vectors to class indicators; larger is better.

    Each class's indicator is N(F w, 1/beta) with w from N(0, 1/alpha); alpha and beta are those that make the labels likeliest (MacKay's
    fixed point, with one singular value decomposition for all classes: You et al. 2022). In nats an item, without bounds; values of
    encoders of different dims may be compared on the same items and labels, and on nothing else. Vectors are taken as they are.

    Raises ValueError for fewer than two items, or vectors and labels of different number.
    """
    if len(x_ND) != len(y_N) or len(x_ND) < 2:
        raise ValueError(
            f"{len(x_ND)} vectors and {len(y_N)} labels: at least two of each are needed, and as many of both"
        )
    wide_ND: Floats = np.asarray(x_ND, np.float64)
    target_NK = (np.asarray(y_N)[:, None] == np.unique(y_N)).astype(np.float64)
    return float(
        np.mean(
            [
                evidence(square_R, energy_R, rest, *wide_ND.shape)
                for square_R, energy_R, rest in _parts(wide_ND, target_NK)
            ]
        )
    )


def _parts(x_ND: Floats, target_NK: Floats) -> list[tuple[Floats, Floats, float]]:
    """For each target: squared singular values (R,), the target's energy along their directions (R,), and outside of all of them."""
    n, dims = x_ND.shape
    gram = (
        x_ND @ x_ND.T if n <= dims else x_ND.T @ x_ND
    )  # its eigenvalues are the squares, at a fraction of a decomposition's cost
    square, basis = np.linalg.eigh(gram)
    kept = square > SMALLEST * max(float(square[-1]), np.finfo(float).tiny)
    square_R, basis = square[kept], basis[:, kept]
    left_NR = basis if n <= dims else (x_ND @ basis) / np.sqrt(square_R)
    energy_RK = (left_NR.T @ target_NK) ** 2
    rest_K = np.maximum((target_NK**2).sum(axis=0) - energy_RK.sum(axis=0), 0.0)
    return [(square_R, energy_RK[:, k], float(rest_K[k])) for k in range(target_NK.shape[1])]


def evidence(square_R: Floats, energy_R: Floats, rest: float, n: int, dims: int) -> float:
    """Largest log evidence per item of one target of `n` items, from the parts that `logme` is made of.

    With r = alpha / beta the weights' length and the error follow from r alone, and alpha, beta from those, until r stays.
    """
    ratio = 1.0
    for _ in range(ROUNDS):
        gamma = float((square_R / (ratio + square_R)).sum())
        length = max(float((square_R * energy_R / (ratio + square_R) ** 2).sum()), 1e-300)
        error = max(float(((ratio / (ratio + square_R)) ** 2 * energy_R).sum()) + rest, 1e-12 * n)
        alpha, beta = max(gamma, 1e-300) / length, max(n - gamma, 1e-9) / error  # above 0 for vectors of zeros too
        before, ratio = ratio, alpha / beta
        if abs(ratio - before) <= CLOSE * before:
            break
    length = float((square_R * energy_R / (ratio + square_R) ** 2).sum())
    error = float(((ratio / (ratio + square_R)) ** 2 * energy_R).sum()) + rest
    spread = float(np.log(alpha + beta * square_R).sum()) + (dims - len(square_R)) * np.log(alpha)
    whole = n * np.log(beta) + dims * np.log(alpha) - n * np.log(2 * np.pi) - beta * error - alpha * length - spread
    return float(whole / (2 * n))
