"""Linear probe: multinomial logistic regression with an L2 penalty, solved exactly along a path of penalties.

Legend: N items, D dims, R dims in which it is solved (N or D), E = R + 1 (the intercept is the last), C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    spread_out,
)
from graft.heads.normalise import Normaliser
from graft.heads.zero_shot import NamePrior

CALIBRATED = 18.0  # the name weight that starts from the zero-shot classifier at its own best scale
SMALL = 10**6  # numbers (items x rank x classes) up to which everything is computed in float64, to a tight tolerance
TIGHT, CLOSE, LOOSE = 1e-9, 1e-6, 2e-4  # how far the log loss an item is thought to be from its least at most
MOST_STEPS = 500
SMALL_FACTOR = 512  # rows up to which a product with the inverse takes half as long as substitution


class LinearHead:
    """Multinomial logistic regression: minimise sum of weight * log loss + |W|^2 / (2 c), intercepts free.

    `c` is scikit-learn's C, on vectors normalised as HCL2N (for two classes too: there the penalty is doubled, as W is then two opposite rows
    with half the squared length of scikit-learn's one row).
    With `names_CD` (C, D) it is a named linear probe: W is pulled towards the class names instead of towards zero, W = V + s * names with
    the penalty on V, the maximum a posteriori under a normal prior whose mean the names give (cf. L2-SP, Li et al. 2018). s is
    `name_weight` / 18 times the scale at which the names fit the labels best (`NamePrior`): names that say nothing about the items count
    for nothing. At c = 1, `name_weight` 6 counts roughly as six examples a class (measured best 4 to 8 of 0..18). `balanced` gives every
    class the same weight in sum.
    """

    normaliser: Normaliser
    prior: NamePrior | None
    pull: float
    coef_CD: Float32Array
    intercept_C: Float64Array
    present_C: IntArray
    n_classes: int

    def __init__(
        self,
        *,
        c: float = 1.0,
        names_CD: FloatArray | None = None,
        name_weight: float = 6.0,
        balanced: bool = False,
    ) -> None:
        self.c = c
        self.given_names_CD, self.name_weight = names_CD, name_weight
        self.balanced = balanced

    def fit(self, x_ND: FloatArray, y_N: IntArray, n_classes: int) -> Self:
        """Learn from vectors (N, D) and labels (N,) in 0..n_classes-1."""
        (fitted,) = fit_path(
            x_ND,
            y_N,
            n_classes,
            cs=(self.c,),
            names_CD=self.given_names_CD,
            name_weight=self.name_weight,
            balanced=self.balanced,
        )
        self.__dict__.update(fitted.__dict__)
        return self

    def logits(self, x_ND: FloatArray) -> Float64Array:
        """Finite float64 (N, C)."""
        logits_NC = (self.normaliser(x_ND) @ self.coef_CD.T).astype(np.float64) + self.intercept_C
        if self.prior is not None:
            logits_NC += self.pull * self.prior.cosines(x_ND)[:, self.present_C]
        return spread_out(logits_NC, self.present_C, self.n_classes)

    def state(self) -> State:
        """Coefficients, centre and names; everything `logits` needs."""
        arrays: dict[str, NDArray[Any]] = {
            "coef": self.coef_CD,
            "intercept": self.intercept_C,
            "present": self.present_C,
            **self.normaliser.arrays("centre"),
            **(self.prior.arrays() if self.prior else {}),
        }
        config = {"c": self.c, "n_classes": self.n_classes, "root": self.normaliser.root, "pull": self.pull}
        return arrays, config

    @classmethod
    def from_state(cls, arrays: Arrays, config: Config) -> Self:
        """The head that `state` described."""
        head = cls(c=config["c"])
        head.coef_CD, head.intercept_C, head.present_C = arrays["coef"], arrays["intercept"], arrays["present"]
        head.n_classes, head.pull = config["n_classes"], config["pull"]
        head.normaliser = Normaliser.from_arrays("HCL2N", config["root"], arrays, "centre")
        head.prior = NamePrior.from_arrays(arrays) if "names" in arrays else None
        return head


def fit_path(
    x_ND: FloatArray,
    y_N: IntArray,
    n_classes: int,
    *,
    cs: Sequence[float],
    names_CD: FloatArray | None = None,
    name_weight: float = 6.0,
    balanced: bool = False,
) -> list[LinearHead]:
    """One `LinearHead` for each c, in the order given, solved from the strongest penalty to the weakest, each from the last.

    Small problems are solved to 1e-9 of log loss an item, a large one to 1e-6; a path of several large ones, from which one will be
    picked, to 2e-4, which the scores cannot see (at most .001 of accuracy on Banking77 and CIFAR-10) and takes a third of the time.
    How far it still is to the least is estimated from the gradient: at c = 1 it was up to 6 times the estimate, at 10 up to 20 times.
    """
    x_ND, y_N = np.asarray(x_ND, np.float32), np.asarray(y_N, np.int64)
    normaliser = Normaliser("HCL2N").fit(x_ND)
    present_C, inner_N = np.unique(y_N, return_inverse=True)
    prior, pull, offset_NC = None, 0.0, None
    if names_CD is not None:
        prior = NamePrior(names_CD).fit(x_ND, y_N, n_classes)
        pull = prior.scale * name_weight / CALIBRATED
        offset_NC = pull * prior.cosines(x_ND)[:, present_C]
    weight_N = item_weights(inner_N, balanced=balanced)
    problem = _Problem(normaliser(x_ND), inner_N, weight_N, offset_NC)
    tolerance = TIGHT if problem.small else CLOSE if len(cs) == 1 else LOOSE
    heads: dict[float, LinearHead] = {}
    for c, (coef_CD, intercept_C) in zip(sorted(set(cs)), problem.path(sorted(set(cs)), tolerance), strict=True):
        head = LinearHead(c=c, names_CD=names_CD, name_weight=name_weight, balanced=balanced)
        head.normaliser, head.prior, head.pull = normaliser, prior, pull
        head.present_C, head.n_classes = present_C, n_classes
        head.coef_CD, head.intercept_C = coef_CD.astype(np.float32, order="C"), intercept_C
        heads[c] = head
    return [heads[c] for c in cs]


class _Problem:
    """The penalised log loss of N items, solved by L-BFGS in coordinates in which its Hessian is near the identity.

    With far fewer items than dims the problem is turned into the span of the items first, in which the solution lies (the penalty does
    not change under rotation). The coordinates come from the Cholesky factor of a * X'X + I / c, where a is the mean of p * (1 - p):
    some 10 to 60 steps suffice where the plain problem takes thousands.
    """

    def __init__(self, x_ND: FloatArray, y_N: IntArray, weight_N: Float64Array, offset_NC: FloatArray | None) -> None:
        self.n_classes = int(y_N.max()) + 1
        turned = 2 * len(x_ND) < x_ND.shape[1]  # with more items the turning costs more than it saves
        self.basis_DR = np.linalg.qr(x_ND.T.astype(np.float64))[0] if turned else None
        rank = len(x_ND) if turned else x_ND.shape[1]
        self.small = len(x_ND) * rank * self.n_classes <= SMALL
        dtype: type[np.floating[Any]] = np.float64 if self.small else np.float32
        self.x_NR: FloatArray = (x_ND if self.basis_DR is None else x_ND @ self.basis_DR).astype(dtype)
        self.y_N, self.rows_N = y_N, np.arange(len(y_N))
        self.weight_N = weight_N.astype(dtype)
        self.offset_NC = None if offset_NC is None else offset_NC.astype(dtype)
        weighted_NR = self.x_NR * self.weight_N[:, None]
        border_R = weighted_NR.sum(axis=0, dtype=np.float64)
        self.gram_EE = np.empty((rank + 1, rank + 1))
        self.gram_EE[:-1, :-1] = weighted_NR.T @ self.x_NR
        self.gram_EE[:-1, -1] = self.gram_EE[-1, :-1] = border_R
        self.gram_EE[-1, -1] = self.weight_N.sum(dtype=np.float64)

    def path(self, cs: Sequence[float], tolerance: float) -> list[tuple[Float64Array, Float64Array]]:
        """Coefficients (C, D) and intercepts (C,) for each of the rising `cs`."""
        solutions: list[Float64Array] = []
        found = []
        for place, c in enumerate(cs):
            start_EC = np.zeros((len(self.gram_EE), self.n_classes))
            if place == 1:
                start_EC = solutions[-1]
            elif place > 1:  # the solution moves smoothly along log c: go on as before
                step = np.log(c / cs[place - 1]) / np.log(cs[place - 1] / cs[place - 2])
                start_EC = solutions[-1] + step * (solutions[-1] - solutions[-2])
            solution_EC = self._solve(c, start_EC, tolerance)
            solutions.append(solution_EC)
            coef_CR = solution_EC[:-1].T
            coef_CD = coef_CR if self.basis_DR is None else coef_CR @ self.basis_DR.T
            found.append((coef_CD, solution_EC[-1].copy()))
        return found

    def _solve(self, c: float, start_EC: Float64Array, tolerance: float) -> Float64Array:
        from scipy.linalg import cholesky
        from scipy.optimize import minimize

        penalty = (2.0 if self.n_classes == 2 else 1.0) / c
        _, _, curvature = self._loss(start_EC, penalty)
        hessian_EE = curvature * self.gram_EE
        inner = np.arange(len(hessian_EE) - 1)
        hessian_EE[inner, inner] += penalty
        dtype = self.x_NR.dtype  # of the factor: it only shapes the steps, so float32 is as good and twice as fast
        jitter = 1e-7 if self.small else 1e-5
        hessian_EE[np.diag_indices_from(hessian_EE)] += jitter * np.trace(hessian_EE) / len(hessian_EE)
        lower_EE = cholesky(hessian_EE.astype(dtype), lower=True, overwrite_a=True, check_finite=False)
        forth_by, back_by = _halves(lower_EE)
        enough = tolerance * float(self.weight_N.sum(dtype=np.float64))
        decrement = np.inf

        def back(u: Float64Array) -> Float64Array:
            u_EC = u.reshape(start_EC.shape).astype(dtype)
            return np.asarray(back_by(u_EC), np.float64)

        def loss(u: Float64Array) -> tuple[float, Float64Array]:
            nonlocal decrement
            value, gradient_EC, _ = self._loss(back(u), penalty)
            gradient = forth_by(gradient_EC.astype(dtype)).astype(np.float64).ravel()
            decrement = float(gradient @ gradient) / 2  # about how far the value is from its least
            return value, gradient

        def stop(_: Float64Array) -> None:
            if decrement < enough:
                raise StopIteration

        start = (lower_EE.T @ start_EC).ravel()
        options = {"maxiter": MOST_STEPS, "maxcor": 10, "gtol": 0.0, "ftol": 0.0}
        return back(minimize(loss, start, jac=True, method="L-BFGS-B", callback=stop, options=options).x)

    def _loss(self, w_EC: Float64Array, penalty: float) -> tuple[float, Float64Array, float]:
        """Value, gradient (E, C), and the mean of p * (1 - p)."""
        z_NC = self.x_NR @ w_EC[:-1].astype(self.x_NR.dtype)
        z_NC += w_EC[-1].astype(z_NC.dtype)
        if self.offset_NC is not None:
            z_NC += self.offset_NC
        z_NC -= z_NC.max(axis=1, keepdims=True)
        true_N = z_NC[self.rows_N, self.y_N]
        p_NC = np.exp(z_NC, out=z_NC)
        total_N = p_NC.sum(axis=1)
        p_NC /= total_N[:, None]
        value = float((self.weight_N * (np.log(total_N) - true_N)).sum(dtype=np.float64))
        curvature = float(p_NC.mean(dtype=np.float64) - np.einsum("nc,nc->", p_NC, p_NC) / p_NC.size)
        p_NC[self.rows_N, self.y_N] -= 1
        p_NC *= self.weight_N[:, None]
        gradient_EC = np.empty_like(w_EC)
        gradient_EC[:-1] = self.x_NR.T @ p_NC
        gradient_EC[:-1] += penalty * w_EC[:-1]
        gradient_EC[-1] = p_NC.sum(axis=0, dtype=np.float64)
        return value + penalty / 2 * float((w_EC[:-1] ** 2).sum()), gradient_EC, max(curvature, 1e-6)


def _halves(lower_EE: FloatArray) -> tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]:
    """Products with the inverse of a triangular matrix and with that of its transpose: by the inverse itself where it is small, and quick."""
    from scipy.linalg import get_lapack_funcs, solve_triangular

    if len(lower_EE) <= SMALL_FACTOR:
        inverse_EE, _ = get_lapack_funcs(("trtri",), (lower_EE,))[0](lower_EE, lower=1)
        return (lambda b_EC: inverse_EE @ b_EC), (lambda b_EC: inverse_EE.T @ b_EC)
    return (
        lambda b_EC: solve_triangular(lower_EE, b_EC, lower=True, check_finite=False),
        lambda b_EC: solve_triangular(lower_EE, b_EC, lower=True, trans="T", check_finite=False),
    )
