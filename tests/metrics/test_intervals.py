"""Intervals against published values, formulas worked by hand, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from graft.metrics.classify import ece, macro_f1
from graft.metrics.intervals import (
    bias_corrected,
    corrected_resampled_t,
    mean_interval,
    score_with_intervals,
    wilson,
)


def test_wilson_published_value() -> None:
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(successes, n)
        assert interval.value == successes / n
        assert interval.low == pytest.approx(low, abs=5e-5)
        assert interval.high == pytest.approx(high, abs=5e-5)
        assert interval.n == n


def test_wilson_at_the_ends() -> None:
    perfect = wilson(180, 180)
    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(180 / (180 + 1.959964**2))
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert nothing.low is None


def test_corrected_resampled_t_by_hand() -> None:
    # ten-fold cross-validation: ratio 1/9; variance 2.5 of 1..5, J = 5: half = t(4, .975) * sqrt((1/5 + 1/9) * 2.5)
    interval = corrected_resampled_t([1, 2, 3, 4, 5], 90, 10)
    half = 2.7764451 * math.sqrt((1 / 5 + 1 / 9) * 2.5)
    assert interval.value == 3
    assert interval.low == pytest.approx(3 - half)
    assert interval.high == pytest.approx(3 + half)
    assert interval.n == 5
    # wider than the plain interval by sqrt((1/J + ratio) / (1/J))
    plain = mean_interval([1, 2, 3, 4, 5])
    assert plain.low is not None and plain.high is not None
    assert 2 * half / (plain.high - plain.low) == pytest.approx(math.sqrt(1 + 5 / 9))


def test_mean_interval_is_students_t() -> None:
    values = np.random.default_rng(0).normal(size=12)
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert interval.low == pytest.approx(low)
    assert interval.high == pytest.approx(high)


def test_one_trial_has_no_interval() -> None:
    assert mean_interval([0.8]).low is None
    assert corrected_resampled_t([0.8], 8, 2).high is None


def test_equal_trials_have_an_interval_of_no_width() -> None:
    interval = corrected_resampled_t([0.5, 0.5, 0.5], 2, 1)
    assert interval.low == interval.high == 0.5


def test_bias_corrected_is_the_percentile_interval_without_bias() -> None:
    resampled = np.linspace(0, 1, 1001)
    low, high = bias_corrected(resampled, 0.5)
    assert low == pytest.approx(0.025, abs=1e-3)
    assert high == pytest.approx(0.975, abs=1e-3)
    # resamples that lie too high by z0 = -Φ⁻¹(.4) move both ends down by twice that on the normal scale
    low, high = bias_corrected(resampled, 0.4)
    shift = 2 * stats.norm.ppf(0.4)
    assert low == pytest.approx(stats.norm.cdf(shift - 1.959964), abs=1e-3)
    assert high == pytest.approx(stats.norm.cdf(shift + 1.959964), abs=1e-3)


def model(n: int, sharpness: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and a model's probabilities: calibrated at sharpness 1, too sure of itself above."""
    labels = rng.integers(0, 4, n)
    evidence = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    logits = 1.5 * evidence * sharpness
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize("sharpness", [1.0, 2.0])
def test_coverage_of_the_truth(sharpness: float) -> None:
    rng = np.random.default_rng(7)
    labels, probabilities = model(200_000, sharpness, rng)
    truth = {
        "macro_f1": macro_f1(labels, probabilities.argmax(1)),
        "log_loss": -np.log(probabilities[np.arange(len(labels)), labels]).mean(),
        "ece": ece(labels, probabilities),
        "accuracy": (labels == probabilities.argmax(1)).mean(),
    }
    covered = dict.fromkeys(truth, 0)
    trials = 120
    for seed in range(trials):
        scores = score_with_intervals(*model(400, sharpness, rng), seed, resamples=300)
        for name, interval in scores.items():
            assert interval.low is not None and interval.high is not None
            assert interval.low <= interval.value <= interval.high
            covered[name] += interval.low <= truth[name] <= interval.high
    assert min(covered.values()) / trials > 0.88, covered


def test_same_seed_same_interval_and_another_seed_nearly_so() -> None:
    labels, probabilities = model(300, 1.5, np.random.default_rng(0))
    first, again, other = (score_with_intervals(labels, probabilities, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first["macro_f1"].low == pytest.approx(other["macro_f1"].low, abs=0.01)


def test_no_error_still_leaves_doubt() -> None:
    labels = np.arange(60) % 3
    scores = score_with_intervals(labels, np.eye(3)[labels] * 0.97 + 0.01, 0)
    assert scores["macro_f1"].value == 1
    assert scores["macro_f1"].low == scores["accuracy"].low == pytest.approx(60 / (60 + 1.959964**2))


def test_a_single_item_has_no_bootstrap() -> None:
    scores = score_with_intervals(np.array([1]), np.array([[0.3, 0.7]]), 0)
    assert scores["log_loss"].value == pytest.approx(-math.log(0.7))
    assert scores["log_loss"].low is None
    assert scores["accuracy"].low is not None
