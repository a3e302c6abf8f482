"""Kernel probe: ridge regression on class indicators in the space of an RBF kernel (a least-squares SVM, Suykens & Vandewalle 1999).

Legend: N items, D dims, C classes, P classes with examples, M points kept (all N, or landmarks), S items on which the scale is set, B a
block of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graft.heads.base import (
    Arrays,
    Config,
    Float32Array,
    Float64Array,
    FloatArray,
    IntArray,
    State,
    item_weights,
    one_hot,
    spread_out,
)
from graft.heads.calibration import fit_temperature
from graft.heads.normalise import Normaliser

MOST_EXACT = 12_000  # items up to which the whole kernel is solved: 0.6 GB, some 10 s of one core
LANDMARKS = 4_000
BLOCK = 2_048
SCALED_ON = 256
SCALE = 10.0  # of scores between about 0 and 1, before leave-one-out puts it right


class KernelHead:
    """Scores f(x) = sum over points of exp(-gamma * |x - point|^2) * coefficient + mean, fitted to class indicators by ridge regression.

    On normalised vectors (HCL2N) |x - point|^2 lies in 0..4, about 2 for unrelated items: `gamma` 0.3 to 1.2 and `ridge` 0.1 to 1 differ
    by a point at most on five sets from 40 to 10,000 items, so few settings are enough. Up to 12,000 items the kernel is solved exactly,
    above with 4,000 landmarks (Nystroem; Rudi et al. 2017). Logits are T * f, with T fitted on leave-one-out scores of up to 256
    items (out of the regression; the centre of the vectors and the mean still hold the item). `balanced` gives every class the same weight in sum.
    """

    normaliser: Normaliser
    point_MD: Float32Array
    coef_MP: Float32Array
    mean_P: Float32Array
    scale: float
    present_C: IntArray
    n_classes: int

    def __init__(self, *, gamma: float = 0.7, ridge: float = 0.3, balanced: bool = False) -> None:
        self.gamma, self.ridge = gamma, ridge
        self.balanced = balanced

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Learn from vectors (N, D) and labels (N,) in 0..n_classes-1."""
        (fitted,) = fit_path(x_ND, y_N, n_classes, settings=((self.gamma, self.ridge),), balanced=self.balanced)
        self.__dict__.update(fitted.__dict__)
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C)."""
        x_ND = self.normaliser(x_ND)
        score_NP = np.empty((len(x_ND), len(self.present_C)), np.float64)
        for start in range(0, len(x_ND), BLOCK):
            k_BM = rbf(x_ND[start : start + BLOCK], self.point_MD, self.gamma)
            score_NP[start : start + BLOCK] = k_BM @ self.coef_MP
        return spread_out(self.scale * (score_NP + self.mean_P), self.present_C, self.n_classes)

    def state(self) -> State:
        """Points, coefficients and the scale."""
        arrays: dict[str, NDArray[Any]] = {
            "point": self.point_MD,
            "coef": self.coef_MP,
            "mean": self.mean_P,
            "present": self.present_C,
            **self.normaliser.arrays("centre"),
        }
        config = {
            "gamma": self.gamma,
            "ridge": self.ridge,
            "scale": self.scale,
            "n_classes": self.n_classes,
            "root": self.normaliser.root,
        }
        return arrays, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(gamma=config["gamma"], ridge=config["ridge"])
        head.point_MD, head.coef_MP, head.mean_P = arrays["point"], arrays["coef"], arrays["mean"]
        head.present_C, head.n_classes, head.scale = arrays["present"], config["n_classes"], config["scale"]
        head.normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        return head


def fit_path(
    x_ND: FloatArray,
    y_N: IntArray,
    n_classes: int,
    *,
    settings: Sequence[tuple[float, float]],
    balanced: bool = False,
) -> list[KernelHead]:
    """One `KernelHead` for each (gamma, ridge), in the order given; those of one gamma share the kernel matrix."""
    x_ND, y_N = np.asarray(x_ND, np.float32), np.asarray(y_N, np.int64)
    normaliser = Normaliser("HCL2N").fit(x_ND)
    present_C, inner_N = np.unique(y_N, return_inverse=True)
    weight_N = item_weights(inner_N, balanced=balanced)
    target_NP = one_hot(inner_N, len(present_C))
    mean_P = (np.average(target_NP, axis=0, weights=weight_N)).astype(np.float32)
    exact = len(x_ND) <= MOST_EXACT
    solve = _solve_exactly if exact else _solve_on_landmarks
    unit_ND = normaliser(x_ND)
    heads: dict[tuple[float, float], KernelHead] = {}
    for gamma in dict.fromkeys(gamma for gamma, _ in settings):
        ridges = [ridge for g, ridge in settings if g == gamma]
        solutions = solve(unit_ND, target_NP - mean_P, weight_N, gamma, ridges)
        for ridge, (point_MD, coef_MP, some_S, score_SP) in zip(ridges, solutions, strict=True):
            head = KernelHead(gamma=gamma, ridge=ridge, balanced=balanced)
            head.normaliser, head.present_C, head.n_classes = normaliser, present_C, n_classes
            head.point_MD, head.coef_MP, head.mean_P = point_MD, coef_MP, mean_P
            head.scale = SCALE / fit_temperature(SCALE * (score_SP + mean_P), inner_N[some_S])
            heads[gamma, ridge] = head
    return [heads[pair] for pair in settings]


def rbf(a_ND: Float32Array, b_MD: Float32Array, gamma: float) -> Float32Array:
    """exp(-gamma * |a - b|^2) for every pair (N, M), float32."""
    k_NM: Float32Array = a_ND @ b_MD.T
    k_NM *= 2 * gamma
    k_NM -= (gamma * np.einsum("nd,nd->n", a_ND, a_ND))[:, None]
    k_NM -= gamma * np.einsum("md,md->m", b_MD, b_MD)
    np.minimum(k_NM, 0, out=k_NM)
    np.exp(k_NM, out=k_NM)
    return k_NM


Solution = tuple[
    Float32Array, Float32Array, IntArray, Float64Array
]  # points, coefficients, items S, their scores left out


def _solve_exactly(
    x_ND: Float32Array, target_NP: Float32Array, weight_N: Float64Array, gamma: float, ridges: Sequence[float]
) -> list[Solution]:
    """Coefficients (K + ridge / weight)^-1 target by Cholesky, and leave-one-out scores in closed form.

    Leaving item i out, its score is target_i - coefficient_i / (inverse)_ii; the diagonal of the inverse is had for a sample of items
    by forward substitution.
    """
    from scipy.linalg import lapack

    n_items = len(x_ND)
    kernel_NN = np.empty((n_items, n_items), np.float32)  # C order; only the lower triangle is filled
    for start in range(0, n_items, BLOCK):
        stop = min(start + BLOCK, n_items)
        kernel_NN[start:stop, :stop] = rbf(x_ND[start:stop], x_ND[:stop], gamma)
    some_S = _sample(n_items)
    unit_NS = np.zeros((n_items, len(some_S)), np.float32, order="F")
    unit_NS[some_S, np.arange(len(some_S))] = 1
    diagonal = np.arange(n_items)
    solutions = []
    for place, ridge in enumerate(ridges):
        last = place == len(ridges) - 1
        system_NN = kernel_NN if last else kernel_NN.copy()
        system_NN[diagonal, diagonal] += (ridge / weight_N).astype(np.float32)
        upper_NN, failed = lapack.spotrf(system_NN.T, lower=0, overwrite_a=1, clean=0)  # .T: as Fortran orders it
        if failed:
            raise ValueError(f"the kernel matrix is not positive definite (gamma {gamma}, ridge {ridge})")
        coef_NP, _ = lapack.spotrs(upper_NN, np.asfortranarray(target_NP), lower=0)
        root_NS, _ = lapack.strtrs(upper_NN, unit_NS, lower=0, trans=1)
        inverse_S = np.einsum("ns,ns->s", root_NS, root_NS)
        score_SP = (target_NP[some_S] - coef_NP[some_S] / inverse_S[:, None]).astype(np.float64)
        solutions.append((x_ND, np.ascontiguousarray(coef_NP), some_S, score_SP))
    return solutions


def _solve_on_landmarks(
    x_ND: Float32Array, target_NP: Float32Array, weight_N: Float64Array, gamma: float, ridges: Sequence[float]
) -> list[Solution]:
    """The same with functions of 4,000 landmarks only: ridge regression on features F = K_NM L'^-1, where L L' = K_MM."""
    from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

    chosen_M = np.sort(np.random.RandomState(0).permutation(len(x_ND))[:LANDMARKS])
    point_MD = x_ND[chosen_M]
    kernel_MM = rbf(point_MD, point_MD, gamma).astype(np.float64)
    kernel_MM[np.diag_indices_from(kernel_MM)] += 1e-5
    lower_MM = cholesky(kernel_MM, lower=True, overwrite_a=True, check_finite=False).astype(np.float32)
    some_S = _sample(len(x_ND))

    def features(items_BD: Float32Array) -> Float32Array:
        k_MB = rbf(point_MD, items_BD, gamma)
        f_MB: Float32Array = solve_triangular(lower_MM, k_MB, lower=True, overwrite_b=True, check_finite=False)
        return f_MB

    gram_MM = np.zeros((len(point_MD),) * 2)
    moment_MP = np.zeros((len(point_MD), target_NP.shape[1]))
    for start in range(0, len(x_ND), BLOCK):
        part = slice(start, start + BLOCK)
        f_MB = features(x_ND[part])
        weighted_MB = f_MB * weight_N[part].astype(np.float32)
        gram_MM += weighted_MB @ f_MB.T
        moment_MP += weighted_MB @ target_NP[part]
    f_MS = features(x_ND[some_S]).astype(np.float64)
    solutions = []
    for ridge in ridges:
        factor = cho_factor(gram_MM + ridge * np.eye(len(gram_MM)), lower=True, overwrite_a=True, check_finite=False)
        inner_MP = cho_solve(factor, moment_MP, check_finite=False)
        leverage_S = weight_N[some_S] * np.einsum("ms,ms->s", f_MS, cho_solve(factor, f_MS, check_finite=False))
        residual_SP = (target_NP[some_S] - f_MS.T @ inner_MP) / np.maximum(1 - leverage_S, 1e-6)[:, None]
        coef_MP = solve_triangular(lower_MM, inner_MP, lower=True, trans="T", check_finite=False)
        solutions.append((point_MD, coef_MP.astype(np.float32, order="C"), some_S, target_NP[some_S] - residual_SP))
    return solutions


def _sample(n_items: int) -> IntArray:
    """Up to 256 positions, evenly apart, so that classes in sorted data are all met."""
    return np.linspace(0, n_items - 1, min(n_items, SCALED_ON)).astype(np.int64)
