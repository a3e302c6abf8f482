"""Poisson regression with a log link: rates of counts from vectors.

Legend: N items, D dims; E = D + 1, the intercept is the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from graft.heads.base import Arrays, Config, Float64Array, FloatArray, State
from graft.heads.descent import minimise
from graft.heads.normalise import Normaliser

FURTHEST = 30.0  # a log rate is kept within this of the mean's, so that a rate stays a number


class PoissonHead:
    """Maximum likelihood of log rate = w·x + b with an L2 penalty: minimise sum(rate - y log rate) / mean(y) + alpha |w|² / 2, b free.

    Vectors are normalised as HCL2N. Dividing by the mean count, as information grows with it, lets `alpha` (0 or above) mean the
    same for small and large counts. A log link makes effects multiply and rates positive.
    """

    normaliser: Normaliser
    coef_D: Float64Array
    intercept: float
    middle: float

    def __init__(self, *, alpha: float = 1.0) -> None:
        if alpha < 0:
            raise ValueError(f"alpha {alpha} is below 0")
        self.alpha = alpha

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Rates (N, 1), above 0."""
        log_N = self.normaliser(x_ND).astype(np.float64) @ self.coef_D + self.intercept
        rates: Float64Array = np.exp(np.clip(log_N, self.middle - FURTHEST, self.middle + FURTHEST))[:, None]
        return rates

    def state(self) -> State:
        """Coefficients and centre."""
        config = {
            "alpha": self.alpha,
            "intercept": self.intercept,
            "middle": self.middle,
            "root": self.normaliser.root,
            "normalisation": self.normaliser.kind,
        }
        return {"coef": self.coef_D, **self.normaliser.arrays("centre")}, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(alpha=config["alpha"])
        head.coef_D, head.intercept, head.middle = arrays["coef"], config["intercept"], config["middle"]
        kind = config.get("normalisation", "HCL2N")  # unnamed in models before there was another
        head.normaliser = Normaliser.from_arrays(kind, config["root"], arrays, "centre")
        return head


def fit_path(
    x_ND: FloatArray, y_N1: FloatArray, *, alphas: Sequence[float], normalisation: str = "HCL2N"
) -> list[PoissonHead]:
    """One head for each penalty, in the order given; each starts from the one before it, so put the largest first."""
    normaliser = Normaliser(normalisation).fit(x_ND)
    z_ND = normaliser(x_ND).astype(np.float64)
    y_N = np.asarray(y_N1, np.float64)[:, 0]
    heads: list[PoissonHead] = []
    at_E: Float64Array | None = None
    for alpha in alphas:
        at_E = solve(z_ND, y_N, alpha, start=at_E)
        head = PoissonHead(alpha=alpha)
        head.normaliser, head.coef_D, head.intercept = normaliser, at_E[:-1], float(at_E[-1])
        head.middle = _log_mean(y_N)
        heads.append(head)
    return heads


def solve(x_ND: Float64Array, y_N: Float64Array, alpha: float, *, start: Float64Array | None = None) -> Float64Array:
    """Coefficients and, last, the intercept (E,), for counts that are not all 0."""
    middle = _log_mean(y_N)
    scale = max(float(y_N.mean()), 1e-12)

    def loss(at_E: Float64Array) -> tuple[float, Float64Array]:
        log_N = np.minimum(x_ND @ at_E[:-1] + at_E[-1], middle + FURTHEST)  # a long first step stays finite
        rate_N = np.exp(log_N)
        slope_N = (rate_N - y_N) / scale
        value = float((rate_N - y_N * log_N).sum()) / scale + alpha / 2 * float(at_E[:-1] @ at_E[:-1])
        return value, np.append(x_ND.T @ slope_N + alpha * at_E[:-1], slope_N.sum())

    return minimise(loss, np.append(np.zeros(x_ND.shape[1]), middle) if start is None else start)


def _log_mean(y_N: Float64Array) -> float:
    return math.log(max(float(y_N.mean()), 1e-12))
