"""Ridge regression in closed form: numbers from vectors, or vectors of one space from those of another.

Legend: N items, D dims, K columns of numbers, H principal directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Arrays, Config, Float64Array, FloatArray, State
from graft.heads.normalise import Normaliser


class RidgeHead:
    """Least squares with an L2 penalty (Hoerl & Kennard 1970): minimise sum of squared errors + alpha |w|², intercepts free.

    Vectors are normalised as HCL2N, so that `alpha` (above 0) means the same for every encoder.
    """

    normaliser: Normaliser
    coef_DK: Float64Array
    intercept_K: Float64Array

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha {alpha} is not above 0")
        self.alpha = alpha

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Numbers (N, K)."""
        answers: Float64Array = self.normaliser(x_ND).astype(np.float64) @ self.coef_DK + self.intercept_K
        return answers

    def state(self) -> State:
        """Coefficients and centre."""
        arrays: dict[str, NDArray[Any]] = {
            "coef": self.coef_DK,
            "intercept": self.intercept_K,
            **self.normaliser.arrays("centre"),
        }
        return arrays, {"alpha": self.alpha, "root": self.normaliser.root, "normalisation": self.normaliser.kind}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(alpha=config["alpha"])
        head.coef_DK, head.intercept_K = arrays["coef"], arrays["intercept"]
        kind = config.get("normalisation", "HCL2N")  # unnamed in models before there was another
        head.normaliser = Normaliser.from_arrays(kind, config["root"], arrays, "centre")
        return head


def fit_path(
    x_ND: FloatArray, y_NK: FloatArray, *, alphas: Sequence[float], normalisation: str = "HCL2N"
) -> list[RidgeHead]:
    """One head for each penalty, in the order given; one decomposition serves all."""
    normaliser = Normaliser(normalisation).fit(x_ND)
    z_ND = normaliser(x_ND).astype(np.float64)
    heads = []
    for alpha, (coef_DK, intercept_K) in zip(alphas, solve(z_ND, y_NK, alphas), strict=True):
        head = RidgeHead(alpha=alpha)
        head.normaliser, head.coef_DK, head.intercept_K = normaliser, coef_DK, intercept_K
        heads.append(head)
    return heads


def solve(x_ND: FloatArray, y_NK: FloatArray, alphas: Sequence[float]) -> list[tuple[Float64Array, Float64Array]]:
    """(coefficients (D, K), intercepts (K,)) for each penalty, by the eigenvectors of the smaller of the two products."""
    mean_D, mean_K = x_ND.mean(axis=0, dtype=np.float64), y_NK.mean(axis=0, dtype=np.float64)
    x_ND, y_NK = x_ND - mean_D, y_NK - mean_K
    wide = x_ND.shape[1] > len(x_ND)
    values, vectors = np.linalg.eigh(x_ND @ x_ND.T if wide else x_ND.T @ x_ND)
    turned = vectors.T @ (y_NK if wide else x_ND.T @ y_NK)
    found = []
    for alpha in alphas:
        weights = vectors @ damped(turned, values, alpha)
        coef_DK = x_ND.T @ weights if wide else weights
        found.append((coef_DK, mean_K - mean_D @ coef_DK))
    return found


def damped(turned_HK: FloatArray, values_H: FloatArray, alpha: float) -> Float64Array:
    """Coefficients (H, K) along the eigenvectors of X'X: what X'y has along each (`turned_HK`), divided by its eigenvalue and the penalty."""
    coef_HK: Float64Array = turned_HK / (values_H.clip(0)[:, None] + alpha)
    return coef_HK
