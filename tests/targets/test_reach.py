"""How far intervals reach: as far everywhere unless folds show that a spread is better, and held as often as asked either way."""

from __future__ import annotations

import numpy as np
import pytest

from graft.targets.kinds import KINDS
from graft.targets.reach import ends_of, measured, reach_of


def drawn(n: int, growth: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers (n, 1) between 0 and 3 and truths whose spread grows with them by e^growth a unit."""
    rng = np.random.default_rng(seed)
    answers = rng.uniform(0, 3, (n, 1))
    return answers + np.exp(growth * answers) * rng.normal(size=(n, 1)), answers


@pytest.mark.parametrize(("growth", "taken"), [(0.0, False), (1.0, True), (-1.0, True)])
def test_a_spread_is_taken_where_it_is_better(growth: float, taken: bool) -> None:
    truth, answers = drawn(1500, growth)
    reach = reach_of(KINDS["number"], truth, answers, np.arange(1500) % 5, 0.9)
    assert reach is not None
    assert (reach.spread is not None) == taken
    truth, answers = drawn(4000, growth, seed=1)
    ends = ends_of(KINDS["number"], answers, reach)
    assert ends is not None
    inside = (ends[0] <= truth[:, 0]) & (truth[:, 0] <= ends[1])
    assert inside.mean() == pytest.approx(0.9, abs=0.03)
    wide = answers[:, 0] > 1.5 if growth >= 0 else answers[:, 0] < 1.5
    assert inside[wide].mean() == pytest.approx(0.9, abs=0.05)  # where the truth spreads most too
    kept = measured(KINDS["number"], reach, truth, answers, "test")
    assert kept.covered is not None
    assert kept.covered.value == pytest.approx(inside.mean())
    assert kept.width == pytest.approx((ends[1] - ends[0]).mean())


def test_counts_that_spread_more_than_poisson() -> None:
    rng = np.random.default_rng(0)
    rate = np.exp(rng.uniform(0, 4, (400, 1)))
    counts = rng.poisson(rate * rng.gamma(2, 0.5, (400, 1))).astype(np.float64)
    reach = reach_of(KINDS["count"], counts, rate, np.arange(400) % 5, 0.9)
    assert reach is not None
    assert reach.spread is not None
    assert reach.spread.slope > 0
    ends = ends_of(KINDS["count"], rate, reach)
    assert ends is not None
    assert all((end % 1 == 0).all() for end in ends)


def test_few_items_promise_nothing_and_labels_have_no_interval() -> None:
    truth, answers = drawn(8, 1.0)
    reach = reach_of(KINDS["number"], truth, answers, np.arange(8) % 4, 0.9)
    assert reach is not None
    assert (reach.value, reach.spread) == (None, None)
    assert ends_of(KINDS["number"], answers, reach) is None
    assert measured(KINDS["number"], reach, truth, answers, "test") == reach
    assert reach_of(KINDS["multilabel"], np.ones((8, 2)), np.ones((8, 2)), np.arange(8) % 4, 0.9) is None


def test_answers_that_are_all_right() -> None:
    """A target that is answered exactly: intervals of no width, and no division by nothing."""
    answers = np.arange(40.0)[:, None]
    reach = reach_of(KINDS["number"], answers, answers, np.arange(40) % 5, 0.9)
    assert reach is not None
    assert (reach.value, reach.spread) == (0.0, None)


def test_a_fold_that_learned_from_zeros_alone() -> None:
    """Its rates are 0: a count of 0 is no miss, any other lies far out, and nothing is divided by nothing."""
    counts, rates = np.zeros((40, 1)), np.full((40, 1), 0.1)
    counts[8] = 3.0
    rates[8:16] = 0.0  # held out with the only count
    reach = reach_of(KINDS["count"], counts, rates, np.arange(40) // 8, 0.9)
    assert reach is not None
    assert reach.value is not None
    assert 0 < reach.value < 1
    ends = ends_of(KINDS["count"], rates, reach)
    assert ends is not None
    assert (np.isfinite(ends) & (np.asarray(ends) >= 0)).all()
