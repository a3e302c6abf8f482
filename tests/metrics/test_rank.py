"""Measures of rankings against cases worked by hand, scikit-learn, and what must hold for every ranking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from graft.metrics.rank import (
    accuracy_at,
    hit_at,
    ndcg_at,
    overlap_recall,
    paired_interval,
    query_interval,
    recall_at,
    reciprocal_rank,
)

# three queries: right at ranks 1 and 3; at rank 4; nowhere
SHOWN = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
RELEVANT = np.array([4, 1, 2])

tables = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(0, 3).map(float))


def test_by_hand() -> None:
    assert accuracy_at(SHOWN, 2).tolist() == [0.5, 0, 0]
    assert recall_at(SHOWN, 3, RELEVANT).tolist() == [0.5, 0, 0]
    assert recall_at(SHOWN, 4, RELEVANT).tolist() == [0.5, 1, 0]
    assert hit_at(SHOWN, 1).tolist() == [1, 0, 0]
    assert hit_at(SHOWN, 4).tolist() == [1, 1, 0]
    assert reciprocal_rank(SHOWN).tolist() == [1, 0.25, 0]


def test_places_beyond_the_list_are_wrong() -> None:
    assert accuracy_at(SHOWN, 8).tolist() == [0.25, 0.125, 0]
    assert recall_at(SHOWN, 8, RELEVANT).tolist() == recall_at(SHOWN, 4, RELEVANT).tolist()
    assert hit_at(SHOWN, 8).tolist() == hit_at(SHOWN, 4).tolist()


def test_ndcg_published_example() -> None:
    # the worked example of Wikipedia's "Discounted cumulative gain" (linear gains, log2(1 + rank)): DCG 6.861, ideal 8.740 with the
    # two further judged documents of gains 3 and 2, cut at 6
    value = ndcg_at(np.array([[3, 2, 3, 0, 1, 2]]), 6, np.array([[3, 2, 3, 0, 1, 2, 3, 2]]))
    assert value[0] == pytest.approx(6.861 / 8.740, abs=1e-4)


def test_ndcg_of_one_relevant_item_is_the_discount_of_its_rank() -> None:
    shown = np.eye(10)
    np.testing.assert_allclose(ndcg_at(shown, 10, np.ones((10, 1))), [1 / math.log2(1 + r) for r in range(1, 11)])


@given(tables.filter(lambda t: bool(t.any(axis=1).all()) and t.shape[1] > 1), st.integers(1, 10))
def test_ndcg_is_scikit_learns(gains: NDArray[np.float64], k: int) -> None:
    scores = np.tile(-np.arange(gains.shape[1], dtype=np.float64), (len(gains), 1))
    assert ndcg_at(gains, k, gains).mean() == pytest.approx(ndcg_score(gains, scores, k=k))


@given(tables, st.integers(1, 12))
def test_every_value_is_a_share(gains: NDArray[np.float64], k: int) -> None:
    gains[:, -1] = 1.0  # every query has a relevant item
    relevant = np.count_nonzero(gains, axis=1)
    values = [
        accuracy_at(gains, k),
        recall_at(gains, k, relevant),
        hit_at(gains, k),
        reciprocal_rank(gains),
        ndcg_at(gains, k, gains),
    ]
    for value in values:
        assert value.shape == (len(gains),)
        assert value.dtype == np.float64
        assert (value >= 0).all()
        assert (value <= 1 + 1e-12).all()
    assert (hit_at(gains, k) >= recall_at(gains, k, relevant)).all()
    padded = np.pad(gains, ((0, 0), (0, 3)))
    np.testing.assert_allclose(ndcg_at(padded, k, padded), values[4])


@given(tables, st.integers(1, 12))
def test_the_best_order_gives_one(gains: NDArray[np.float64], k: int) -> None:
    gains[:, 0] += 1.0
    best = -np.sort(-gains, axis=1)
    np.testing.assert_allclose(ndcg_at(best, k, gains), 1)
    assert (hit_at(best, k) == 1).all()
    assert (reciprocal_rank(best) == 1).all()
    assert (recall_at(best, gains.shape[1], np.count_nonzero(gains, axis=1)) == 1).all()


def test_overlap_by_hand() -> None:
    found = np.array([[4, 2, 9], [7, -1, -1]])
    exact = np.array([[2, 3, 4], [7, 8, -1]])
    np.testing.assert_allclose(overlap_recall(found, exact), [2 / 3, 1 / 2])


def test_queries_without_an_answer_are_refused() -> None:
    with pytest.raises(ValueError, match="1 queries have no relevant item, the first at 2"):
        recall_at(SHOWN, 4, np.array([4, 1, 0]))
    with pytest.raises(ValueError, match="no relevant item"):
        ndcg_at(SHOWN, 4, SHOWN)
    with pytest.raises(ValueError, match="no relevant item"):
        overlap_recall(np.array([[1]]), np.array([[-1]]))


@pytest.mark.parametrize(
    ("gains", "k", "relevant"),
    [
        (SHOWN, 0, RELEVANT),
        (SHOWN, 4, np.array([1, 1, 2])),
        (SHOWN, 4, np.array([4, 1])),
        (-SHOWN, 4, RELEVANT),
        (SHOWN * np.nan, 4, RELEVANT),
        (SHOWN[0], 4, RELEVANT),
    ],
)
def test_impossible_input_is_refused(gains: NDArray[np.float64], k: int, relevant: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match=r"k is 0|said to have|lists for|gains must be"):
        recall_at(gains, k, relevant)


def test_interval_of_a_share_is_near_the_textbook_one() -> None:
    values = np.repeat([1.0, 0.0], [120, 280])
    interval = query_interval(values, seed=0)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 400)
    assert interval.value == pytest.approx(0.3)
    assert interval.n == 400
    assert interval.low == pytest.approx(0.3 - half, abs=0.01)
    assert interval.high == pytest.approx(0.3 + half, abs=0.01)
    assert interval == query_interval(values, seed=0)


def test_paired_interval_knows_what_pairs_share() -> None:
    rng = np.random.default_rng(0)
    b = rng.random(200)
    gain = paired_interval(b + 0.01, b, seed=0)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.01, 0.01, 0.01))
    with pytest.raises(ValueError, match="same queries"):
        paired_interval(b, b[1:], seed=0)


def test_one_query_has_no_interval_and_none_is_refused() -> None:
    assert query_interval(np.array([0.5]), seed=0).low is None
    with pytest.raises(ValueError, match="at least one"):
        query_interval(np.array([]), seed=0)
    with pytest.raises(ValueError, match="finite"):
        query_interval(np.array([0.5, np.nan]), seed=0)
