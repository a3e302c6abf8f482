"""Scores against cases worked by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from graft.metrics.classify import (
    accuracy,
    confusion,
    ece,
    item_losses,
    log_loss,
    macro_f1,
    per_class,
    reliability_bins,
)


def drawn(n: int, n_classes: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + 2 * np.eye(n_classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_confusion_and_per_class_by_hand() -> None:
    counts = confusion(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1]), 4)
    assert counts.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    table = per_class(counts)
    np.testing.assert_allclose(table.precision, [2 / 3, 1 / 3, np.nan, np.nan])
    np.testing.assert_allclose(table.recall, [2 / 3, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(table.f1, [2 / 3, 2 / 5, 0, np.nan])
    assert table.true.tolist() == [3, 2, 1, 0]
    assert table.predicted.tolist() == [3, 3, 0, 0]


def test_macro_f1_counts_classes_that_occur_and_no_others() -> None:
    # F1 of class 0 is 2/3, of 1 is 2/5, of 2 (never predicted) is 0; class 3 does not occur
    assert macro_f1(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 1])) == pytest.approx((2 / 3 + 2 / 5) / 3)


def test_log_loss_by_hand_and_clipped() -> None:
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8], [1.0, 0.0]])
    assert log_loss(np.array([0, 1, 0]), probabilities) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 3)
    assert item_losses(np.array([1]), np.array([[1.0, 0.0]]))[0] == pytest.approx(-math.log(1e-15))


def test_ece_by_hand() -> None:
    # two bins: (0, .5] is empty; (.5, 1] holds confidences .6, .8, 1.0 of which two are right: |2/3 - .8| = 2/15
    probabilities = np.array([[0.6, 0.4], [0.2, 0.8], [1.0, 0.0]])
    labels = np.array([0, 0, 0])
    assert ece(labels, probabilities, bins=2) == pytest.approx(2 / 15)
    [(confidence, share, n)] = reliability_bins(labels, probabilities, bins=2)
    assert (confidence, share, n) == pytest.approx((0.8, 2 / 3, 3))
    # ten bins keep them apart: gaps .4, .8 and 0, each a third of the items
    assert ece(labels, probabilities, bins=10) == pytest.approx((0.4 + 0.8 + 0) / 3)


def test_bins_are_closed_on_the_right() -> None:
    probabilities = np.array([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.4, 0.0]])
    rows = reliability_bins(np.array([0, 0]), probabilities, bins=5)  # .6 belongs to (.4, .6]
    assert [(round(confidence, 3), n) for confidence, _, n in rows] == [(0.333, 1), (0.6, 1)]


@pytest.mark.parametrize(("n", "n_classes", "seed"), [(7, 2, 0), (200, 5, 1), (500, 77, 2)])
def test_scores_agree_with_scikit_learn(n: int, n_classes: int, seed: int) -> None:
    labels, probabilities = drawn(n, n_classes, seed)
    predicted = probabilities.argmax(1)
    classes = list(range(n_classes))
    assert accuracy(labels, predicted) == pytest.approx(reference.accuracy_score(labels, predicted))
    assert macro_f1(labels, predicted) == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert log_loss(labels, probabilities) == pytest.approx(reference.log_loss(labels, probabilities, labels=classes))
    counts = confusion(labels, predicted, n_classes)
    assert counts.tolist() == reference.confusion_matrix(labels, predicted, labels=classes).tolist()
    precision, recall, f1, true = reference.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    table = per_class(counts)
    np.testing.assert_allclose(table.precision, precision)
    np.testing.assert_allclose(table.recall, recall)
    np.testing.assert_allclose(table.f1, f1)
    assert table.true.tolist() == true.tolist()


def test_reliability_bins_give_the_ece() -> None:
    labels, probabilities = drawn(400, 4, 3)
    rows = reliability_bins(labels, probabilities)
    assert sum(n for _, _, n in rows) == 400
    expected = sum(n * abs(share - confidence) for confidence, share, n in rows) / 400
    assert ece(labels, probabilities) == pytest.approx(expected)
