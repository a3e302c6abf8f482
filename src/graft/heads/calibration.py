"""Temperature scaling and the threshold of abstention."""

from __future__ import annotations

import numpy as np

from graft.heads.base import FloatArray, IntArray, log_softmax


def fit_temperature(logits_NC: FloatArray, y_N: IntArray) -> float:
    """T > 0 that minimises the log loss of softmax(logits / T) (Guo et al. 2017), found between 0.02 and 50."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(y_N))
    found = minimize_scalar(
        lambda t: -log_softmax(logits_NC / np.exp(t))[rows, y_N].mean(), bounds=(np.log(0.02), np.log(50)), method="bounded"
    )
    return float(np.exp(found.x))


def conformal_threshold(p_NC: FloatArray, y_N: IntArray, coverage: float = 0.9) -> float:
    """Split conformal quantile of the true class's probability: at least `coverage` of new items give their true class this much."""
    n = len(y_N)
    p_N = np.sort(p_NC[np.arange(n), y_N])
    k = int(np.floor((n + 1) * (1 - coverage)))
    return float(p_N[k - 1]) if k >= 1 else 0.0
