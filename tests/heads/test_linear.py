"""The linear probe against scikit-learn, against finite differences, and against the conditions of its optimum.

Legend: N items, D dims, E = D + 1 (the intercept is the last), C classes.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from graft.heads import linear
from graft.heads.base import Float32Array, Float64Array, IntArray, item_weights, log_softmax, softmax, spread_out
from graft.heads.linear import CALIBRATED, LinearHead, _Problem, fit_path
from graft.heads.normalise import Normaliser


def drawn(n: int, n_classes: int, n_dims: int, seed: int = 0) -> tuple[Float32Array, IntArray, Float32Array]:
    """Items around one direction a class, the first class three times as large as others, and the directions."""
    rng = np.random.default_rng(seed)
    centre_CD = rng.normal(size=(n_classes, n_dims)).astype(np.float32)
    y_N = np.maximum(np.arange(n) % (n_classes + 2) - 2, 0)
    return (centre_CD[y_N] + 1.5 * rng.normal(size=(n, n_dims))).astype(np.float32), y_N, centre_CD


def objective(head: LinearHead, x_ND: Float32Array, y_N: IntArray) -> float:
    """What the probe minimises, from its own logits; the penalty is half as heavy a weight for two classes."""
    log_p_NC = log_softmax(head.logits(x_ND)[:, head.present_C])
    weight_N = item_weights(y_N, balanced=head.balanced)
    own_N = np.searchsorted(head.present_C, y_N)
    penalty = (2 if len(head.present_C) == 2 else 1) / head.c
    squares = float((head.coef_CD.astype(np.float64) ** 2).sum())
    return float(-weight_N @ log_p_NC[np.arange(len(y_N)), own_N] + penalty / 2 * squares)


def centred(coef_C: Float64Array) -> Float64Array:
    """Less the mean over classes, which softmax does not see."""
    return np.asarray(coef_C - coef_C.mean(axis=0), np.float64)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("n", "n_classes", "n_dims"), [(90, 2, 6), (120, 4, 10), (30, 3, 50), (20, 2, 40)])
def test_the_solution_is_scikit_learns(n: int, n_classes: int, n_dims: int, balanced: bool) -> None:
    """More items than dims and fewer, two classes and more."""
    x_ND, y_N, _ = drawn(n, n_classes, n_dims)
    unit_ND = Normaliser("HCL2N").fit(x_ND)(x_ND).astype(np.float64)
    for c in (0.1, 1.0, 10.0):
        head = LinearHead(c=c, balanced=balanced).fit(x_ND, y_N, n_classes)
        reference = LogisticRegression(
            C=c, tol=1e-10, max_iter=10_000, class_weight="balanced" if balanced else None
        ).fit(unit_ND, y_N)
        coef_CD, intercept_C = reference.coef_, reference.intercept_
        if n_classes == 2:
            coef_CD, intercept_C = np.vstack([-coef_CD, coef_CD]) / 2, np.append(-intercept_C, intercept_C) / 2
        np.testing.assert_allclose(head.coef_CD, coef_CD, rtol=0, atol=2e-3)
        np.testing.assert_allclose(centred(head.intercept_C), centred(intercept_C), rtol=0, atol=2e-3)
        found = objective(head, x_ND, y_N)
        head.coef_CD, head.intercept_C = coef_CD.astype(np.float32), intercept_C
        assert found <= objective(head, x_ND, y_N) + 1e-7 * n


def test_a_large_problem_reaches_its_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved in float32 where it is large: one alone to about 1e-6 an item, those of a path to about 2e-4."""
    x_ND, y_N, names_CD = drawn(300, 6, 20)
    cs = (0.1, 1.0, 10.0)
    best = {c: LinearHead(c=c, names_CD=names_CD, balanced=True).fit(x_ND, y_N, 6) for c in cs}
    monkeypatch.setattr(linear, "SMALL", 0)
    for head in fit_path(x_ND, y_N, 6, cs=cs, names_CD=names_CD, balanced=True):
        assert objective(head, x_ND, y_N) <= objective(best[head.c], x_ND, y_N) + 1e-3 * 300
    for c in cs:
        alone = LinearHead(c=c, names_CD=names_CD, balanced=True).fit(x_ND, y_N, 6)
        assert objective(alone, x_ND, y_N) <= objective(best[c], x_ND, y_N) + 2e-5 * 300


