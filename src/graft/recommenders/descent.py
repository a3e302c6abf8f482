"""The loss of co-likes brought down by gradients: what the usual optimisers reach, against the solver of `colikes`.

    L = sum over i != j of (v_i . v_j - X_ij)^2,   dL/dV = 4 (V (V^T V) - diag(|v_i|^2) V - X V)

All pairs at once: V^T V is a matrix of dims by dims, and X is met in products alone, so that a step costs no more than a few of them.

Legend: I items, D dims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graft.errors import UsageError, unknown
from graft.recommenders.colikes import Float64Array, Pairs

Step = Callable[[Float64Array], Float64Array]
LARGEST = 1e3  # times the loss of zeros, from which on a descent counts as diverged
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Descent:
    """`v_ID` the vectors of the least loss met (I, D), `losses` the loss before each step and after the last; `diverged`: it was broken off."""

    v_ID: Float64Array
    losses: list[float]
    diverged: bool


def gradient(pairs: Pairs, v_ID: Float64Array) -> tuple[float, Float64Array]:
    """The loss and its gradient (I, D)."""
    product_ID, gram_DD, length_I = pairs.times(v_ID), v_ID.T @ v_ID, np.vecdot(v_ID, v_ID)
    change = float((gram_DD**2).sum() - length_I @ length_I - 2 * np.vdot(v_ID, product_ID))
    return pairs.squares() + change, 4 * (v_ID @ gram_DD - length_I[:, None] * v_ID - product_ID)


def descend(
    pairs: Pairs, dims: int, *, optimiser: str, rate: float, iterations: int = 200, scale: float = 0.1, seed: int = 0
) -> Descent:
    """Bring the loss down from random vectors of standard deviation `scale` by `iterations` steps with one rate.

    `optimiser` is one of `OPTIMISERS`. Raises UsageError for another, or for a rate not above 0.
    """
    if optimiser not in OPTIMISERS:
        raise UsageError(unknown("The optimiser", optimiser, OPTIMISERS))
    if not rate > 0:
        raise UsageError(f"rate={rate:g} is a number above 0.")
    step = OPTIMISERS[optimiser](rate)
    v_ID = scale * np.random.default_rng(seed).standard_normal((pairs.n_items, dims))
    best, limit = v_ID, LARGEST * pairs.squares()
    losses: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(iterations + 1):
            loss, slope_ID = gradient(pairs, v_ID)
            if not loss <= limit:
                return Descent(best, losses, True)
            losses.append(loss)
            if loss <= min(losses):
                best = v_ID
            v_ID = v_ID - step(slope_ID)
    return Descent(best, losses, False)


def _sgd(rate: float) -> Step:
    """All pairs are one batch, so this is plain gradient descent."""
    return lambda slope_ID: rate * slope_ID


def _momentum(rate: float, keep: float = 0.9) -> Step:
    """Polyak's heavy ball (1964)."""
    moving: list[Float64Array] = []

    def step(slope_ID: Float64Array) -> Float64Array:
        moving[:] = [rate * slope_ID + (keep * moving[0] if moving else 0)]
        return moving[0]

    return step


def _adagrad(rate: float) -> Step:
    """Duchi, Hazan and Singer 2011: each number by the root of the sum of its squared slopes."""
    squares: list[Float64Array] = []

    def step(slope_ID: Float64Array) -> Float64Array:
        squares[:] = [slope_ID**2 + (squares[0] if squares else 0)]
        return rate * slope_ID / (np.sqrt(squares[0]) + TINY)

    return step


def _adam(rate: float, keep: float = 0.9, keep_squares: float = 0.999) -> Step:
    """Kingma and Ba 2015: running means of the slopes and of their squares, both free of their start at zero."""
    means: list[Float64Array] = []
    done = 0

    def step(slope_ID: Float64Array) -> Float64Array:
        nonlocal done
        done += 1
        first, second = means or (np.zeros_like(slope_ID), np.zeros_like(slope_ID))
        means[:] = [keep * first + (1 - keep) * slope_ID, keep_squares * second + (1 - keep_squares) * slope_ID**2]
        return rate * (means[0] / (1 - keep**done)) / (np.sqrt(means[1] / (1 - keep_squares**done)) + TINY)

    return step


OPTIMISERS: dict[str, Callable[[float], Step]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "adam": _adam,
}
