"""Temperature and threshold: known answers, brute force, and the promised coverage in simulation.

Legend: N items, C classes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brute

from graft.heads.base import Float64Array, IntArray, log_softmax, softmax
from graft.heads.calibration import COLDEST, HOTTEST, conformal_threshold, fit_temperature


def drawn(n: int, seed: int = 0, n_classes: int = 4) -> tuple[Float64Array, IntArray]:
    """Logits, and labels with the probabilities they give."""
    rng = np.random.default_rng(seed)
    logits_NC = 2 * rng.normal(size=(n, n_classes))
    return logits_NC, (softmax(logits_NC).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 6.0])
def test_the_temperature_that_spoilt_the_logits_is_found_again(temperature: float) -> None:
    logits_NC, y_N = drawn(5000)
    assert fit_temperature(temperature * logits_NC, y_N) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize(("n", "pull"), [(6, 1.0), (6, 4.0), (80, 1.0), (80, 0.0)])
def test_the_temperature_is_that_of_brute_force(n: int, pull: float) -> None:
    logits_NC, y_N = drawn(n, seed=1)

    def loss(log_t: Float64Array) -> float:
        t = math.exp(float(log_t[0]))
        return float(-log_softmax(3 * logits_NC / t)[np.arange(n), y_N].sum() + pull / 2 * math.log(t) ** 2)

    (found,) = brute(loss, ((math.log(COLDEST), math.log(HOTTEST)),), Ns=400)  # a grid, then downhill from its best
    assert fit_temperature(3 * logits_NC, y_N, pull=pull) == pytest.approx(math.exp(found), rel=1e-3)


def test_few_items_that_are_all_right_do_not_make_it_sure_of_itself() -> None:
    logits_NC = np.eye(3) * 4
    assert fit_temperature(logits_NC, np.arange(3), pull=0) < 0.1
    assert 0.5 < fit_temperature(logits_NC, np.arange(3)) < 1
    assert fit_temperature(logits_NC[:0], np.arange(0)) == 1


def test_the_threshold_by_hand() -> None:
    """Nine items, of which four are wrong at .5, .6, .7 and .9: scores 0 0 0 0 0 .5 .6 .7 .9."""
    top_N = np.array([0.99, 0.5, 0.8, 0.9, 0.6, 0.55, 0.7, 0.95, 0.6])
    wrong_N = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0])
    p_NC = np.column_stack([top_N, 1 - top_N])
    by_hand = {0.9: 0.9, 0.8: 0.7, 0.75: 0.7, 0.7: 0.6, 0.6: 0.5}  # ranks 9, 8, 8 (7.5 up), 7, 6 of ten
    for coverage, score in by_hand.items():
        assert conformal_threshold(p_NC, wrong_N, coverage) == math.nextafter(score, 1)
    assert conformal_threshold(p_NC, wrong_N, 0.5) == 0  # rank 5: half are right anyway
    assert conformal_threshold(p_NC, wrong_N, 0.91) == 0  # rank 10 of nine: nothing can be promised
    assert conformal_threshold(p_NC[:8], wrong_N[:8], 0.9) == 0
    for coverage in (0, 1, 90):
        with pytest.raises(ValueError, match=f"coverage {coverage} "):
            conformal_threshold(p_NC, wrong_N, coverage)


@pytest.mark.parametrize(("n", "coverage"), [(19, 0.9), (40, 0.8)])
def test_wrong_answers_are_as_rare_as_promised(n: int, coverage: float) -> None:
    """Calibrated on n items, asked about one more, 3,000 times over, by a model that is much too sure of itself."""
    trials = 3000
    logits_NC, y_N = drawn(trials * (n + 1), seed=2, n_classes=3)
    p_TNC = softmax(4 * logits_NC / 3).reshape(trials, n + 1, 3)
    y_TN = y_N.reshape(trials, n + 1)
    harmed = 0
    for p_NC, true_N in zip(p_TNC, y_TN, strict=True):
        threshold = conformal_threshold(p_NC[:n], true_N[:n], coverage)
        harmed += bool(p_NC[n].max() >= threshold and p_NC[n].argmax() != true_N[n])
    noise = 3 * math.sqrt(coverage * (1 - coverage) / trials)
    assert harmed / trials <= 1 - coverage + noise
    assert harmed / trials >= 1 - coverage - 1 / (n + 1) - noise  # nor is it more timid than the formula has to be
