"""Several labels an item: one logistic regression a label, all solved at once.

Legend: N items, D dims, L labels; E = D + 1, the intercept is the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from graft.heads.base import Arrays, Config, Float64Array, FloatArray, State
from graft.heads.descent import minimise
from graft.heads.normalise import Normaliser

FEW = 5  # positive items below which a threshold cannot be told from noise and one half is taken


class MultilabelHead:
    """One against the rest: for each label minimise log loss + alpha |w|² / 2, intercepts free.

    Vectors are normalised as HCL2N. A label that all training items have, or none, is answered by its rate, half an item of either kind added.
    """

    normaliser: Normaliser
    coef_LE: Float64Array

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha {alpha} is not above 0")
        self.alpha = alpha

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Probabilities (N, L), each label's own."""
        score_NL = self.normaliser(x_ND).astype(np.float64) @ self.coef_LE[:, :-1].T + self.coef_LE[:, -1]
        return _sigmoid(score_NL)

    def state(self) -> State:
        """Coefficients and centre."""
        config = {"alpha": self.alpha, "root": self.normaliser.root}
        return {"coef": self.coef_LE, **self.normaliser.arrays("centre")}, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(alpha=config["alpha"])
        head.coef_LE = arrays["coef"]
        head.normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        return head


def fit_path(x_ND: FloatArray, y_NL: FloatArray, *, alphas: Sequence[float]) -> list[MultilabelHead]:
    """One head for each penalty, in the order given; each starts from the one before it, so put the largest first."""
    normaliser = Normaliser().fit(x_ND)
    z_ND = normaliser(x_ND).astype(np.float64)
    truth_NL = np.asarray(y_NL, np.float64)
    rate_L = (truth_NL.sum(axis=0) + 0.5) / (len(truth_NL) + 1)
    at_LE = np.zeros((truth_NL.shape[1], z_ND.shape[1] + 1))
    at_LE[:, -1] = np.log(rate_L / (1 - rate_L))
    learned = (truth_NL.min(axis=0) == 0) & (truth_NL.max(axis=0) == 1)
    heads: list[MultilabelHead] = []
    for alpha in alphas:
        if learned.any():
            at_LE = at_LE.copy()
            at_LE[learned] = solve(z_ND, truth_NL[:, learned], alpha, start=at_LE[learned])
        head = MultilabelHead(alpha=alpha)
        head.normaliser, head.coef_LE = normaliser, at_LE
        heads.append(head)
    return heads


def solve(x_ND: Float64Array, y_NL: Float64Array, alpha: float, *, start: Float64Array) -> Float64Array:
    """Coefficients and, last, the intercept of each label, (L, E)."""
    shape = start.shape

    def loss(at: Float64Array) -> tuple[float, Float64Array]:
        coef_LD, intercept_L = at.reshape(shape)[:, :-1], at.reshape(shape)[:, -1]
        score_NL = x_ND @ coef_LD.T + intercept_L
        value = float(np.logaddexp(0, score_NL).sum() - (y_NL * score_NL).sum() + alpha / 2 * (coef_LD**2).sum())
        slope_NL = _sigmoid(score_NL) - y_NL
        return value, np.hstack([slope_NL.T @ x_ND + alpha * coef_LD, slope_NL.sum(axis=0)[:, None]]).ravel()

    return minimise(loss, start.ravel()).reshape(shape)


def thresholds(y_NL: Float64Array, p_NL: Float64Array) -> Float64Array:
    """For each label the probability from which it is answered, (L,): that with the best F1 on items the head had not learned from.

    Between two items' probabilities the middle is taken; with fewer than five positive items one half.
    """
    found_L = np.full(y_NL.shape[1], 0.5)
    for label in range(y_NL.shape[1]):
        order = np.argsort(-p_NL[:, label], kind="stable")
        truth, p = y_NL[order, label], p_NL[order, label]
        ends = np.append(p[1:] < p[:-1], True)  # equal probabilities are answered alike
        if truth.sum() >= FEW:
            f1 = np.where(ends, 2 * np.cumsum(truth) / (np.arange(1, len(p) + 1) + truth.sum()), -1)
            best = int(f1.argmax())
            found_L[label] = (p[best] + p[best + 1]) / 2 if best + 1 < len(p) else p[best] / 2
    return found_L


def _sigmoid(x: Float64Array) -> Float64Array:
    """1 / (1 + e^-x) without overflow."""
    half: Float64Array = 0.5 * (1 + np.tanh(0.5 * x))
    return half
