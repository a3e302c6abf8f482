"""Distances of samples against answers that are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest
from sklearn.covariance import oas
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from graft.metrics.shift import Discrimination, chance_auc, class_shares, discriminate, mmd, p_value, shrunk

Floats = NDArray[np.float64]


def two(n: int, m: int, *, apart: float = 0.0, dim: int = 4, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    x_ND = draw.normal(size=(n + m, dim))
    second_N = np.arange(n + m) >= n
    x_ND[second_N, 0] += apart
    return x_ND, second_N


def told(
    x_ND: Floats, second_N: NDArray[np.bool_], cluster_N: NDArray[np.int64] | None = None, **how: int
) -> Discrimination:
    clusters = np.arange(len(x_ND)) if cluster_N is None else cluster_N
    found = discriminate(x_ND, second_N, clusters, np.random.default_rng([how.pop("seed", 0), 1]), **how)
    assert found is not None
    return found


def test_disjoint_samples_are_two_apart() -> None:
    found = told(*two(60, 80, apart=40.0))
    assert (found.a_distance.value, found.auc.value, found.mcc, found.error.value) == (2.0, 1.0, 1.0, 0.0)
    assert found.a_distance.low is not None and 1.7 < found.a_distance.low < 2
    assert found.auc.low is not None and 0.9 < found.auc.low < 1
    assert found.p == 1 / 200


def test_identical_samples_are_not_apart() -> None:
    """Each item stands in both samples, in one fold with its twin: the classifier has nothing to go by."""
    x_ND, _ = two(100, 0)
    found = told(np.concatenate([x_ND, x_ND]), np.arange(200) >= 100, np.tile(np.arange(100), 2))
    assert found.auc.value == pytest.approx(0.5, abs=0.02)
    assert found.a_distance.value <= 0.1
    assert found.p > 0.05


def test_items_that_are_all_alike_cannot_be_told() -> None:
    found = told(np.ones((40, 3)), np.arange(40) >= 20)
    assert (found.auc.value, found.p) == (0.5, 1.0)
    assert discriminate(np.ones((40, 3)), np.arange(40) >= 20, np.zeros(40, np.int64), np.random.default_rng(0)) is None


def test_a_shift_of_one_deviation_has_the_error_of_theory() -> None:
    """Two normal samples a distance of 2 apart: error Φ(-1), AUC Φ(√2)."""
    found = told(*two(4000, 4000, apart=2.0), permutations=19)
    assert found.error.value == pytest.approx(0.1587, abs=0.012)
    assert found.auc.value == pytest.approx(0.9214, abs=0.008)
    assert found.auc.low is not None and found.auc.high is not None
    assert found.auc.low < 0.9214 < found.auc.high


def test_figures_agree_with_scikit_learn() -> None:
    x_ND, second_N = two(70, 30, apart=1.0)
    found = told(x_ND, second_N)
    answered = found.scores_N > 0
    assert found.mcc == pytest.approx(matthews_corrcoef(second_N, answered))
    assert found.accuracy == pytest.approx(np.mean(answered == second_N))
    assert found.majority == 0.7
    assert found.auc.value == pytest.approx(roc_auc_score(second_N, found.scores_N), abs=0.03)  # ours within folds


def test_the_null_refits_the_classifier() -> None:
    """A labelling of the null, given as the truth, has the AUC that the null says: each one is a classifier of its own."""
    x_ND, second_N = two(30, 30, apart=0.8)
    best = told(x_ND, second_N, permutations=3)
    assert best.null.shape == (3,)
    assert best.auc.value > best.null.max() + 0.05


def test_p_values_are_uniform_under_the_null() -> None:
    found = [told(*two(24, 36, dim=3, seed=seed), permutations=39, seed=seed).p for seed in range(80)]
    assert kstest(found, "uniform").statistic < 0.19
    assert np.mean(np.array(found) <= 0.05) <= 0.12
    kernel = []
    for seed in range(80):
        x_ND, second_N = two(20, 25, dim=3, seed=seed)
        value = mmd(x_ND, second_N, np.arange(45), np.random.default_rng([seed, 1]), permutations=39)
        assert value is not None
        kernel.append(value.p)
    assert kstest(kernel, "uniform").statistic < 0.19


def test_clusters_are_dealt_together() -> None:
    """Ten items in eight copies each a sample: taken one by one they are told apart by luck, as clusters they are not."""
    alone, kept = [], []
    for seed in range(12):
        x_ND, _ = two(20, 0, dim=6, seed=seed)
        x_ND, second_N = np.repeat(x_ND, 8, axis=0), np.repeat(np.arange(20) >= 10, 8)
        alone.append(told(x_ND, second_N, permutations=19, seed=seed).p)
        kept.append(told(x_ND, second_N, np.repeat(np.arange(20), 8), permutations=19, seed=seed).p)
    assert np.mean(np.array(alone) <= 0.05) > 0.9
    assert np.mean(np.array(kept) <= 0.05) < 0.2


def test_five_items_against_many() -> None:
    same = told(*two(5, 2000))
    assert same.sizes == (5, 2000)
    assert same.p > 0.05
    assert told(*two(5, 2000, apart=9.0)).p == 1 / 200


def test_p_value_counts_itself_and_ties() -> None:
    assert p_value(1.0, np.zeros(99)) == 0.01
    assert p_value(0.0, np.zeros(99)) == 1.0
    assert p_value(0.5, np.array([0.1, 0.5, 0.9])) == 0.75


def test_shrinkage_is_that_of_scikit_learn() -> None:
    """Which leaves out the terms that vanish with many dimensions."""
    x_ND = np.random.default_rng(0).normal(size=(30, 80)) * np.arange(1, 81.0)
    x_ND -= x_ND.mean(0)
    expected, _ = oas(x_ND, assume_centered=True)
    found = shrunk(x_ND.T @ x_ND / 30, 30, 80)
    assert np.trace(found) == pytest.approx(np.trace(expected))
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=1e-3 * expected.max())


def test_few_items_of_many_dims_have_the_scores_they_have_among_all_dims(monkeypatch: pytest.MonkeyPatch) -> None:
    x_ND, second_N = two(30, 20, apart=3.0, dim=300)
    x_ND[:, 7] = 5.0
    x_ND = np.concatenate([x_ND, x_ND[:4]])
    second_N = np.concatenate([second_N, ~second_N[:4]])
    clusters = np.concatenate([np.arange(50), np.arange(4)])
    turned = told(x_ND, second_N, clusters, permutations=9)
    with monkeypatch.context() as patched:  # a basis of all dims: nothing is turned
        patched.setattr(np.linalg, "qr", lambda x_DN: (np.eye(len(x_DN), dtype=np.float32), None))
        whole = told(x_ND, second_N, clusters, permutations=9)
    np.testing.assert_allclose(turned.scores_N, whole.scores_N, rtol=1e-4, atol=1e-5 * np.abs(whole.scores_N).max())
    assert (turned.auc, turned.p, turned.wrong) == (whole.auc, whole.p, whole.wrong)
    np.testing.assert_array_equal(turned.scores_N[:4], turned.scores_N[50:])  # copies are told apart by nothing


def test_mmd_is_that_of_a_double_loop() -> None:
    x_ND, second_N = two(7, 9, apart=1.0)
    found = mmd(x_ND, second_N, np.arange(16), np.random.default_rng(0), permutations=5)
    assert found is not None
    distances = [math.dist(x_ND[i], x_ND[j]) for i, j in itertools.combinations(range(16), 2)]
    assert found.width == pytest.approx(np.median(distances), rel=1e-4)

    def k(i: int, j: int) -> float:
        return math.exp(-(math.dist(x_ND[i], x_ND[j]) ** 2) / (2 * found.width**2))

    total = 0.0
    for i in range(16):
        for j in range(16):
            if i != j and second_N[i] == second_N[j]:
                n = 9 if second_N[i] else 7
                total += k(i, j) / (n * (n - 1))
            elif second_N[i] != second_N[j]:
                total -= k(i, j) / (7 * 9)
    assert found.value == pytest.approx(total, abs=1e-5)


def test_mmd_of_one_item_is_none_and_of_copies_nothing() -> None:
    assert mmd(np.ones((3, 2)), np.array([True, False, False]), np.arange(3), np.random.default_rng(0)) is None
    alike = mmd(np.ones((8, 2)), np.arange(8) >= 4, np.arange(8), np.random.default_rng(0))
    assert alike is not None
    assert (alike.value, alike.p) == (0.0, 1.0)


def test_class_shares_of_a_confusion_made_by_hand() -> None:
    """Of 0.9 right a class, 100 items of true shares .2 / .8 are answered 0.9 * .2 + .1 * .8 = 26 and 74 times."""
    found = class_shares(np.array([[90, 10], [10, 90]]), np.array([26, 74]), 100, np.random.default_rng(0))
    np.testing.assert_allclose(found.share, [0.2, 0.8], atol=1e-12)
    assert (found.low < found.share).all() and (found.share < found.high).all()
    assert found.condition == pytest.approx(1 / 0.8)


def test_class_shares_of_a_few_items_that_are_all_taken_for_one_class_are_not_sure() -> None:
    """Of true shares .8 / .2 five items are all of the first class in a third of cases: that says little of the second."""
    found = class_shares(np.array([[50, 0], [0, 50]]), np.array([5, 0]), 5, np.random.default_rng(0))
    np.testing.assert_allclose(found.share, [1.0, 0.0], atol=1e-12)
    assert found.low[0] < 0.8 and found.high[0] == pytest.approx(1.0)
    assert found.high[1] > 0.2 and found.low[1] == pytest.approx(0.0)


def test_class_shares_never_leave_the_simplex_and_a_blind_classifier_is_ill_conditioned() -> None:
    found = class_shares(np.array([[50, 50], [49, 51]]), np.array([0, 100]), 100, np.random.default_rng(0))
    assert found.condition > 50
    assert found.share.sum() == pytest.approx(1)
    assert found.share.min() >= 0
    assert found.high[0] - found.low[0] > 0.5


def test_what_chance_reaches() -> None:
    assert chance_auc(5, 5) == pytest.approx(0.5 + 1.959964 * math.sqrt(11 / 300))
    assert chance_auc(1, 2) == 1.0
    assert chance_auc(257, 257) < 0.55 < chance_auc(256, 256)
    draw = np.random.default_rng(0)
    ranks_B10 = draw.permuted(np.tile(np.arange(1, 31), (4000, 1)), axis=1)[:, :10]
    assert np.mean((ranks_B10.sum(1) - 55) / 200 >= chance_auc(10, 20)) == pytest.approx(0.025, abs=0.01)


def test_ties_alone_know_nothing() -> None:
    """Five items beside themselves, one pair a fold: nothing is spread, and the interval is that of chance."""
    x_ND = np.repeat(np.random.default_rng(0).normal(size=(1, 5, 3)), 2, axis=0).reshape(10, 3)
    found = told(x_ND, np.arange(10) >= 5, np.tile(np.arange(5), 2))
    assert (found.auc.value, found.null.max()) == (0.5, 0.5)
    assert found.auc.high == pytest.approx(chance_auc(5, 5))
    assert found.auc.low == pytest.approx(1 - chance_auc(5, 5))
