"""The kernel probe against scikit-learn, and its leave-one-out scores against refits without the item.

Legend: N items, D dims, C classes, S items on which the scale is set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from graft.heads import kernel
from graft.heads.base import Float32Array, Float64Array, IntArray, item_weights, log_softmax, one_hot
from graft.heads.kernel import KernelHead, fit_path, rbf
from graft.heads.normalise import Normaliser


def drawn(n: int, seed: int = 0) -> tuple[Float32Array, IntArray]:
    """Items of three classes, the first twice as large as others."""
    rng = np.random.default_rng(seed)
    y_N = np.maximum(np.arange(n) % 4 - 1, 0)
    return (2 * np.eye(3, 8)[y_N] + rng.normal(size=(n, 8))).astype(np.float32), y_N


def scores(head: KernelHead, x_ND: Float32Array) -> Float64Array:
    """f(x), of which the logits are a multiple."""
    return head.logits(x_ND) / head.scale


def test_the_kernel_is_scikit_learns() -> None:
    a_ND, b_MD = drawn(20)[0], drawn(30, seed=1)[0]
    np.testing.assert_allclose(rbf(a_ND, b_MD, 0.07), rbf_kernel(a_ND, b_MD, 0.07), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("gamma", "ridge"), [(0.3, 0.1), (1.2, 1.0)])
def test_exact_scores_are_scikit_learns(gamma: float, ridge: float, balanced: bool) -> None:
    (x_ND, y_N), (asked_ND, _) = drawn(90), drawn(30, seed=1)
    normaliser = Normaliser("HCL2N").fit(x_ND)
    weight_N = item_weights(y_N, balanced=balanced)
    mean_C = np.average(one_hot(y_N, 3), axis=0, weights=weight_N)
    reference = KernelRidge(alpha=ridge, kernel="rbf", gamma=gamma)
    reference.fit(normaliser(x_ND).astype(np.float64), one_hot(y_N, 3) - mean_C, sample_weight=weight_N)
    expected_NC = reference.predict(normaliser(asked_ND).astype(np.float64)) + mean_C
    head = KernelHead(gamma=gamma, ridge=ridge, balanced=balanced).fit(x_ND, y_N, 3)
    np.testing.assert_allclose(scores(head, asked_ND), expected_NC, rtol=0, atol=1e-4)


@pytest.mark.parametrize("solve", [kernel._solve_exactly, kernel._solve_on_landmarks])
def test_scores_left_out_are_those_of_refits_without_the_item(
    solve: Callable[..., list[kernel.Solution]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With landmarks they are left out of the regression, not of the landmarks, so those are the same in each refit."""
    monkeypatch.setattr(kernel, "LANDMARKS", 25)
    monkeypatch.setattr(kernel, "SCALED_ON", 12)
    x_ND, y_N = drawn(60)
    x_ND = Normaliser("HCL2N").fit(x_ND)(x_ND)
    weight_N = item_weights(y_N, balanced=True)
    target_NC = one_hot(y_N, 3) - np.float32(1 / 3)
    [(_, _, some_S, left_SC)] = solve(x_ND, target_NC, weight_N, 0.7, [0.3])
    assert len(some_S) == 12
    weightless = 1e-9  # an item of no weight is as good as left out
    for place, left_C in zip(some_S, left_SC, strict=True):
        without_N = weight_N.copy()
        without_N[place] = weightless
        [(point_MD, coef_MC, _, _)] = solve(x_ND, target_NC, without_N, 0.7, [0.3])
        refitted_C = (rbf(x_ND[place : place + 1], point_MD, 0.7) @ coef_MC)[0]
        np.testing.assert_allclose(left_C, refitted_C, rtol=0, atol=2e-3)


@pytest.mark.parametrize("balanced", [False, True])
def test_as_many_landmarks_as_items_give_the_exact_scores(balanced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (x_ND, y_N), (asked_ND, _) = drawn(80), drawn(30, seed=1)
    settings = ((0.3, 0.5), (0.9, 0.1), (0.3, 0.1))
    exact = fit_path(x_ND, y_N, 3, settings=settings, balanced=balanced)
    monkeypatch.setattr(kernel, "MOST_EXACT", 79)
    monkeypatch.setattr(kernel, "BLOCK", 32)
    for head, near in zip(exact, fit_path(x_ND, y_N, 3, settings=settings, balanced=balanced), strict=True):
        np.testing.assert_allclose(scores(near, asked_ND), scores(head, asked_ND), rtol=0, atol=2e-3)
        assert near.scale == pytest.approx(head.scale, rel=0.01)


def test_half_the_items_as_landmarks_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    (x_ND, y_N), (asked_ND, _) = drawn(400), drawn(200, seed=1)
    exact = KernelHead().fit(x_ND, y_N, 3)
    monkeypatch.setattr(kernel, "MOST_EXACT", 100)
    monkeypatch.setattr(kernel, "LANDMARKS", 200)
    near = KernelHead().fit(x_ND, y_N, 3)
    assert len(near.point_MD) == 200
    same = near.logits(asked_ND).argmax(axis=1) == exact.logits(asked_ND).argmax(axis=1)
    assert same.mean() > 0.97


def test_a_path_holds_what_each_setting_alone_gives() -> None:
    x_ND, y_N = drawn(70)
    settings = ((0.9, 0.1), (0.3, 0.5), (0.9, 0.5), (0.9, 0.1))
    for (gamma, ridge), head in zip(settings, fit_path(x_ND, y_N, 3, settings=settings), strict=True):
        alone = KernelHead(gamma=gamma, ridge=ridge).fit(x_ND, y_N, 3)
        assert (head.gamma, head.ridge) == (gamma, ridge)
        np.testing.assert_allclose(head.logits(x_ND), alone.logits(x_ND), rtol=1e-5, atol=1e-5)


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    (x_ND, y_N), (asked_ND, _) = drawn(70), drawn(50, seed=1)
    whole_NC = KernelHead().fit(x_ND, y_N, 3).logits(asked_ND)
    monkeypatch.setattr(kernel, "BLOCK", 16)
    np.testing.assert_allclose(KernelHead().fit(x_ND, y_N, 3).logits(asked_ND), whole_NC, rtol=1e-4, atol=1e-4)


def test_the_scale_makes_probabilities_of_new_items_honest() -> None:
    (x_ND, y_N), (asked_ND, true_N) = drawn(200), drawn(2000, seed=1)
    head = KernelHead().fit(x_ND, y_N, 3)

    def log_loss(factor: float) -> float:
        return float(-log_softmax(factor * head.logits(asked_ND))[np.arange(2000), true_N].mean())

    assert log_loss(1) < min(log_loss(0.5), log_loss(2))
    assert log_loss(1) < min(log_loss(f) for f in np.geomspace(0.3, 3, 30)) + 0.01
