"""Linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import Float64Array, FloatArray, IntArray, State, log_softmax, unit_rows


class LinearHead:
    """Multinomial logistic regression on unit vectors, L2; c as scikit-learn's C (larger: weaker penalty)."""

    def __init__(self, *, c: float = 1.0, names_CD: FloatArray | None = None, name_weight: float = 8.0, balanced: bool = False) -> None:
        self.c, self.names_CD, self.name_weight, self.balanced = c, names_CD, name_weight, balanced

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        return self._fit(x_ND, y_N, n_classes, None)

    def _fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int, start: NDArray[np.float64] | None) -> Self:
        from scipy.optimize import minimize

        f_ND = unit_rows(x_ND)
        w_N = np.ones(len(y_N))
        if self.balanced:
            count_C = np.bincount(y_N, minlength=n_classes)
            w_N = len(y_N) / max(1, (count_C > 0).sum()) / count_C[y_N]
        if self.names_CD is not None:
            f_ND = np.concatenate([f_ND, self.names_CD])
            y_N = np.concatenate([y_N, np.arange(n_classes)])
            w_N = np.concatenate([w_N, np.full(n_classes, self.name_weight)])
        f_ND = np.concatenate([f_ND, np.ones((len(f_ND), 1), np.float32)], 1).astype(np.float32)
        rows = np.arange(len(y_N))

        def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            w_CE = w.reshape(n_classes, -1)
            logp = log_softmax(f_ND @ w_CE.T.astype(np.float32))
            g_NC = np.exp(logp)
            g_NC[rows, y_N] -= 1
            g_NC *= w_N[:, None]
            grad = g_NC.T.astype(np.float32) @ f_ND * self.c + np.concatenate([w_CE[:, :-1], np.zeros((n_classes, 1))], 1)
            return float(-(w_N * logp[rows, y_N]).sum() * self.c + 0.5 * (w_CE[:, :-1] ** 2).sum()), grad.ravel().astype(np.float64)

        w0 = np.zeros(n_classes * f_ND.shape[1]) if start is None else start
        found = minimize(loss, w0, jac=True, method="L-BFGS-B", options={"maxiter": 100})
        self._w = found.x
        self.weight_CE = found.x.reshape(n_classes, -1)
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        return unit_rows(x_ND).astype(np.float64) @ self.weight_CE[:, :-1].T + self.weight_CE[:, -1]

    def state(self) -> State:
        return {"weight": self.weight_CE}, {"c": self.c}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> Self:
        head = cls(c=config["c"])
        head.weight_CE = arrays["weight"]
        return head


def fit_path(
    x_ND: FloatArray, y_N: IntArray, n_classes: int, *, cs: tuple[float, ...], names_CD: FloatArray | None = None, name_weight: float = 8.0, balanced: bool = False
) -> list[LinearHead]:
    """One head a c, warm started."""
    heads: dict[float, LinearHead] = {}
    start = None
    for c in sorted(cs):
        head = LinearHead(c=c, names_CD=names_CD, name_weight=name_weight, balanced=balanced)._fit(x_ND, y_N, n_classes, start)
        heads[c], start = head, head._w
    return [heads[c] for c in cs]
