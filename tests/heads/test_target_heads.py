"""Heads that answer numbers, counts, levels and sets of labels, against closed forms and reference values."""

from __future__ import annotations

import json

import numpy as np
import pytest

from graft.heads import conformal, multilabel, ordinal, poisson, ridge
from graft.heads.base import TargetHead
from graft.heads.constant import ConstantHead
from graft.heads.neighbours import mean_path
from graft.metrics.targets import interval_scores

# A small table. The reference values below are those of statsmodels 0.15.0 (numpy 2.4), made once:
#   sm.GLM(COUNTS, sm.add_constant(X), family=sm.families.Poisson()).fit(tol=1e-12).params
#   OrderedModel(RANKS, X, distr="logit").fit(method="bfgs", gtol=1e-10, maxiter=2000); thresholds by transform_threshold_params
X = np.array(
    [[0.5, 1.2], [1.5, -0.3], [-0.7, 0.8], [2.1, 0.1], [0.3, -1.4], [-1.2, 0.4], [0.9, 0.9], [1.8, -1.1], [-0.4, -0.6],
     [0.1, 1.7], [-1.6, -0.9], [1.1, 0.2]]
)  # fmt: skip
COUNTS = np.array([2.0, 5, 1, 7, 1, 0, 3, 4, 1, 3, 0, 2])
RANKS = np.array([1, 2, 0, 2, 1, 0, 1, 2, 0, 1, 1, 1])
GLM = [0.8926485595005875, 0.3092140670373642, 0.0963559862806055]  # two coefficients, the constant
ORDERED = [2.9320085027533187, -1.056528779283113], [-2.1639150666525833, 4.047773015962093]


def test_poisson_as_statsmodels_has_it() -> None:
    assert poisson.solve(X, COUNTS, 0.0) == pytest.approx(GLM, abs=2e-5)


def test_ordinal_as_statsmodels_has_it() -> None:
    coef, cuts = ordinal.solve(X, RANKS, 0.0)
    assert coef == pytest.approx(ORDERED[0], abs=5e-4)
    assert cuts == pytest.approx(ORDERED[1], abs=5e-4)


def test_two_levels_are_logistic_regression() -> None:
    """With K = 2 the model is a logistic regression: one label of the one-vs-rest head gives the same."""
    coef, cuts = ordinal.solve(X, (RANKS > 0).astype(np.int64), 0.5)
    other = multilabel.solve(X, (RANKS > 0).astype(np.float64)[:, None], 0.5, start=np.zeros((1, 3)))
    assert coef == pytest.approx(other[0, :2], abs=1e-4)
    assert -cuts[0] == pytest.approx(other[0, 2], abs=1e-4)


@pytest.mark.parametrize("items", [12, 2])
def test_ridge_in_closed_form(items: int) -> None:
    """(X'X + alpha I)^-1 X'y on centred data, whichever of the two products is decomposed."""
    x, y = X[:items], np.column_stack([COUNTS, RANKS])[:items]
    x = np.column_stack([x, x[:, 0] * x[:, 1]])
    centred, target = x - x.mean(axis=0), y - y.mean(axis=0)
    wanted = np.linalg.inv(centred.T @ centred + 0.7 * np.eye(3)) @ centred.T @ target
    (coef, intercept), _ = ridge.solve(x, y, [0.7, 1.0])
    assert coef == pytest.approx(wanted)
    assert intercept == pytest.approx(y.mean(axis=0) - x.mean(axis=0) @ wanted)


def test_ridge_by_hand() -> None:
    """x = -1, 1 and y = 0, 2: slope 2 / (2 + alpha)."""
    ((coef, intercept),) = ridge.solve(np.array([[-1.0], [1.0]]), np.array([[0.0], [2.0]]), [2.0])
    assert (coef[0, 0], intercept[0]) == (pytest.approx(0.5), pytest.approx(1.0))


def vectors(n: int = 60, dims: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dims)).astype(np.float32)
    return x, x[:, 0].astype(np.float64)


def heads() -> list[TargetHead]:
    x, signal = vectors()
    levels = np.eye(4)[np.digitize(signal, [-1, 0, 1])]
    labels = np.column_stack([signal > 0, signal > 1, signal > -9]).astype(np.float64)
    return [
        ConstantHead(shares=True).fit(labels),
        *mean_path(x, levels, levels.mean(axis=0), ks=(3,)),
        *ridge.fit_path(x, signal[:, None], alphas=[1.0]),
        *ridge.fit_path(x, signal[:, None], alphas=[1.0], normalisation="CSN"),
        *poisson.fit_path(x, np.round(np.exp(1 + signal))[:, None], alphas=[1.0, 0.1]),
        *poisson.fit_path(x, np.round(np.exp(1 + signal))[:, None], alphas=[1.0], normalisation="CSN"),
        *ordinal.fit_path(x, levels, alphas=[1.0, 0.1]),
        *multilabel.fit_path(x, labels, alphas=[1.0, 0.1]),
    ]


@pytest.mark.parametrize("head", heads(), ids=lambda head: type(head).__name__)
def test_a_state_rebuilds_the_head(head: TargetHead) -> None:
    arrays, config = head.state()
    again = type(head).from_state(arrays, json.loads(json.dumps(config)))
    x, _ = vectors(9)
    assert np.isfinite(head.predict(x)).all()
    assert (again.predict(x) == head.predict(x)).all()


