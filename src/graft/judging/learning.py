"""Queries learned from examples: what to look for, told by items that are it and items that are not.

Legend: N examples, Q queries, D dims of the items' vectors, M dims of a second view of them, E = D + M, T dims of texts, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graft import settings
from graft.errors import DataError
from graft.heads.base import Float32Array, Float64Array, FloatArray, IntArray, one_hot, unit_rows

WHITEN = 0.1  # of the mean variance, added to the covariance inside the queries
SECOND = 30.0  # how loud the second view is beside the whitened first: 10 and 60 lost .01 and .03 of accuracy@5
PENALTY = 1e-3  # on the squared weights, for a mean loss an example
TEXT_WEIGHT = 40.0  # of the texts' own queries beside the learned weights: best of 0..320 on training pictures of Tiny-ImageNet held back
_STEPS = 40


@dataclass(frozen=True, eq=False)
class LearnedQueries:
    """A query is a vector for each view; the score of an item is the sum of the two inner products: with its unit vector, and with its
    row in the second view (None without one)."""

    first_QD: Float32Array
    second_QM: Float32Array | None = None

    def scores(self, x_ND: FloatArray, second_NM: FloatArray | None = None) -> Float32Array:
        """(Q, N)."""
        scores_QN: Float32Array = self.first_QD @ unit_rows(x_ND).T
        if self.second_QM is not None and second_NM is not None:
            scores_QN = scores_QN + self.second_QM @ np.asarray(second_NM, np.float32).T
        return scores_QN


def prototypes(x_ND: FloatArray, y_N: IntArray, n_queries: int) -> Float32Array:
    """The mean unit vector of each query's examples less the mean over queries, unit rows (Q, D)."""
    x_ND, sums_QN = unit_rows(x_ND), one_hot(y_N, n_queries).T
    mean_QD = sums_QN @ x_ND / np.maximum(sums_QN.sum(axis=1, keepdims=True), 1)
    return unit_rows(mean_QD - mean_QD.mean(axis=0))


def learned_queries(
    x_ND: FloatArray,
    y_N: IntArray,
    n_queries: int,
    *,
    second_NM: FloatArray | None = None,
    text_QM: FloatArray | None = None,
    text_weight: float = TEXT_WEIGHT,
    penalty: float = PENALTY,
) -> LearnedQueries:
    """One-against-the-rest logistic regression of `n_queries` queries on examples `y_N` in 0..Q-1, as vectors to rank with.

    The unit vectors are whitened by the covariance inside the queries first, as in discriminant analysis. `second_NM` is another view of
    the same items (the names bridge's class probabilities), whose weights are learned along; `text_QM` are that view's queries for the names of
    what is looked for, added with `text_weight`. Intercepts are left out: they do not change the ranking of a query.

    Raises DataError for parts of unequal length, fewer than two queries with examples, or values that are not finite.
    """
    if len(x_ND) != len(y_N) or (second_NM is not None and len(second_NM) != len(y_N)):
        raise DataError(f"Examples of unequal length: {len(x_ND)} vectors, {len(y_N)} labels.")
    if len(np.unique(y_N)) < 2:
        raise DataError("A query is learned against examples of others: at least two queries need examples.")
    if not np.isfinite(x_ND).all() or (second_NM is not None and not np.isfinite(second_NM).all()):
        raise DataError("Examples hold vectors that are not finite.")
    unit_ND = unit_rows(x_ND).astype(np.float64)
    whiten_DD = _whitening(unit_ND, y_N)
    sides = [(unit_ND - unit_ND.mean(axis=0)) @ whiten_DD]
    if second_NM is not None:
        sides.append(SECOND * np.asarray(second_NM, np.float64))
    weight_QE = _one_against_rest(np.concatenate(sides, axis=1), one_hot(y_N, n_queries), penalty)
    dims = x_ND.shape[1]
    first_QD = (weight_QE[:, :dims] @ whiten_DD.T).astype(np.float32)
    if second_NM is None:
        return LearnedQueries(first_QD)
    second_QM = SECOND * weight_QE[:, dims:]
    if text_QM is not None:
        second_QM = second_QM + text_weight * text_QM
    return LearnedQueries(first_QD, second_QM.astype(np.float32))


def _whitening(x_ND: Float64Array, y_N: IntArray) -> Float64Array:
    """(D, D) that turns the covariance inside the queries, strengthened by a tenth of its mean variance, into near the identity."""
    from scipy.linalg import cholesky, solve_triangular

    present_P, inner_N = np.unique(y_N, return_inverse=True)
    sums_PN = one_hot(inner_N, len(present_P)).T
    mean_PD = sums_PN @ x_ND / sums_PN.sum(axis=1, keepdims=True)
    residual_ND = x_ND - mean_PD[inner_N]
    within_DD = residual_ND.T @ residual_ND / len(x_ND)
    variance = float(np.trace(within_DD)) / len(within_DD) or 1.0
    lower_DD = cholesky(within_DD + WHITEN * variance * np.eye(len(within_DD)), lower=True)
    inverse_DD = solve_triangular(lower_DD, np.eye(len(lower_DD)), lower=True).T
    spread = float(((x_ND - x_ND.mean(axis=0)) @ inverse_DD).std()) or 1.0
    whitening_DD: Float64Array = inverse_DD / spread
    return whitening_DD


def _one_against_rest(x_NE: Float64Array, y_NQ: Float32Array, penalty: float) -> Float64Array:
    """Weights (Q, E) of Q binary logistic regressions solved together by L-BFGS."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    x, y = torch.tensor(x_NE, dtype=torch.float32), torch.tensor(y_NQ)
    weight = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    optimiser: Any = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss: Any = binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="sum") / len(x)
        loss = loss + penalty * weight.square().sum()
        loss.backward()
        return loss

    with settings.one_thread():
        optimiser.step(closure)
    return weight.detach().numpy().T.astype(np.float64)


def mlp_queries(
    text_QT: FloatArray, x_ND: FloatArray, y_N: IntArray, *, hidden: int = 256, steps: int = 300, seed: int = 0
) -> Float32Array:
    """Text vectors sent into the items' space by a small network trained on the examples, unit rows (Q, D).

    One hidden layer of ReLU, trained so that an example's nearest query is its own (cross entropy of 20 times the cosines with the
    centred items, Adam). To be blended as alpha * mlp + (1 - alpha) * prototype.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    centred_ND = unit_rows(x_ND)
    centred_ND = unit_rows(centred_ND - centred_ND.mean(axis=0))
    rng = np.random.default_rng(seed)
    x, y = torch.tensor(centred_ND), torch.tensor(np.asarray(y_N, np.int64))
    text = torch.tensor(unit_rows(text_QT))
    with settings.one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(text.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, x.shape[1])
        )
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(steps):
            some = rng.integers(0, len(x), min(len(x), 512))
            optimiser.zero_grad()
            loss: Any = cross_entropy(20 * x[some] @ normalize(network(text), dim=1).T, y[some])
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            return unit_rows(network(text).numpy())
