"""Dawid and Skene's estimates on their own table, and what rules that mostly say nothing come to."""

from __future__ import annotations

import numpy as np
import pytest
from tests.labelling.anaesthetists import counts

from graft.labelling.dawid_skene import dawid_skene, weigh


def test_the_anaesthetists() -> None:
    """Published: the classes' shares (Table 2 of the paper gives .40 .42 .11 .07), and nearly all patients told apart."""
    table = counts()
    assert table.sum() == 45 * 7
    found = dawid_skene(table, 4)
    assert found.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.005)
    assert found.answers.sum(axis=2) == pytest.approx(np.ones((5, 4)))
    assert np.all(np.diff(found.log_likelihood) > -1e-9), "EM never loses likelihood"
    best = found.posterior.argmax(axis=1)
    assert (best[[0, 1, 10, 11, 35]] + 1).tolist() == [1, 4, 4, 3, 4]
    # the paper's Table 2: of class 1 the first observer says 1 in 89 % of cases and 2 in 11 %
    assert found.answers[0, 0] == pytest.approx([0.89, 0.11, 0.0, 0.0], abs=0.005)


def test_planted_observers() -> None:
    """Four observers of known accuracy, one of whom guesses: the estimates are those accuracies."""
    rng = np.random.default_rng(0)
    true_N = rng.integers(0, 3, 4000)
    accuracy = (0.9, 0.8, 0.7, 1 / 3)
    wrong = [(true_N + rng.integers(1, 3, 4000)) % 3 for _ in accuracy]
    vote = np.stack([np.where(rng.random(4000) < a, true_N, w) for a, w in zip(accuracy, wrong, strict=True)], 1)
    found = dawid_skene(np.eye(3, dtype=np.int64)[vote], 3)
    assert [np.trace(table) / 3 for table in found.answers] == pytest.approx(accuracy, abs=0.03)


def test_rules_that_speak_of_one_class_each() -> None:
    """Two good rules a class and a bad one: the bad one's estimated accuracy is low, and its votes lose."""
    rng = np.random.default_rng(1)
    true_N = rng.integers(0, 2, 3000)
    speaks = rng.random((3000, 5)) < 0.5
    vote = np.full((3000, 5), -1)
    for rule, label in enumerate((0, 0, 1, 1)):
        vote[speaks[:, rule] & (true_N == label), rule] = label
        vote[(rng.random(3000) < 0.03) & (true_N != label), rule] = label
    vote[rng.random(3000) < 0.3, 4] = 1  # speaks of anything
    found = weigh(vote, 2)
    assert found.accuracy[:4].min() > 0.85
    assert found.accuracy[4] == pytest.approx(0.5, abs=0.15)
    true_N, vote = true_N[found.covered], vote[found.covered]
    lead = (vote == 1).sum(1) - (vote == 0).sum(1)
    majority = ((lead > 0) == true_N)[lead != 0].sum() + (lead == 0).sum() / 2  # ties by a coin
    assert (found.probability.argmax(1)[found.covered] == true_N).sum() > majority
    assert found.coverage[4] == pytest.approx(0.3, abs=0.03)
    assert (found.conflict <= found.overlap).all() and (found.overlap <= found.coverage).all()


def test_conflict_and_overlap_by_hand() -> None:
    vote = np.array([[0, 0, -1], [0, 1, -1], [0, -1, -1], [-1, -1, -1]])
    found = weigh(vote, 2)
    assert found.coverage.tolist() == [0.75, 0.5, 0.0]
    assert found.overlap.tolist() == [0.5, 0.5, 0.0]
    assert found.conflict.tolist() == [0.25, 0.25, 0.0]
    assert found.covered.tolist() == [True, True, True, False]
    assert found.probability[3].tolist() == [0.5, 0.5]
    assert np.isnan(found.accuracy[2])
