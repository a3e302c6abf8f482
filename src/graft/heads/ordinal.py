"""Ordered classes by a cumulative link: the proportional-odds model.

Legend: N items, D dims, K levels in order, P levels with at least one example.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from graft.heads.base import Arrays, Config, Float64Array, FloatArray, IntArray, State
from graft.heads.descent import minimise
from graft.heads.normalise import Normaliser


class OrdinalHead:
    """P(level <= k) = sigmoid(cut_k - w·x) with increasing cuts (McCullagh 1980): minimise log loss + alpha |w|² / 2, cuts free.

    Vectors are normalised as HCL2N. One direction w serves all cuts, so that D + K - 1 numbers are learned, not D x K, and neighbouring
    levels are taken for each other before distant ones. A level without an example is never answered.
    """

    normaliser: Normaliser
    coef_D: Float64Array
    cuts: Float64Array
    present_P: IntArray
    levels: int

    def __init__(self, *, alpha: float = 1.0) -> None:
        if alpha < 0:
            raise ValueError(f"alpha {alpha} is below 0")
        self.alpha = alpha

    def predict(self, x_ND: FloatArray) -> Float64Array:
        """Probabilities (N, K) of the levels; rows sum to 1."""
        score_N = self.normaliser(x_ND).astype(np.float64) @ self.coef_D
        below = _sigmoid(self.cuts - score_N[:, None])
        edge = np.ones((len(score_N), 1))
        p_NK = np.zeros((len(score_N), self.levels))
        p_NK[:, self.present_P] = np.diff(np.hstack([0 * edge, below, edge]), axis=1).clip(0)
        return p_NK

    def state(self) -> State:
        """Coefficients, cuts and centre."""
        arrays = {
            "coef": self.coef_D,
            "cuts": self.cuts,
            "present": self.present_P,
            **self.normaliser.arrays("centre"),
        }
        return arrays, {"alpha": self.alpha, "levels": self.levels, "root": self.normaliser.root}

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(alpha=config["alpha"])
        head.coef_D, head.cuts, head.present_P = arrays["coef"], arrays["cuts"], arrays["present"]
        head.levels = config["levels"]
        head.normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        return head


def fit_path(x_ND: FloatArray, y_NK: FloatArray, *, alphas: Sequence[float]) -> list[OrdinalHead]:
    """One head for each penalty, from indicator rows of the levels; each starts from the one before it, so put the largest first."""
    normaliser = Normaliser().fit(x_ND)
    z_ND = normaliser(x_ND).astype(np.float64)
    present_P, codes_N = np.unique(np.asarray(y_NK).argmax(axis=1), return_inverse=True)
    heads: list[OrdinalHead] = []
    coef_D, cuts = np.zeros(z_ND.shape[1]), np.empty(0)
    for alpha in alphas:
        if len(present_P) > 1:
            coef_D, cuts = solve(z_ND, codes_N, alpha, start=(coef_D, cuts) if heads else None)
        head = OrdinalHead(alpha=alpha)
        head.normaliser, head.coef_D, head.cuts = normaliser, coef_D, cuts
        head.present_P, head.levels = present_P.astype(np.int64), y_NK.shape[1]
        heads.append(head)
    return heads


def solve(
    x_ND: Float64Array, ranks_N: IntArray, alpha: float, *, start: tuple[Float64Array, Float64Array] | None = None
) -> tuple[Float64Array, Float64Array]:
    """(coefficients (D,), cuts (K - 1,)) for ranks 0..K-1, each with an example. Cuts are sought as the first and the logs of the gaps."""
    dims, cuts = x_ND.shape[1], int(ranks_N.max())
    first, last = ranks_N > 0, ranks_N < cuts  # items with a cut below them, and above them

    def loss(at: Float64Array) -> tuple[float, Float64Array]:
        coef_D, gap = at[:dims], np.exp(np.minimum(at[dims + 1 :], 50))
        cut = at[dims] + np.append(0, np.cumsum(gap))
        score_N = x_ND @ coef_D
        upper_N = np.where(last, cut[np.minimum(ranks_N, cuts - 1)] - score_N, np.inf)
        lower_N = np.where(first, cut[np.maximum(ranks_N - 1, 0)] - score_N, -np.inf)
        wide_N = np.where(first & last, gap[np.clip(ranks_N - 1, 0, max(cuts - 2, 0))] if cuts > 1 else np.inf, np.inf)
        wide_N = np.maximum(wide_N, 1e-12)
        # log(sigmoid(u) - sigmoid(l)) = log sigmoid(u) + log sigmoid(-l) + log(1 - exp(l - u))
        value = np.logaddexp(0, -upper_N).sum() + np.logaddexp(0, lower_N).sum() - np.log(-np.expm1(-wide_N)).sum()
        push_N = np.exp(-wide_N) / -np.expm1(-wide_N)
        up_N = np.where(last, _sigmoid(-upper_N) + push_N, 0)
        down_N = np.where(first, -_sigmoid(lower_N) - push_N, 0)
        by_cut = -np.bincount(ranks_N[last], weights=up_N[last], minlength=cuts)[:cuts]
        by_cut -= np.bincount(ranks_N[first] - 1, weights=down_N[first], minlength=cuts)[:cuts]
        by_gap = np.cumsum(by_cut[::-1])[::-1]
        slope_D = x_ND.T @ (up_N + down_N) + alpha * coef_D
        return float(value + alpha / 2 * coef_D @ coef_D), np.concatenate([slope_D, by_gap[:1], by_gap[1:] * gap])

    if start is None:
        share = np.cumsum(np.bincount(ranks_N))[:-1] / len(ranks_N)
        start = np.zeros(dims), np.log(share / (1 - share))
    begin = np.concatenate([start[0], start[1][:1], np.log(np.maximum(np.diff(start[1]), 1e-9))])
    at = minimise(loss, begin)
    return at[:dims], at[dims] + np.append(0, np.cumsum(np.exp(at[dims + 1 :])))


def _sigmoid(x: Float64Array) -> Float64Array:
    """1 / (1 + e^-x) without overflow."""
    half: Float64Array = 0.5 * (1 + np.tanh(0.5 * x))
    return half