def test_probabilities_of_levels_sum_to_one_and_absent_levels_get_none() -> None:
    x, signal = vectors()
    levels = np.eye(5)[np.digitize(signal, [-1, 0, 1])]  # the fifth level has no example
    (head,) = ordinal.fit_path(x, levels, alphas=[0.1])
    p = head.predict(x)
    assert p.sum(axis=1) == pytest.approx(1)
    assert not p[:, 4].any()
    assert np.corrcoef(p @ np.arange(5), signal)[0, 1] > 0.8
    (alone,) = ordinal.fit_path(x, np.eye(5)[np.full(len(x), 2)], alphas=[0.1])
    assert (alone.predict(x)[:, 2] == 1).all()


def test_rates_stay_finite_far_away_and_for_rare_counts() -> None:
    x, _ = vectors()
    rare = np.zeros((60, 1))
    rare[0] = 1
    (head,) = poisson.fit_path(x, rare, alphas=[1e-6])
    rates = head.predict(100 * x)
    assert np.isfinite(rates).all()
    assert (rates > 0).all()


def test_a_label_all_items_have_is_answered_by_its_rate() -> None:
    x, signal = vectors()
    (head,) = multilabel.fit_path(x, np.column_stack([np.ones(60), signal > 0]), alphas=[0.1])
    p = head.predict(x)
    assert p[:, 0] == pytest.approx(60.5 / 61)
    assert ((p[:, 1] > 0.5) == (signal > 0)).mean() > 0.85


def test_neighbours_mean_by_hand() -> None:
    x = np.array([[1.0, 0], [0.9, 0.1], [-1, 0], [0, -1]], np.float32)
    (head,) = mean_path(x, np.array([[4.0], [4], [1], [1]]), np.array([2.5]), ks=(2,))
    assert head.predict(np.array([[1.0, 0.05]], np.float32))[0, 0] == pytest.approx((2 * 4 + 2.5) / 3)


def test_thresholds_with_the_best_f1() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    y = np.array([1.0, 1, 1, 0, 1, 1, 0, 0])
    found = multilabel.thresholds(np.column_stack([y, y * (p > 0.6)]), np.column_stack([p, p]))
    assert found[0] == pytest.approx(0.35)  # F1 10 / 11 with six answered; 6 / 8 with three
    assert found[1] == 0.5  # three positive items are too few


def test_the_reach_is_an_order_statistic() -> None:
    scores = np.array([5.0, 1, 4, 2, 3, 9, 8, 7, 6])
    assert conformal.reach(scores, 0.9) == 9
    assert conformal.reach(scores, 0.5) == 5
    assert conformal.reach(scores, 0.95) is None


def test_a_spread_by_hand() -> None:
    """Scores 1 at the level 0 and 4 at the level 10: twice as wide at one end as halfway, half as wide at the other, and not beyond either."""
    spread = conformal.fit_spread(np.array([0.0, 10, 0, 10]), np.array([1.0, 4, 1, 4]))
    assert spread.slope == pytest.approx(np.log(4), abs=1e-5)
    assert spread(np.array([-5.0, 0, 5, 10, 99])) == pytest.approx([0.5, 0.5, 1, 2, 2], rel=1e-5)
    assert (
        conformal.fit_spread(np.full(9, 3.0), np.arange(9.0))(np.array([3.0])) == 1
    )  # all answers alike: as wide everywhere


def test_the_interval_score_by_hand() -> None:
    found = interval_scores(np.array([1.0, 5, -1]), np.zeros(3), np.full(3, 4.0), 0.8)
    assert found.tolist() == pytest.approx([4, 4 + 10, 4 + 10])


@pytest.mark.parametrize("task", ["number", "count", "level"])
def test_coverage_on_simulated_data(task: str) -> None:
    """Over 200 draws of 50 calibration items, intervals at 80 % hold the truth of new items in 80 % or, where it is discrete, more."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(200):
        signal = rng.normal(size=250)
        if task == "number":
            y = signal + rng.standard_t(3, size=250)
            far = conformal.reach(conformal.number_misses(y[:50], signal[:50]), 0.8)
            low, high = conformal.number_interval(signal[50:], far or 0)
        elif task == "count":
            rate = np.exp(1 + signal)
            y = rng.poisson(rate * rng.gamma(3, 1 / 3, size=250)).astype(np.float64)  # more spread than Poisson
            far = conformal.reach(conformal.count_misses(y[:50], rate[:50]), 0.8)
            low, high = conformal.count_interval(rate[50:], far or 0)
        else:
            cut = 1 / (1 + np.exp(-(np.array([-1.5, 0, 1.5]) - signal[:, None])))
            p = np.diff(np.column_stack([np.zeros(250), cut, np.ones(250)]), axis=1)
            y = (rng.random(250)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).clip(max=3).astype(np.float64)
            far = conformal.reach(conformal.level_misses(y[:50].astype(np.int64), p[:50]), 0.8)
            low_N, high_N = conformal.level_interval(p[50:], far or 0)
            low, high = low_N.astype(np.float64), high_N.astype(np.float64)
        held.append(((low <= y[50:]) & (y[50:] <= high)).mean())
    assert 0.79 <= np.mean(held) <= (0.83 if task == "number" else 0.93)
