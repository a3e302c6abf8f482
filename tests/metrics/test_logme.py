"""LogME against the evidence written out and maximised directly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from graft.metrics.logme import logme

RNG = np.random.default_rng(0)


def direct(x_ND: np.ndarray, y_N: np.ndarray) -> float:
    """Mean over classes of max over alpha, beta of log N(target; 0, I / beta + X X' / alpha) / N."""
    found = []
    for code in np.unique(y_N):
        target = (y_N == code).astype(float)

        def loss(logs: np.ndarray, target: np.ndarray = target) -> float:
            covariance = np.exp(-logs[1]) * np.eye(len(x_ND)) + np.exp(-logs[0]) * x_ND @ x_ND.T
            size = np.linalg.slogdet(2 * np.pi * covariance)[1]
            return float(size + target @ np.linalg.solve(covariance, target)) / (2 * len(x_ND))

        tight = {"ftol": 1e-15, "gtol": 1e-10}
        runs = [minimize(loss, start, bounds=[(-8, 16)] * 2, options=tight) for start in ([0.0, 1.0], [3.0, 2.0])]
        found.append(-min(run.fun for run in runs))
    return float(np.mean(found))


@pytest.mark.parametrize(("items", "dims"), [(30, 6), (20, 14), (12, 30)])
def test_it_is_the_largest_evidence(items: int, dims: int) -> None:
    y_N = RNG.permutation(np.arange(items) % 3)
    x_ND = RNG.normal(size=(items, dims)) + np.eye(3, dims)[y_N]
    assert logme(x_ND, y_N) == pytest.approx(direct(x_ND, y_N), abs=1e-5)


def test_more_fitting_vectors_score_higher_whatever_their_dims() -> None:
    y_N = np.arange(120) % 4
    scores = [logme(RNG.normal(size=(120, 50)) + apart * np.eye(4, 50)[y_N], y_N) for apart in (0.0, 1.0, 3.0)]
    assert scores == sorted(scores)
    wider = np.hstack([RNG.normal(size=(120, 20)) + 3 * np.eye(4, 20)[y_N], np.zeros((120, 500))])
    assert logme(wider, y_N) > scores[0]
    assert logme(wider, y_N) == pytest.approx(logme(wider[:, :20], y_N), abs=1e-6)  # dims that say nothing cost nothing


def test_repeated_items_and_one_class_have_a_value() -> None:
    assert np.isfinite(logme(np.ones((6, 4)), np.array([0, 1, 0, 1, 0, 1])))
    assert np.isfinite(logme(RNG.normal(size=(5, 8)), np.zeros(5, int)))
    with pytest.raises(ValueError, match="2 vectors and 3 labels"):
        logme(np.ones((2, 3)), np.array([0, 1, 0]))


def test_the_order_of_items_and_the_names_of_classes_are_nothing_to_it() -> None:
    y_N = np.arange(30) % 3
    x_ND = RNG.normal(size=(30, 8))
    order = RNG.permutation(30)
    assert logme(x_ND[order], 7 - y_N[order]) == pytest.approx(logme(x_ND, y_N), abs=1e-9)


def test_vectors_of_zeros_say_what_no_vectors_say() -> None:
    """All is noise: indicators of two halves have mean square 1/2, so the evidence an item is that of N(0, 1/2)."""
    assert logme(np.zeros((10, 4)), np.arange(10) % 2) == pytest.approx((np.log(2) - np.log(2 * np.pi) - 1) / 2)
