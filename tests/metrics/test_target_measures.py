"""Measures of numbers, counts, ordered levels and sets of labels against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.metrics import targets as t

F = np.float64


def test_numbers_by_hand() -> None:
    y, p = np.array([1.0, 2, 3, 6]), np.array([1.0, 3, 3, 4])
    scores = t.number_scores(y, p, 0)
    assert scores["mae"].value == pytest.approx(0.75)
    assert scores["rmse"].value == pytest.approx(math.sqrt(5 / 4)) == t.rmse(y, p)
    assert scores["r2"].value == pytest.approx(1 - 5 / 14)  # squares around the mean 3: 4 + 1 + 0 + 9
    assert all(s.n == 4 and (s.low or 0) <= s.value <= (s.high or 0) for s in scores.values())


def test_numbers_of_any_size_keep_their_r2() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    p = y + rng.normal(size=50)
    small, large = t.number_scores(y, p, 0), t.number_scores(1e9 + 1e12 * y, 1e9 + 1e12 * p, 0)
    assert large["r2"].value == pytest.approx(small["r2"].value)
    assert large["rmse"].high == pytest.approx(1e12 * (small["rmse"].high or 0), rel=1e-3)


def test_alike_items_have_no_r2() -> None:
    scores = t.number_scores(np.full(5, 2.0), np.arange(5.0), 0)
    assert math.isnan(scores["r2"].value)
    assert scores["r2"].low is None
    assert scores["mae"].value == pytest.approx(1.2)


def test_counts_by_hand() -> None:
    y, rate = np.array([0.0, 1, 4]), np.array([1.0, 1, 2])
    wanted = [2 * 1, 0, 2 * (4 * math.log(2) - 2)]  # 2 (y ln(y / rate) - y + rate)
    assert t.deviances(y, rate) == pytest.approx(wanted)
    scores = t.count_scores(y, rate, 0)
    mean = 5 / 3
    null = 2 * (math.log(1 / mean) + 4 * math.log(4 / mean))
    assert scores["poisson_deviance"].value == pytest.approx(sum(wanted) / 3) == t.poisson_deviance(y, rate)
    assert scores["d2"].value == pytest.approx(1 - sum(wanted) / null)
    assert scores["mae"].value == pytest.approx(1.0)


@pytest.mark.parametrize("level", [10.0, 1e5, 1e9])
def test_d2_of_counts_that_differ_by_chance_alone(level: float) -> None:
    """A rate that is nearly the mean explains nothing, however large the counts: sums of y ln y in float32 had no digit left for it."""
    y = level + math.sqrt(level) * np.random.default_rng(0).normal(size=300)
    d2 = t.count_scores(y.round().clip(0), np.full(300, level), 0)["d2"]
    assert d2.low is not None and d2.high is not None
    assert -0.05 < d2.low <= d2.value <= d2.high < 0.05


def test_ranked_probability_score_by_hand() -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    # cuts: P(<=0), P(<=1) less whether the true level lies at or below
    wanted = [(0.8**2 + 0.3**2) / 2, (0.2**2 + 0.7**2) / 2, 0.0]
    assert t.ranked_scores(np.array([0, 2, 2]), p) == pytest.approx(wanted)
    assert t.ranked_probability_score(np.array([0, 2, 2]), p) == pytest.approx(sum(wanted) / 3)
    assert t.median_ranks(p).tolist() == [1, 1, 2]


def test_kappa_by_hand() -> None:
    counts = np.array([[2.0, 1, 0], [0, 2, 0], [1, 0, 2]])
    # weighted disagreement: one pair at distance 1, one at distance 2 -> 1 + 4; by chance: sum row_i col_j (i - j)² / 8
    rows, columns = [3, 2, 3], [3, 3, 2]
    chance = sum(rows[i] * columns[j] * (i - j) ** 2 for i in range(3) for j in range(3)) / 8
    assert t.kappa(counts) == pytest.approx(1 - 5 / chance)
    assert t.kappa(np.eye(3)) == pytest.approx(1)
    assert t.kappa(np.ones((3, 3))) == pytest.approx(0)
    assert math.isnan(t.kappa(np.diag([4.0, 0, 0])))


def test_ordinal_scores_agree_with_their_parts() -> None:
    ranks, p = np.array([0, 2, 1]), np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    scores = t.ordinal_scores(ranks, p, 0)
    assert scores["accuracy"].value == pytest.approx(2 / 3)
    assert scores["rank_error"].value == pytest.approx(1 / 3)
    assert scores["rps"].value == pytest.approx(1 / 6)
    assert scores["kappa"].value == pytest.approx(t.kappa(np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])))


def test_average_precision_by_hand() -> None:
    y = np.array([1.0, 0, 1, 0])
    assert t.average_precision(y, np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1 + 2 / 3) / 2)
    assert t.average_precision(y, np.full(4, 0.5)) == pytest.approx(0.5)  # one step: precision of all items
    assert math.isnan(t.average_precision(np.zeros(4), np.arange(4.0)))


def test_average_precision_as_scikit_learn_has_it() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    y, p = (rng.random(80) < 0.3).astype(F), rng.random(80).round(1)
    assert t.average_precision(y, p) == pytest.approx(average_precision_score(y, p))


def test_label_scores_by_hand() -> None:
    y = np.array([[1.0, 0], [1, 1], [0, 0]])
    p = np.array([[0.9, 0.6], [0.2, 0.8], [0.1, 0.3]])
    scores = t.label_scores(y, p, np.array([0.5, 0.5]), 0)
    assert scores["micro_f1"].value == pytest.approx(2 * 2 / (3 + 3))
    assert scores["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores["hamming"].value == pytest.approx(2 / 6)
    losses = [0.9, 0.4, 0.2, 0.8, 0.9, 0.7]
    assert scores["log_loss"].value == pytest.approx(-sum(map(math.log, losses)) / 6)
    assert scores["average_precision"].value == pytest.approx(1.0)


def test_one_item_has_no_interval() -> None:
    assert t.count_scores(np.array([2.0]), np.array([1.0]), 0)["mae"].low is None
    assert t.label_scores(np.ones((1, 1)), np.ones((1, 1)), np.array([0.5]), 0)["average_precision"].low is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """R² of a known model on 40 items: the bootstrap's 95 % interval holds it in most of 60 draws."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(60):
        signal = rng.normal(size=40)
        scores = t.number_scores(signal + rng.normal(size=40), signal, seed)
        low, high = scores["r2"].low, scores["r2"].high
        assert low is not None and high is not None
        held += low <= 0.5 <= high
    assert held >= 50
