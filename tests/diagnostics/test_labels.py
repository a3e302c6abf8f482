"""Confident learning: the joint worked out by hand, the ranking, and planted errors found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.diagnostics.labels import class_thresholds, confident_joint, doubtful, in_whole_items, suspects

# Four items labelled 0 and three labelled 1. Thresholds: t_0 = (.9 + .8 + .35 + .5) / 4 = .6375, t_1 = (.9 + .7 + .2) / 3 = .6.
# Confident of 0: items 0, 1, 6; of 1: items 2, 4, 5; of none: item 3. Counts [[2, 1], [1, 2]]; row 0 is scaled to four items.
P_OF_0 = np.array([0.9, 0.8, 0.35, 0.5, 0.1, 0.3, 0.8])
P_NC = np.stack([P_OF_0, 1 - P_OF_0], axis=1)
Y_N = np.array([0, 0, 0, 0, 1, 1, 1])


def test_thresholds_and_joint_worked_by_hand() -> None:
    np.testing.assert_allclose(class_thresholds(P_NC, Y_N), [0.6375, 0.6])
    np.testing.assert_allclose(confident_joint(P_NC, Y_N), np.array([[8 / 3, 4 / 3], [1, 2]]) / 7)


def test_the_doubted_are_ranked_by_margin() -> None:
    assert doubtful(P_NC, Y_N).tolist() == [6, 2]


def test_an_item_confident_of_two_classes_counts_for_the_likelier() -> None:
    p_NC = np.array([[0.5, 0.4, 0.1], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5], [0.45, 0.5, 0.05]])
    y_N = np.array([0, 1, 2, 0])  # t = (.475, .5, .5): item 3 passes the threshold of 1 alone, item 0 that of 0 alone
    np.testing.assert_allclose(confident_joint(p_NC, y_N) * 4, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    p_NC[3] = [0.475, 0.525, 0.0]  # t_0 = .4875 now: only item 0 and, for class 1, items 1 and 3
    np.testing.assert_allclose(confident_joint(p_NC, y_N) * 4, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    p_NC[0] = [0.4, 0.35, 0.25]  # t_0 = .4375: item 3 passes both thresholds and counts for 1, item 0 passes none
    np.testing.assert_allclose(confident_joint(p_NC, y_N) * 4, [[0, 2, 0], [0, 1, 0], [0, 0, 1]])


def test_joint_sums_to_one_with_empty_and_unsure_classes() -> None:
    rng = np.random.default_rng(0)
    p_NC = rng.dirichlet(np.ones(5), 60)
    y_N = rng.integers(0, 4, 60)  # class 4 has no item
    joint = confident_joint(p_NC, y_N)
    assert np.isfinite(joint).all()
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(y_N, minlength=5) / 60)


def _planted(
    rate: float, n: int = 600, classes: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    true_N = rng.integers(0, classes, n)
    logits_NC = rng.normal(size=(n, classes))
    logits_NC[np.arange(n), true_N] += 4
    p_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    wrong = rng.permutation(n)[: int(rate * n)]
    given_N = true_N.copy()
    given_N[wrong] = (true_N[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return p_NC, given_N, np.sort(wrong)


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_planted_errors_are_found(rate: float) -> None:
    p_NC, given_N, wrong = _planted(rate)
    found = doubtful(p_NC, given_N)
    assert np.isin(wrong, found).mean() > 0.85
    assert np.isin(found[: len(wrong)], wrong).mean() > 0.85


def test_clean_labels_of_a_sure_model_are_not_doubted() -> None:
    y_N = np.repeat(np.arange(3), 5)
    assert doubtful(np.eye(3)[y_N] * 0.97 + 0.01, y_N).size == 0


@pytest.mark.parametrize("shape", [(0, 3), (4, 1)])
def test_nothing_to_doubt_without_items_or_with_one_class(shape: tuple[int, int]) -> None:
    assert doubtful(np.ones(shape), np.zeros(shape[0], np.int64)).size == 0


def test_suspects_name_items_and_classes() -> None:
    found = suspects(P_NC, Y_N, list("abcdefg"), ["cat", "dog"])
    assert [(s.item, s.given, s.suggested) for s in found] == [("g", "dog", "cat"), ("c", "cat", "dog")]
    assert (found[0].p_given, found[0].p_suggested) == pytest.approx((0.2, 0.8))
    assert suspects(P_NC, Y_N, list("abcdefg"), ["cat", "dog"], limit=1) == found[:1]
    with pytest.raises(ValueError, match="do not agree"):
        suspects(P_NC, Y_N, list("abc"), ["cat", "dog"])


def test_whole_items_keep_the_rows_sums() -> None:
    expected = np.array([[2.4, 0.3, 0.3], [1.5, 3.5, 0.0], [0.2, 0.2, 4.6], [0.0, 0.0, 0.0]])
    assert in_whole_items(expected).tolist() == [[3, 0, 0], [2, 3, 0], [0, 0, 5], [0, 0, 0]]
    assert in_whole_items(np.eye(2) * (3 - 1e-12)).tolist() == [[3, 0], [0, 3]]