@pytest.mark.parametrize("named", [False, True])
def test_a_path_holds_what_each_penalty_alone_gives(named: bool) -> None:
    x_ND, y_N, names_CD = drawn(80, 4, 12)
    cs = (1.0, 0.1, 30.0, 1.0, 3.0)
    for c, head in zip(cs, fit_path(x_ND, y_N, 4, cs=cs, names_CD=names_CD if named else None), strict=True):
        alone = LinearHead(c=c, names_CD=names_CD if named else None).fit(x_ND, y_N, 4)
        assert head.c == c
        np.testing.assert_allclose(softmax(head.logits(x_ND)), softmax(alone.logits(x_ND)), rtol=0, atol=1e-3)
        assert objective(head, x_ND, y_N) == pytest.approx(objective(alone, x_ND, y_N), abs=1e-7 * 80)


def test_a_path_takes_fewer_steps_than_its_penalties_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x_ND, y_N, _ = drawn(200, 5, 20)
    cs = (0.1, 0.3, 1.0, 3.0, 10.0)
    steps = []
    loss = _Problem._loss

    def counted(problem: _Problem, w_EC: Float64Array, penalty: float) -> tuple[float, Float64Array, float]:
        steps.append(penalty)
        return loss(problem, w_EC, penalty)

    monkeypatch.setattr(_Problem, "_loss", counted)
    fit_path(x_ND, y_N, 5, cs=cs)
    together = len(steps)
    for c in cs:
        LinearHead(c=c).fit(x_ND, y_N, 5)
    assert together < 0.9 * (len(steps) - together)


@pytest.mark.parametrize(("n", "n_dims"), [(40, 6), (10, 30)])
def test_the_gradient_is_the_slope_of_the_loss(n: int, n_dims: int) -> None:
    rng = np.random.default_rng(0)
    x_ND, y_N, _ = drawn(n, 3, n_dims)
    problem = _Problem(x_ND, y_N, rng.uniform(0.5, 2, n), rng.normal(size=(n, 3)))
    w_EC = rng.normal(size=(len(problem.gram_EE), 3))
    value, gradient_EC, curvature = problem._loss(w_EC, 0.7)
    slope = approx_fprime(w_EC.ravel(), lambda w: problem._loss(w.reshape(w_EC.shape), 0.7)[0], 1e-6)
    np.testing.assert_allclose(gradient_EC.ravel(), slope, rtol=1e-3, atol=1e-3)
    assert value > 0
    assert 0 < curvature <= 0.25


def test_names_of_no_weight_leave_the_plain_probe() -> None:
    x_ND, y_N, names_CD = drawn(60, 4, 12)
    named = LinearHead(names_CD=names_CD, name_weight=0.0).fit(x_ND, y_N, 4)
    np.testing.assert_allclose(named.logits(x_ND), LinearHead().fit(x_ND, y_N, 4).logits(x_ND), rtol=0, atol=1e-6)


def test_a_named_probe_is_the_optimum_of_a_penalty_around_the_names() -> None:
    """Where sum of loss + |V|^2 / (2 c) is least, X'(p - y) + V / c is zero, and p - y sums to zero over items."""
    x_ND, y_N, names_CD = drawn(70, 4, 12)
    head = LinearHead(c=3.0, names_CD=names_CD, name_weight=9.0).fit(x_ND, y_N, 4)
    assert head.prior is not None
    assert head.pull == pytest.approx(head.prior.scale * 9 / CALIBRATED)
    unit_ND = head.normaliser(x_ND).astype(np.float64)
    logits_NC = unit_ND @ head.coef_CD.T + head.intercept_C + head.pull * head.prior.cosines(x_ND)
    np.testing.assert_allclose(head.logits(x_ND), logits_NC, rtol=0, atol=1e-5)
    residual_NC = softmax(logits_NC) - np.eye(4)[y_N]
    np.testing.assert_allclose(residual_NC.T @ unit_ND + head.coef_CD / 3, 0, atol=2e-3)
    np.testing.assert_allclose(residual_NC.sum(axis=0), 0, atol=2e-3)


def test_under_a_crushing_penalty_the_names_decide() -> None:
    x_ND, y_N, names_CD = drawn(60, 4, 12)
    head = LinearHead(c=1e-6, names_CD=names_CD).fit(x_ND, y_N, 4)
    assert head.prior is not None
    named_NC = head.pull * head.prior.cosines(x_ND) + head.intercept_C
    np.testing.assert_allclose(head.logits(x_ND), named_NC, rtol=0, atol=1e-3)


def test_classes_without_examples_do_not_change_the_others() -> None:
    x_ND, y_N, _ = drawn(60, 3, 12)
    code_C = np.array([4, 0, 2])
    gaps = LinearHead().fit(x_ND, code_C[y_N], 6).logits(x_ND)
    dense_NC = LinearHead().fit(x_ND, np.argsort(np.argsort(code_C))[y_N], 3).logits(x_ND)
    np.testing.assert_allclose(gaps, spread_out(dense_NC, np.sort(code_C), 6), rtol=0, atol=1e-6)
